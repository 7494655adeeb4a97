"""Random SIGKILLs over everything that vidgan writes.

    python -m tests.faults.kills --kills 200 --seed 0

A command is killed at a random moment and started again, until it ends by itself. What it then has
made must be, bit for bit, what it makes when nobody kills it, with nothing beside it that does not
belong there. While it is being killed, a file is whole or absent, and an older one stays.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults.killed import KINDS, Kind, make_inputs
from tests.faults.zygote import Zygote, said

_PATIENCE_S = 300.0


def survive(kind: Kind, zygote: Zygote, folder: Path, *, kills: int, seed: int) -> Counter:
    """Kill a command so many times. Returns how often it was killed, and how often it ended."""
    chance, counts = random.Random(f"{kind.name} {seed}"), Counter()
    whole, killed = folder / "whole", folder / "killed"
    _begin(kind, whole)
    started = time.monotonic()
    _run(kind, zygote, whole, kill_after_s=None, chance=chance)
    duration_s = time.monotonic() - started
    wanted = kind.digest(whole)
    while counts["kills"] < kills:
        _begin(kind, killed)
        died = True
        while died and counts["kills"] < kills:
            after_s = chance.uniform(0, duration_s)
            died = _run(kind, zygote, killed, kill_after_s=after_s, chance=chance)
            counts["kills"] += died
            if died:
                kind.check(killed)
        if died:
            _run(kind, zygote, killed, kill_after_s=None, chance=chance)
        counts["ends"] += 1
        assert kind.digest(killed) == wanted, f"{kind.name}: not what it makes if nobody kills it"
        assert (left := leftovers(killed)) == [], f"{kind.name}: left behind: {left}"
        assert (left := leftovers(kind.cache(killed))) == [], f"{kind.name}: left behind: {left}"
    return counts


def leftovers(folder: Path) -> list[str]:
    """What a start after a kill should have removed: hidden files that are no locks, and parts."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    marks = (".part", "-old", ".segments", ".sound", "lock.owner", ".tmp")
    return sorted(
        name
        for name in names
        if not name.endswith(".lock")
        and (Path(name).name.startswith(".") or any(mark in name for mark in marks))
    )


def _begin(kind: Kind, folder: Path) -> None:
    for old in (folder, kind.cache(folder)):
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(parents=True)
    kind.prepare(folder)


def _run(
    kind: Kind, zygote: Zygote, folder: Path, *, kill_after_s: float | None, chance: random.Random
) -> bool:
    """Start the command, on each of its processes. Returns whether it was killed."""
    words, env = kind.words(folder), kind.env(folder)
    env |= {"VIDGAN_CACHE": str(kind.cache(folder))}
    processes = [
        zygote.start(words, folder, env=env | more, call=kind.call)
        for more in (ranks(kind.world) if kind.world > 1 else [{}])
    ]
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        victims = chance.choice([processes, *([rank] for rank in processes)])
        tree = [p for victim in victims for p in (victim, *_below(victim))]
        if len(tree) > 1 and kind.torchrun:  # its processes are processes as well
            tree = chance.choice([tree, *([process] for process in tree[1:])])
        _signal(tree, signal.SIGKILL)
        others = [rank for rank in processes if rank not in victims]
        time.sleep(0.2 * bool(others))
        _signal(others, signal.SIGTERM)  # as torchrun does when a rank has died
    codes, deadline = [], time.monotonic() + _PATIENCE_S
    for rank in processes:
        alive = max(1.0, deadline - time.monotonic()) if kill_after_s is None else 20.0
        try:
            codes.append(zygote.wait(rank, patience_s=alive))
        except TimeoutError:
            assert kill_after_s is not None, f"{kind.name}: {said(folder)}"
            codes.append(-signal.SIGKILL)
    if set(codes) == {0}:
        return False
    assert kill_after_s is not None, f"{kind.name}: exit codes {codes}: {said(folder)}"
    killed = -signal.SIGKILL in codes or kind.torchrun
    assert killed, f"{kind.name}: exit codes {codes} before a kill: {said(folder)}"
    return True


def ranks(world: int) -> list[dict[str, str]]:
    """What torchrun tells each of its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "MASTER_PORT": str(port)}
    shared |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "none", "GROUP_RANK": "0"}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]


def _below(process: int) -> list[int]:
    """All processes that a process has started, and that these have."""
    found = []
    for tasks in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, tasks.read_text().split()):
                found += [child, *_below(child)]
    return found


def _signal(processes: Sequence[int], number: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.faults.kills", description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", choices=sorted(KINDS), default=list(KINDS))
    asked = parser.parse_args()
    share = {name: KINDS[name].share for name in asked.kinds}
    total, failed = Counter(), 0
    with tempfile.TemporaryDirectory() as folder, Zygote() as zygote:
        make_inputs(Path(folder) / "inputs")
        print(f"{'what is killed':24} kills  ends as if never killed  seconds", flush=True)
        for name in asked.kinds:
            started = time.monotonic()
            kills = max(1, round(asked.kills * share[name] / sum(share.values())))
            try:
                counts = survive(
                    KINDS[name], zygote, Path(folder) / name, kills=kills, seed=asked.seed
                )
            except AssertionError as error:
                failed += 1
                print(f"{name:24} FAILED: {error}", flush=True)
                continue
            total += counts
            spent_s = time.monotonic() - started
            print(f"{name:24} {counts['kills']:5} {counts['ends']:24} {spent_s:8.0f}", flush=True)
    print(f"{'all':24} {total['kills']:5} {total['ends']:24}")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
