"""How soon the page of the shipped generator shows its first frame, and how fast it goes on.

    python tests/benchmarks/page.py

It runs in headless Chromium, from a file, with one thread and no GPU; median of 5. It needs Node,
Debian's chromium and `make export/web/node_modules/.package-lock.json`. Not part of the tests.
"""

import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from vidgan.disk import places
from vidgan.generator import web_page

TURNS = 5
DRIVE = Path(__file__).parent.parent / "web" / "drive.mjs"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        player = Path(folder) / "player.html"
        web_page.write_html(places.bundled("assets/generator.safetensors"), player)
        found = []
        for turn in range(TURNS):
            profile = Path(folder) / str(turn)
            profile.mkdir()
            command = ["node", DRIVE, "watch", f"{player.as_uri()}#seed=7", profile]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append(json.loads(done.stdout))
        print(f"size         {player.stat().st_size / 1e6:8.2f} MB")
    for key, unit in (("first_frame_s", "s"), ("frames_per_s", "/s")):
        values = sorted(turn[key] for turn in found)
        middle = statistics.median(values)
        print(f"{key:13}{middle:8.2f} {unit}  ({values[0]:.2f} to {values[-1]:.2f})")


if __name__ == "__main__":
    main()
