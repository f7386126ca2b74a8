"""Notes and progress bars on standard error; no bar is drawn where nobody watches."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ead_core.config.presets import CHOICES
from ead_core.notes import noted

OVERWRITE = "Replace the output file if it exists."
BEYOND_TRAINING = "Allow sizes that no training molecule has."
THREADS = "Cores to use, each by a process of its own; it starts within seconds."
PRESET = f"Settings under a name, from few network calls to many: {CHOICES}. sampler.* keys beside it win."
TIME_LIMIT = "Seconds that a molecule may take."
DAY = 86_400  # in seconds; processes cannot wait without an end
LINE_SECONDS = 60  # between lines of a log file, where no bar is drawn


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


@contextmanager
def counting_bar(title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar for the length of a block; yields the function that sets how far it is."""
    with new_progress() as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


class TrainingBar:
    """Shows what a training reports: a bar on a terminal, a line a minute elsewhere, every quality check and note.

    Args:
        steps: optimiser steps planned.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._console = Console(stderr=True)
        self._bar = new_progress(self._console)
        self._said = time.monotonic()
        self._notes = noted(self.say)

    def __enter__(self) -> "TrainingBar":
        self._notes.__enter__()
        self._bar.start()
        self._task = self._bar.add_task("training", total=self._steps)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._notes.__exit__(None, None, None)

    def say(self, note: str) -> None:
        """Show a sentence beside the bar."""
        self._console.print(note, markup=False, highlight=False, soft_wrap=True)

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Show one report of `fit`."""
        if "loss" in row:
            text = f"loss {row['loss']:.4f}  {row['molecules_per_second']:.0f} molecules/s"
            self._bar.update(self._task, completed=row["step"], description=text)
            if not self._console.is_terminal and time.monotonic() - self._said > LINE_SECONDS:
                self._said = time.monotonic()
                self._console.print(f"step {row['step']} of {self._steps}  {text}")
        if "molecule_stability" in row:
            atoms, molecules = 100 * row["atom_stability"], 100 * row["molecule_stability"]
            self._console.print(f"step {row['step']}: stable atoms {atoms:.1f} %, molecules {molecules:.1f} %")
        if "held_out_loss" in row:
            self._console.print(f"step {row['step']}: loss on held-out molecules {row['held_out_loss']:.4f}")
