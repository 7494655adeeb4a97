"""The verb lab: a page in which a GAN learns."""

from pathlib import Path

from vidgan.cli import terminal
from vidgan.disk.files import check_new


def lab(target: Path = Path("lab.html"), *, force: bool = False) -> None:
    """Write a web page in which a GAN learns before your eyes: of digits, pictures or the camera.

    It is one file, opens without a server and sends nothing anywhere. What has learned there can be
    filmed, and downloaded: generator.safetensors is for vidgan render and all other verbs,
    generator.onnx for vidgan render and other programs.

    Args:
        target: The file to write.
        force: Replace the target, if vidgan wrote it.
    """
    check_new(target, suffix=".html", force=force)
    from vidgan.generator import web_page

    web_page.write_lab(target, force=force)
    size_mb = target.stat().st_size / 1e6
    terminal.to_stdout(f"{target}: {size_mb:.1f} MB; open it in a browser, and press Train.")
