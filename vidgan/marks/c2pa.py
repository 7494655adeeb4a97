"""C2PA: a signed statement inside a picture or film that a trained model made it, and who says so.

With a certificate of the user's own, over c2pa-python (the extra [provenance]). Nothing is fetched:
no time stamp, no list of revoked certificates, and no list of authorities to trust.
"""

import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

from vidgan import __version__
from vidgan.errors import SystemFault, UsageError
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE, MODEL_KEY, ends, is_synthetic

# How C2PA calls each kind. Not APNG: with the signature in front, FFmpeg takes it for a still.
_FORMATS = {"": "png", ".mp4": "mp4", ".mov": "mov", ".gif": "gif", ".webp": "webp"}
# By the curve, or else the class, of a key.
_ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_ALGORITHMS |= {"RSAPrivateKey": "ps256", "Ed25519PrivateKey": "ed25519"}
_CREATED = {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE}
_MANIFEST = {
    "claim_generator_info": [{"name": "vidgan", "version": __version__}],
    "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [_CREATED]}}],
}
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    # A film is hashed in chunks: without, it is kept in memory, twice.
    "core": {"allowed_network_hosts": [], "merkle_tree_chunk_size_in_kb": 16_384},
}
_TRIAL = b"GIF89a" + bytes(7) + b";"  # the smallest file that can be signed


def signer(target: Path, certificate: Path, key: Path) -> Callable[[Path], None]:
    """What signs a finished file of the kind of `target`, or each in a folder, in its place.

    certificate, key    PEM: the first with its chain behind it, the second not encrypted

    Raises UsageError where any of them is no good, SystemFault without the extra.
    """
    if not (form := _FORMATS.get(target.suffix.lower())):
        raise UsageError(f"{target}: --sign is for a folder of PNG{', '.join(_FORMATS)}.")
    c2pa, context = _opened()

    def write(form: str, plain: BinaryIO, signed: BinaryIO) -> None:
        with c2pa.Builder(_MANIFEST, context=context) as builder:
            builder.sign(credentials, form, plain, signed)

    def sign(path: Path) -> None:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            part = file.with_name(f".{file.name}.signed")
            try:
                with file.open("rb") as plain, part.open("w+b") as signed:
                    write(form, plain, signed)
                part.replace(file)
            except c2pa.C2paError as error:
                raise SystemFault(f"{target}: cannot be signed ({error}).") from error
            finally:
                part.unlink(missing_ok=True)

    try:
        algorithm, secret = _key(key)
        facts = c2pa.C2paSignerInfo(algorithm, certificate.read_bytes(), secret, None)
        credentials = c2pa.Signer.from_info(facts)
        write("gif", io.BytesIO(_TRIAL), io.BytesIO())
    except (OSError, ValueError, TypeError, c2pa.C2paError) as error:
        told = f"{error.filename}: {error.strerror}." if isinstance(error, OSError) else str(error)
        reason = " ".join(told.split())[:200]
        raise UsageError(f"--sign {certificate} --sign-key {key}: {reason}") from error
    return sign


def find_signature(path: Path) -> dict[str, str]:
    """Read a C2PA signature, whoever made it.

    Empty without one. Else `signature` (whether it holds, and who made it) and, if it holds,
    `digital_source_type` as in `provenance.find_mark`, or "".
    """
    if b"jumdc2pa" not in ends(path):
        return {}
    try:
        c2pa, context = _opened()
    except SystemFault as missing:
        return {"signature": f"not checked: {missing}"}
    try:
        form = path.suffix.lower().lstrip(".")
        with path.open("rb") as file, c2pa.Reader(form, file, context=context) as reader:
            told = json.loads(reader.json())
    except c2pa.C2paError as error:
        return {"signature": f"does NOT hold: {error}"}
    manifest = told.get("manifests", {}).get(told.get("active_manifest"), {})
    by = manifest.get("signature_info", {})
    who = f"{by.get('issuer')} ({by.get('common_name')})"
    codes = {status["code"] for status in told.get("validation_status", [])}
    if codes := codes - {"signingCredential.untrusted"}:
        return {"signature": f"does NOT hold: {', '.join(sorted(codes))}; claims to be by {who}"}
    # No list of authorities is at hand, so that a certificate proves no more than what it says.
    found = {"signature": f"holds; by {who}, as the certificate says of itself"}
    types = re.findall(r'"digitalSourceType": "([^"]+)"', json.dumps(manifest))
    return found | {MODEL_KEY: next(filter(is_synthetic, types), "")}


def _opened() -> tuple[ModuleType, object]:
    with contextlib.suppress(ImportError):
        import c2pa

        return c2pa, c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
    raise SystemFault("C2PA signatures need an extra: pip install 'vidgan[provenance]'.")


def _key(path: Path) -> tuple[str, bytes]:
    """The algorithm for a private key, and the key as C2PA reads it. Raises ValueError, TypeError
    (it is encrypted)."""
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_pem_private_key(path.read_bytes(), password=None)
    kind = key.curve.name if hasattr(key, "curve") else type(key).__name__
    if kind not in _ALGORITHMS:
        raise ValueError(f"C2PA knows no {kind}, but {', '.join(_ALGORITHMS)}.")
    plain = form.PrivateFormat.PKCS8, form.NoEncryption()
    return _ALGORITHMS[kind], key.private_bytes(form.Encoding.PEM, *plain)
