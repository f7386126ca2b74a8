"""A training on the cores of one machine: processes of one thread each, which share every batch.

Threads of OpenMP wait for each other within operations, and so many times per step for whichever core is busy with
something else; processes wait for each other once or twice (docs/results/busy-cores.md).
"""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from ead_core.checkpoints.checkpoint import CONFIG, STATISTICS
from ead_core.common.cpu import available_cores, tune_cpu
from ead_core.common.processes import end_with_parent
from ead_core.config import Config, TrainingConfig
from ead_core.errors import EADError, TrainingError
from ead_core.notes import noted
from ead_core.training.best import BEST
from ead_core.training.fit import Report, fit
from ead_core.training.objectives import evaluation
from ead_core.training.progress import BEFORE, PROGRESS
from ead_core.training.session import Session

SMALLEST_SHARE = 16  # molecules; the calls of Python for a step take as long as the arithmetic of about so many
STATE = (CONFIG, STATISTICS, PROGRESS, BEFORE, BEST)


def process_count(training: TrainingConfig) -> int:
    """How many processes share a batch: `training.threads`, or as many as there are cores and enough molecules for.

    On a GPU it is one.
    """
    if torch.cuda.is_available():
        return 1
    wanted = training.threads or min(available_cores(), training.batch_size // SMALLEST_SHARE)
    return max(1, min(wanted, training.batch_size))


def own_threads(training: TrainingConfig) -> int | None:
    """Threads of torch in each process: one, or beside a GPU `training.threads`, where None is torch's choice."""
    return training.threads if torch.cuda.is_available() else 1


def fit_on_cores(config: Config, session: Session, directory: Path, report: Report) -> Path:
    """Train as `fit` does, with the recipe's quality checks, on so many processes as `process_count` tells.

    This process writes and reports; the others end with it.

    Args:
        config: the recipe.
        session: its data.
        directory: becomes a checkpoint directory; a run found in it is continued.
        report: see `fit`.

    Returns:
        The checkpoint directory.

    Raises:
        DataError: the data do not suffice for the recipe's checks.
        EADError: see `fit`.
        TrainingError: one of the processes was ended from outside.
    """
    check = evaluation(config, session, directory)
    with _fellows(process_count(config.training), partial(_assist, config, session, directory)):
        return fit(config, session.train, session.statistics, directory, report, check)


def _assist(config: Config, session: Session, directory: Path, scratch: Path) -> None:
    """What a further process does: the same training with a copy of the state in a folder of its own."""
    for name in STATE:
        if (directory / name).is_file():
            shutil.copyfile(directory / name, scratch / name)
    fit(config, session.train, session.statistics, scratch, evaluate=evaluation(config, session, None))


@contextmanager
def _fellows(count: int, work: Callable[[Path], None]) -> Iterator[None]:
    """For the length of a block, this process as the first of `count` in a process group; the others do `work`.

    Args:
        count: of processes.
        work: what each of the others does, given an empty folder of its own.

    Raises:
        TrainingError: another process has ended before its time, whereupon the block failed.
    """
    if count == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="ead-") as place:
        context: Any = get_context("fork" if sys.platform == "linux" else "spawn")
        others = [context.Process(target=_take_part, args=(work, Path(place), rank, count)) for rank in range(1, count)]
        for process in others:
            process.start()
        try:
            _join_group(Path(place), 0, count)
            yield
            for process in others:
                process.join()
        except RuntimeError as error:
            if _lost(others):
                raise TrainingError(
                    "one of the processes that share the training has ended; the same command goes on from the last "
                    "checkpoint. Where memory is short, try fewer training.threads."
                ) from error
            raise
        finally:
            for process in others:
                process.kill()
                process.join()
            if distributed.is_initialized():
                distributed.destroy_process_group()


def _lost(processes: list[BaseProcess]) -> bool:
    """Whether any has ended, or does so within a second, with another exit code than 0."""
    for process in processes:
        process.join(1 / len(processes))
    return any(process.exitcode for process in processes)


def _take_part(work: Callable[[Path], None], place: Path, rank: int, count: int) -> None:
    """The life of a further process: it obeys the first one, whose error is its own, and says nothing."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the first one, too, and all agree to stop
    tune_cpu(1)
    _join_group(place, rank, count)
    scratch = place / str(rank)
    scratch.mkdir()
    with noted(lambda sentence: None), suppress(EADError):
        work(scratch)
    distributed.destroy_process_group()


def _join_group(place: Path, rank: int, count: int) -> None:
    """Become a member of the group of processes that meet in a folder, over no network but this machine's own."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    distributed.init_process_group("gloo", f"file://{place}/meeting", rank=rank, world_size=count)
