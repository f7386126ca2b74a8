"""Trainings that several programs compare: resumed where they stopped, with a clock of CPU time."""

import json
import time
from pathlib import Path

import typer

from ead_core.config import Config
from ead_core.training.fit import fit
from ead_core.training.progress import steps_done
from ead_core.training.session import Session


def trained(config: Config, session: Session, folder: Path) -> float:
    """CPU seconds of the training that `folder` then holds, up to the last of its sittings."""
    clock = folder / "cpu_seconds.json"
    before, start = json.loads(clock.read_text()) if clock.is_file() else 0.0, time.process_time()
    fit(config, session.train, session.statistics, folder)
    spent: float = before + time.process_time() - start
    clock.write_text(json.dumps(spent))
    if steps_done(folder) < config.training.steps:
        raise typer.Exit(1)  # it was interrupted
    return spent
