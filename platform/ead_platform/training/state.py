"""Finding the newest whole checkpoint of a training in its storage, whatever became of Ray Train's list of them.

A disk that fills up, or a process killed at the wrong moment, can leave a whole checkpoint that Ray Train had not yet
noted, or a list that it can no longer read. So the folders themselves say what there is.
"""

import json
import shutil
from pathlib import Path

from pyarrow.fs import FileSelector, FileSystem, FileType
from ray.train import Checkpoint

from ead_core.errors import CheckpointError, EADError, one_line
from ead_core.training.parallel import Workers
from ead_core.training.progress import require_whole

FOLDER = "checkpoint_"  # what Ray Train calls the folders of checkpoints before it writes the time
LIST = "checkpoint_manager_snapshot.json"  # Ray Train's own, of the checkpoints that it keeps


def fetch_newest_whole(place: str, directory: Path, workers: Workers) -> list[str]:
    """Copy the newest whole checkpoint of a run into a folder of this worker; all workers must call this.

    Args:
        place: folder or address of the run's storage.
        directory: of this worker; made if there is a checkpoint.
        workers: who train.

    Returns:
        A sentence for every checkpoint that was passed over because it is damaged.

    Raises:
        CheckpointError: on all workers, there are checkpoints and none is whole.
    """
    storage, folder = FileSystem.from_uri(place)
    damages: list[str] = []
    for name in workers.gather(_newest_first(storage, folder))[0]:
        checkpoint = Checkpoint(f"{folder}/{name}", storage)
        damage = next(filter(None, workers.gather(_fetch(checkpoint, directory))), None)
        if damage is None:
            return [f"the checkpoint {damage}; the run goes on from the one before it." for damage in damages]
        damages.append(f"{name} cannot be resumed from ({damage})")
    if damages:
        raise CheckpointError(f"none of the checkpoints in {directory} is whole: {'; '.join(damages)}.")
    return []


def drop_damaged_list(place: str) -> str | None:
    """Remove Ray Train's list of a run's checkpoints if it would stop at it, before a training starts.

    Args:
        place: folder or address of the run's storage.

    Returns:
        A sentence that says so, or None if there is no list or it is in order.
    """
    storage, folder = FileSystem.from_uri(place)
    if not storage.get_file_info(f"{folder}/{LIST}").is_file:
        return None
    with storage.open_input_stream(f"{folder}/{LIST}") as file:
        listed = _listed(file.read())
    if listed is not None and listed <= set(_newest_first(storage, folder)):
        return None
    storage.delete_file(f"{folder}/{LIST}")
    return f"Ray Train's list of checkpoints in {place} is damaged or names one that is gone; the folders are searched."


def _listed(content: bytes) -> set[str] | None:
    """The checkpoints that Ray Train's list names, or None if it cannot be read."""
    try:
        return {str(entry["checkpoint_dir_name"]) for entry in json.loads(content)["checkpoint_results"]}
    except (ValueError, KeyError, TypeError):
        return None


def _newest_first(storage: FileSystem, folder: str) -> list[str]:
    """The names of a run's checkpoints."""
    entries = storage.get_file_info(FileSelector(folder, allow_not_found=True))
    names = [entry.base_name for entry in entries if entry.type == FileType.Directory]
    return sorted((name for name in names if name.startswith(FOLDER)), reverse=True)


def _fetch(checkpoint: Checkpoint, directory: Path) -> str | None:
    """Copy a checkpoint into an emptied folder; what is wrong with it, if anything."""
    shutil.rmtree(directory, ignore_errors=True)
    try:
        checkpoint.to_directory(str(directory))
        require_whole(directory)
    except (OSError, EADError) as error:
        return one_line(error).replace(f"{directory}/", "")
    return None
