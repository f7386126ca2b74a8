"""Finding the newest whole checkpoint of a training in its storage."""

import posixpath
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyarrow.fs import FileSelector, FileType
from ray.train import Checkpoint

from ead_core.errors import CheckpointError, EADError, one_line
from ead_core.training.parallel import Workers
from ead_core.training.progress import require_whole

FOLDER = "checkpoint_"  # what Ray Train calls the folders of checkpoints before it writes the time


def fetch_newest_whole(newest: Checkpoint, directory: Path, workers: Workers) -> list[str]:
    """Copy the newest whole checkpoint of a run into a folder of this worker; all workers must call this.

    Args:
        newest: where Ray Train would go on.
        directory: of this worker; made.
        workers: who train.

    Returns:
        A sentence for every checkpoint that was passed over because it is damaged.

    Raises:
        CheckpointError: on all workers, none is whole.
    """
    damages: list[str] = []
    for checkpoint in (newest, *_before(newest)):
        damage = next(filter(None, workers.gather(_fetch(checkpoint, directory))), None)
        if damage is None:
            return [f"the checkpoint {damage}; the run goes on from the one before it." for damage in damages]
        damages.append(f"{posixpath.basename(checkpoint.path)} cannot be resumed from ({damage})")
    raise CheckpointError(f"none of the checkpoints in {directory} is whole: {'; '.join(damages)}.")


def _fetch(checkpoint: Checkpoint, directory: Path) -> str | None:
    """Copy a checkpoint into an emptied folder; what is wrong with it, if anything."""
    shutil.rmtree(directory, ignore_errors=True)
    try:
        checkpoint.to_directory(str(directory))
        require_whole(directory)
    except (OSError, EADError) as error:
        return one_line(error).replace(f"{directory}/", "")
    return None


def _before(newest: Checkpoint) -> Iterator[Checkpoint]:
    """The older checkpoints beside it, newest first."""
    storage: Any = newest.filesystem
    folder, name = posixpath.split(newest.path)
    entries = storage.get_file_info(FileSelector(folder, allow_not_found=True))
    names = [entry.base_name for entry in entries if entry.type == FileType.Directory]
    for older in sorted((each for each in names if each.startswith(FOLDER) and each < name), reverse=True):
        yield Checkpoint(f"{folder}/{older}", storage)
