"""Items made ahead of their use, in a thread of their own."""

import contextlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """Yield the same items. A thread makes them, and at most `count` of them wait.

    An error in the thread is raised here, in the place of its item. Closing this closes `items`.
    """
    end, waiting = object(), deque()
    with contextlib.closing(items), ThreadPoolExecutor(1, "ahead") as worker:
        try:
            while True:
                while len(waiting) <= count:
                    waiting.append(worker.submit(next, items, end))
                if (item := waiting.popleft().result()) is end:
                    return
                yield item
        finally:
            worker.shutdown(cancel_futures=True)
