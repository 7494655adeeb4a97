"""C2PA: a signed statement in a picture or film that a trained model made it, and who signed it.

c2pa-python (the extra [provenance]) signs with the user's own certificate. Nothing is downloaded:
no time stamp, no list of revoked certificates, and no list of trusted authorities.
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
from vidgan.disk.files import read_ends
from vidgan.errors import SystemFault, UsageError
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE, MODEL_KEY, is_synthetic

# The names of the formats in C2PA. APNG is left out, because FFmpeg takes a signed one for a still.
_FORMATS = {"": "png", ".mp4": "mp4", ".mov": "mov", ".gif": "gif", ".webp": "webp"}
# By the curve of a key, or else by its class.
_ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_ALGORITHMS |= {"RSAPrivateKey": "ps256", "Ed25519PrivateKey": "ed25519"}
_CREATED = {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE}
_MANIFEST = {
    "claim_generator_info": [{"name": "vidgan", "version": __version__}],
    "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [_CREATED]}}],
}
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    # Hashing a film in chunks saves memory, which would hold the film twice.
    "core": {"allowed_network_hosts": [], "merkle_tree_chunk_size_in_kb": 16_384},
}
_SMALLEST_GIF = b"GIF89a" + bytes(7) + b";"  # the smallest file that can be signed


def signer(target: Path, certificate: Path, key: Path) -> Callable[[Path], None]:
    """Make a function that signs a finished file, or each file in a folder, in its place.

    Both PEM files are tried at once; the certificate comes with its chain, the key not encrypted.
    """
    if not (file_format := _FORMATS.get(target.suffix.lower())):
        raise UsageError(f"{target}: --sign is for a folder of PNG{', '.join(_FORMATS)}.")
    c2pa, context = _open_c2pa()

    def write(file_format: str, plain: BinaryIO, signed: BinaryIO) -> None:
        with c2pa.Builder(_MANIFEST, context=context) as builder:
            builder.sign(credentials, file_format, plain, signed)

    def sign(path: Path) -> None:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            part = file.with_name(f".{file.name}.signed")
            try:
                with file.open("rb") as plain, part.open("w+b") as signed:
                    write(file_format, plain, signed)
                part.replace(file)
            except c2pa.C2paError as error:
                raise SystemFault(f"{target}: cannot be signed ({error}).") from error
            finally:
                part.unlink(missing_ok=True)

    try:
        asked = f"--sign-key {key}"
        algorithm, secret = _read_key(key)
        asked = f"--sign {certificate} {asked}"
        info = c2pa.C2paSignerInfo(algorithm, certificate.read_bytes(), secret, None)
        credentials = c2pa.Signer.from_info(info)
        write("gif", io.BytesIO(_SMALLEST_GIF), io.BytesIO())
    except (OSError, ValueError, TypeError, c2pa.C2paError) as error:
        text = f"{error.filename}: {error.strerror}." if isinstance(error, OSError) else str(error)
        reason = re.sub(r" See https?://\S+ for more details\.", "", " ".join(text.split()))[:200]
        raise UsageError(f"{asked}: {reason}") from error
    return sign


def find_signature(path: Path) -> dict[str, str]:
    """Read a C2PA signature, which any program may have written.

    The answer is empty if there is none. Else it has `signature` (whether it holds, and who made
    it) and, if it holds, `digital_source_type` as in `xmp.find_mark`, or "".
    """
    if b"jumdc2pa" not in read_ends(path):
        return {}
    try:
        c2pa, context = _open_c2pa()
    except SystemFault as missing:
        return {"signature": f"not checked: {missing}"}
    try:
        file_format = path.suffix.lower().lstrip(".")
        with path.open("rb") as file, c2pa.Reader(file_format, file, context=context) as reader:
            report = json.loads(reader.json())
    except c2pa.C2paError as error:
        return {"signature": f"does NOT hold: {error}"}
    manifest = report.get("manifests", {}).get(report.get("active_manifest"), {})
    signature = manifest.get("signature_info", {})
    who = f"{signature.get('issuer')} ({signature.get('common_name')})"
    codes = {status["code"] for status in report.get("validation_status", [])}
    if codes := codes - {"signingCredential.untrusted"}:
        return {"signature": f"does NOT hold: {', '.join(sorted(codes))}; claims to be by {who}"}
    # Without a list of authorities, nobody vouches for the name in the certificate.
    found = {"signature": f"holds; by {who}, as the certificate says of itself"}
    types = re.findall(r'"digitalSourceType": "([^"]+)"', json.dumps(manifest))
    return found | {MODEL_KEY: next(filter(is_synthetic, types), "")}


def _open_c2pa() -> tuple[ModuleType, object]:
    with contextlib.suppress(ImportError):
        import c2pa

        return c2pa, c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
    raise SystemFault("C2PA signatures need an extra: pip install 'vidgan[provenance]'.")


def _read_key(path: Path) -> tuple[str, bytes]:
    """A key in the form that C2PA reads, and its algorithm. Raises ValueError, or TypeError."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    kind = key.curve.name if hasattr(key, "curve") else type(key).__name__
    if kind not in _ALGORITHMS:
        raise ValueError(f"C2PA has no keys of {kind}, only of {', '.join(_ALGORITHMS)}.")
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return _ALGORITHMS[kind], key.private_bytes(serialization.Encoding.PEM, *plain)
