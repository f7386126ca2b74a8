"""Adding the moments of the training molecules to a checkpoint that was made before checkpoints had them."""

from dataclasses import replace
from pathlib import Path

from ead_core.checkpoints.checkpoint import load_network, save_statistics
from ead_core.errors import CheckpointError
from ead_core.training.session import prepare


def add_moments(checkpoint: str, data: Path | None = None) -> Path:
    """Store the moments with a checkpoint, whose other files and figures stay as they are; returns its folder.

    Args:
        checkpoint: name or folder.
        data: the file of its training molecules; None is the one that its recipe names.

    Raises:
        CheckpointError: no such checkpoint, or other data than it was trained with.
        DataError: data that cannot be read.
    """
    directory, config, statistics, _ = load_network(checkpoint)
    if data is not None:
        config = config.override({"data.path": str(data.resolve())})
    found = prepare(config).statistics
    if (found.sha256, found.sizes) != (statistics.sha256, statistics.sizes):
        raise CheckpointError(f"{config.data.path} does not hold the molecules that {checkpoint} was trained with.")
    save_statistics(directory, replace(statistics, moments=found.moments))
    return directory
