"""Where the files that ship with vidgan lie: in a wheel, or beside the package in a checkout."""

from pathlib import Path

from vidgan.errors import SystemFault


def bundled(relative: str) -> Path:
    """Find "assets/earth.mp4", "train" and the like. Raises SystemFault where it is absent."""
    package = Path(__file__).resolve().parent
    homes = [package / "_bundled"]
    # Beside an installed package lie other people's folders: only a checkout counts.
    if (package.parent / "pyproject.toml").is_file():
        homes.append(package.parent)
    for home in homes:
        if (home / relative).exists():
            return home / relative
    raise SystemFault(
        f"{relative} is missing from this installation of vidgan (looked in "
        f"{' and '.join(map(str, homes))}); install vidgan again."
    )
