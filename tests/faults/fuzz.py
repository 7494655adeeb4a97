"""Hostile inputs for everything that vidgan reads.

    python -m tests.faults.fuzz --inputs 2000 --seed 0

An input is a function of its kind, the seed and its number. A process of its own, with little
memory and little time for each, gives it to the real reader. The reader takes it or raises a
VidganError of one line; nothing appears outside its folder; memory does not grow.
"""

import argparse
import ctypes
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.hostile import KINDS
from tests.faults.zygote import Zygote, said

_MEMORY = 2 * 2**30  # bytes beyond what is imported
_GROWTH_MB = 100  # from a tenth of a batch to its end
_SECONDS = 30  # of computing, for one input
_BATCH = 2000  # inputs for one process


@dataclass
class Found:
    """What became of the inputs of one kind."""

    inputs: int = 0
    accepted: int = 0
    growth_mb: float = 0.0
    faults: dict[str, list[int]] = field(default_factory=dict)  # what happened -> which inputs

    def fault(self, what: str, number: int) -> None:
        self.faults.setdefault(what, []).append(number)


def content(kind: str, seed: int, number: int, seeds: dict[str, bytes]) -> tuple[str, bytes]:
    """The name and the bytes of an input."""
    chance = random.Random(f"{kind} {seed} {number}")
    name = chance.choice(sorted(seeds))
    return name, KINDS[kind].change(seeds[name], sorted(seeds.values()), chance)


def fuzz(
    kind: str, zygote: Zygote, folder: Path, *, inputs: int, seed: int, first: int = 0
) -> Found:
    """Feed a kind with the inputs first, first + 1, ... in processes of their own."""
    found, number, end = Found(), first, first + inputs
    work = folder / "work"
    while number < end:
        shutil.rmtree(folder, ignore_errors=True)
        work.mkdir(parents=True)
        words = [kind, seed, number, min(number + _BATCH, end)]
        cache = {"VIDGAN_CACHE": str(work / "cache")}
        process = zygote.start(words, work, env=cache, call="tests.faults.fuzz:feed")
        code = zygote.wait(process, patience_s=3600)
        rows = [json.loads(line) for line in _lines(work / "results")]
        for row in rows:
            found.inputs += 1
            found.accepted += row.get("accepted", False)
            found.growth_mb = max(found.growth_mb, row.get("growth_mb", 0.0))
            if "fault" in row:
                found.fault(row["fault"], row["number"])
        number += len(rows)
        if code and number < end:  # the process died of the input after the last
            died = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            what = {"SIGPROF": f"took more than {_SECONDS} s"}.get(died, f"died: {died}")
            found.fault(f"{what}: {said(work)[-1500:]}", number)
            found.inputs, number = found.inputs + 1, number + 1
    shutil.rmtree(folder)
    if found.growth_mb > _GROWTH_MB:
        found.fault(f"memory grew by {found.growth_mb:.0f} MB", first)
    return found


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def feed() -> None:
    """In a process of its own, by sys.argv: read the inputs from one number to another."""
    from vidgan.errors import VidganError

    name, seed, first, last = sys.argv[1], *map(int, sys.argv[2:])
    kind, folder = KINDS[name], Path.cwd()
    places = [folder / part for part in ("seeds/files", "inputs", "cache")]
    for place in places:
        place.mkdir(parents=True)
    seeds = kind.seeds(places[0])
    with Path("/proc/self/statm").open() as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + _MEMORY, -1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, -1))
    before_mb = _resident_mb()
    Path("results").touch()
    there = _names(folder)
    for number in range(first, last):
        file, given = content(name, seed, number, seeds)
        path = folder / "inputs" / file
        path.write_bytes(given)
        row: dict[str, object] = {"number": number}
        signal.setitimer(signal.ITIMER_PROF, _SECONDS)
        try:
            kind.read(path)
            row["accepted"] = True
        except VidganError as error:
            row["refused"] = str(error)[:200]
        except SystemExit as end:
            if end.code not in (0, 1, 2, 3, 4, 5, None):
                row["fault"] = f"exit code {end.code}"
        except Exception:
            row["fault"] = _last_lines(traceback.format_exc())
        signal.setitimer(signal.ITIMER_PROF, 0)
        for place in places[1:]:
            shutil.rmtree(place)
            place.mkdir()
        if new := _names(folder) - there:
            row["fault"] = f"wrote outside its folder: {sorted(new)}"
            there |= new
        tenth = (last - first) // 10
        if number == first + tenth:
            before_mb = _resident_mb()
        elif number == last - 1:
            row["growth_mb"] = _resident_mb() - before_mb
        with Path("results").open("a") as results:
            results.write(json.dumps(row) + "\n")


def _names(folder: Path) -> set[str]:
    """What lies in the folder, beside it and above it."""
    return {str(path) for place in (folder, *list(folder.parents)[:2]) for path in place.iterdir()}


def _resident_mb() -> float:
    """Memory in use. What one large input left free in the C library's heap goes back first."""
    ctypes.CDLL(None).malloc_trim(0)
    with Path("/proc/self/statm").open() as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1e6


def _last_lines(text: str) -> str:
    """Where an exception was raised in vidgan, and where in the end, without numbers that vary."""
    lines = [line.strip() for line in text.splitlines()]
    places = [line for line in lines if line.startswith("File ")]
    own = [line for line in places if "/vidgan/" in line and "/tests/" not in line]
    return " | ".join(dict.fromkeys([*own[-1:], *places[-1:], lines[-1][:300]]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.faults.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=2000, help="of each kind")
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", choices=sorted(KINDS), default=list(KINDS))
    asked = parser.parse_args()
    total = Counter()
    with tempfile.TemporaryDirectory() as folder, Zygote() as zygote:
        print("what is read   inputs  accepted  faults  memory grew by  seconds", flush=True)
        for kind in asked.kinds:
            started, place = time.monotonic(), Path(folder) / kind
            how = {"inputs": asked.inputs, "seed": asked.seed, "first": asked.first}
            found = fuzz(kind, zygote, place, **how)
            faults = sum(map(len, found.faults.values()))
            total += Counter(inputs=found.inputs, accepted=found.accepted, faults=faults)
            row = f"{kind:12} {found.inputs:8} {found.accepted:9} {faults:7}"
            spent_s = time.monotonic() - started
            print(f"{row} {found.growth_mb:12.0f} MB {spent_s:8.0f}", flush=True)
            for what, numbers in found.faults.items():
                print(f"    {len(numbers)} times, first {numbers[0]}: {what}", flush=True)
    print(f"{'all':12} {total['inputs']:8} {total['accepted']:9} {total['faults']:7}")
    raise SystemExit(total["faults"] > 0)


if __name__ == "__main__":
    main()
