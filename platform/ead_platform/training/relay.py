"""From the workers of a training to the process that started it: reports on their way to a screen and to MLflow.

Ray Train calls its callbacks in a process of its own. They put what they receive into a mailbox, and the driver, which
alone talks to the tracking store, empties it.
"""

import threading
from collections.abc import Callable
from typing import Any

import ray
from ray.train import UserCallback

Row = dict[str, Any]
POLL_SECONDS = 0.5


@ray.remote(num_cpus=0)
class _Box:
    def __init__(self) -> None:
        self._rows: list[Row] = []

    def put(self, row: Row) -> None:
        self._rows.append(row)

    def take(self) -> list[Row]:
        rows, self._rows = self._rows, []
        return rows


class Mailbox:
    """A queue that lives in the cluster; it may be copied into other processes."""

    def __init__(self) -> None:
        self._box = _Box.remote()  # type: ignore[attr-defined]

    def put(self, row: Row) -> None:
        """Add a row without waiting."""
        self._box.put.remote(row)

    def take(self) -> list[Row]:
        """All rows that have come since the last call."""
        rows: list[Row] = ray.get(self._box.take.remote())
        return rows


class Relay(UserCallback):
    """Puts the first worker's reports into a mailbox; a checkpoint adds its place as `checkpoint`."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def after_report(self, run_context: Any, metrics: list[Row], checkpoint: ray.train.Checkpoint | None) -> None:
        """Called by Ray Train when all workers have reported."""
        row = dict(metrics[0])
        if checkpoint is not None:
            row["checkpoint"] = checkpoint
        self._mailbox.put(row)


class Listener:
    """Hands rows to functions in a thread of the driver while the main thread waits for the training.

    Args:
        mailbox: what to empty.
        hear: called with every row, in order.
    """

    def __init__(self, mailbox: Mailbox, hear: Callable[[Row], None]) -> None:
        self._mailbox, self._hear = mailbox, hear
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self._empty()
        self._empty()

    def _empty(self) -> None:
        for row in self._mailbox.take():
            self._hear(row)
