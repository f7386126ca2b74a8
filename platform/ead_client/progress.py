"""A bar for a job that is waited for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Show = Callable[[Mapping[str, Any]], str]


@contextmanager
def job_bar(shown: bool) -> Iterator[Show]:
    """Takes descriptions of a job, shows how far it has come, and gives its state; shows nothing if not `shown`."""
    if not shown:
        yield lambda description: str(description["state"])
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("queued", total=None)

        def show(description: Mapping[str, Any]) -> str:
            progress, state = description["progress"], str(description["state"])
            until = description["request"].get("until")
            done, total = (progress["delivered"], until) if until else (progress["attempts"], progress["max_attempts"])
            bar.update(task, description=state, completed=done, total=total or None)
            return state

        yield show
