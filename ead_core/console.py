"""Progress bars on standard error; nothing is drawn where nobody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def new_progress(console: Console | None = None) -> Progress:
    """A bar with count, elapsed and remaining time; silent unless it is shown on a terminal."""
    console = console or Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def progress_bar(
    title: str, total: int | None = None, console: Console | None = None
) -> Iterator[Callable[[int], None]]:
    """Show a bar for the length of a block; yields the function that advances it."""
    with new_progress(console) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.advance(task, done)
