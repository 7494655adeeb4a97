"""C2PA: a signed statement inside a picture or film that a trained model made it, and who says so.

With a certificate of the user's own, over c2pa-python (the extra [provenance]). Nothing is fetched:
no time stamp, no list of revoked certificates, and no list of authorities to trust.
"""

import io
import json
import re
from pathlib import Path
from types import ModuleType

from vidgan import __version__
from vidgan.errors import SystemFault, UsageError
from vidgan.provenance import DIGITAL_SOURCE_TYPE, MODEL_KEY, edges

# How C2PA calls each kind. Not APNG: with the signature in front, FFmpeg takes it for a still.
_FORMATS = {".mp4": "mp4", ".mov": "mov", ".gif": "gif", ".webp": "webp", "": "png", ".png": "png"}
# By the curve, or else the class, of a key.
_ALGORITHMS = {
    "secp256r1": "es256",
    "secp384r1": "es384",
    "secp521r1": "es512",
    "RSAPrivateKey": "ps256",
    "Ed25519PrivateKey": "ed25519",
}
_AGENT = {"name": "vidgan", "version": __version__}
_ACTION = {
    "action": "c2pa.created",
    "digitalSourceType": DIGITAL_SOURCE_TYPE,
    "softwareAgent": _AGENT,
}
_MANIFEST = {
    "claim_generator_info": [_AGENT],
    "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [_ACTION]}}],
}
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
_TRIAL = b"GIF89a" + bytes(7) + b";"  # the smallest file that can be signed
_UNTRUSTED = "signingCredential.untrusted"


class Signer:
    """Signs files of the kind of `target`. Raises UsageError where that, the certificate (PEM, with
    its chain) or the key (PEM, not encrypted) cannot be used, SystemFault without the extra."""

    def __init__(self, target: Path, certificate: Path, key: Path) -> None:
        if target.suffix.lower() not in _FORMATS:
            raise UsageError(
                f"--sign: {target.suffix} cannot be signed; these can: .mp4, .mov, .gif, .webp, "
                "and a folder of PNG."
            )
        self._format = _FORMATS[target.suffix.lower()]
        self._c2pa, self._context = _opened()
        for file in (certificate, key):
            if not file.is_file():
                raise UsageError(f"--sign: there is no file {file}.")
        try:
            algorithm, secret = _key(key)
            chain = certificate.read_bytes()
            facts = self._c2pa.C2paSignerInfo(algorithm, chain, secret, None)  # no time stamp
            self._signer = self._c2pa.Signer.from_info(facts)
            self._sign("gif", io.BytesIO(_TRIAL), io.BytesIO())
        except (OSError, ValueError, TypeError, self._c2pa.C2paError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UsageError(f"--sign {certificate} --sign-key {key}: {reason}") from error

    def sign(self, path: Path) -> None:
        """Sign a finished file, or each in a folder, in its place. Pictures stay as they are."""
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            part = file.with_name(f".{file.name}.signed")
            try:
                with file.open("rb") as plain, part.open("w+b") as signed:
                    self._sign(self._format, plain, signed)
                part.replace(file)
            except self._c2pa.C2paError as error:
                raise SystemFault(f"{path}: cannot be signed ({error}).") from error
            finally:
                part.unlink(missing_ok=True)

    def _sign(self, form: str, plain: io.IOBase, signed: io.IOBase) -> None:
        with self._c2pa.Builder(_MANIFEST, context=self._context) as builder:
            builder.sign(self._signer, form, plain, signed)


def find_signature(path: Path) -> dict[str, str] | None:
    """Read a C2PA signature, whoever made it; None where a file has none.

    Else `signature` (who signed, and whether it holds) and, where it says so, `digital_source_type`
    as `provenance.find_mark` does.
    """
    if all(data.find(b"jumdc2pa", start, stop) < 0 for data, start, stop in edges(path)):
        return None
    try:
        c2pa, context = _opened()
    except SystemFault as missing:
        return {"signature": f"not checked: {missing}"}
    try:
        with path.open("rb") as file:
            reader = c2pa.Reader(path.suffix.lower().lstrip("."), file, context=context)
            with reader:
                told = json.loads(reader.json())
    except c2pa.C2paError as error:
        return {"signature": f"does NOT hold: {error}"}
    manifest = told.get("manifests", {}).get(told.get("active_manifest"), {})
    by = manifest.get("signature_info", {})
    who = f"{by.get('issuer', '?')} ({by.get('common_name', '?')})"
    codes = [status["code"] for status in told.get("validation_status", [])]
    if wrong := sorted(set(codes) - {_UNTRUSTED}):
        return {"signature": f"does NOT hold: {', '.join(wrong)}; it claims to be by {who}"}
    # No list of authorities is at hand, so that a certificate proves no more than what it says.
    found = {"signature": f"holds; by {who}, as the certificate says of itself"}
    named = re.search(r'"digitalSourceType": "([^"]+)"', json.dumps(manifest))
    return found | ({MODEL_KEY: named[1]} if named else {})


def _opened() -> tuple[ModuleType, object]:
    try:
        import c2pa
    except ImportError as error:
        raise SystemFault(
            "C2PA signatures need an extra: pip install 'vidgan[provenance]'."
        ) from error
    return c2pa, c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))


def _key(path: Path) -> tuple[str, bytes]:
    """The algorithm for a private key, and the key as C2PA reads it. Raises ValueError, TypeError
    (it is encrypted)."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    kind = key.curve.name if hasattr(key, "curve") else type(key).__name__
    if kind not in _ALGORITHMS:
        raise ValueError(f"C2PA knows no {kind} keys, but {', '.join(_ALGORITHMS)}.")
    return _ALGORITHMS[kind], key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
