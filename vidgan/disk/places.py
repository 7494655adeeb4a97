"""The files that ship with vidgan, and the folder of its cache."""

import os
import sys
from pathlib import Path

from vidgan.errors import SystemFault


def bundled(relative: str) -> Path:
    """Find "assets/earth.mp4" or "train", in a wheel or a checkout. Raises SystemFault."""
    package = Path(__file__).resolve().parents[1]
    homes = [package / "_bundled"]
    # Only a checkout has them beside the package. Beside an installed one are other packages.
    if (package.parent / "pyproject.toml").is_file():
        homes.append(package.parent)
    for home in homes:
        if (home / relative).exists():
            return home / relative
    places = " and ".join(map(str, homes))
    raise SystemFault(f"{relative} is missing (looked in {places}); install vidgan again.")


def cache_root() -> Path:
    """VIDGAN_CACHE, or a folder where this platform keeps caches."""
    if given := os.environ.get("VIDGAN_CACHE"):
        return Path(given).expanduser().resolve()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "vidgan"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/vidgan"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vidgan"
