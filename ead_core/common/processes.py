"""Processes that work for another one."""

import multiprocessing
import multiprocessing.connection
import os
import threading


def end_with_parent() -> None:
    """Make this process end as soon as the one that started it is gone, however that ended.

    A terminated or killed process takes no leave of its pool, whose processes would finish what they work on for
    nobody, or wait forever. To be called first in a process of multiprocessing (an `initializer`).
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
