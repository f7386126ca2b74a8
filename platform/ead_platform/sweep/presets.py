"""Presets of a checkpoint, from the settings that a sweep recommends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ead_core.checkpoints.checkpoint import PRETRAINED, load_checkpoint
from ead_core.config.presets import NAMES, PRESETS, Presets
from ead_core.errors import CheckpointError
from ead_platform.sweep.records import settings


def preset_folder(path: Path, fingerprint: str) -> Path:
    """The folder of a checkpoint that may get presets, absolute.

    Args:
        path: of the folder.
        fingerprint: of the checkpoint that is swept, whose presets they will be.

    Raises:
        CheckpointError: no checkpoint, another one than is swept, or one that comes with this program.
    """
    folder = path.absolute()
    if folder.resolve().is_relative_to(PRETRAINED.resolve()):
        raise CheckpointError(
            f"--save-presets {path}: bundled checkpoints keep their presets; give a copy of the folder."
        )
    if not folder.is_dir():
        raise CheckpointError(f"--save-presets {path} is no folder of a checkpoint.")
    if load_checkpoint(folder).fingerprint() != fingerprint:
        raise CheckpointError(f"--save-presets {path} holds another checkpoint than the one that is swept.")
    return folder


def save_presets(folder: Path, points: Mapping[str, Mapping[str, Any]]) -> str:
    """Write `presets.json` (OutputError if it cannot be written); returns a line that says so.

    Args:
        folder: from `preset_folder`.
        points: settings by the name of the preset, all three.
    """
    Presets(**{name: settings(points[name]) for name in NAMES}).save(folder / PRESETS)
    return f"presets  {folder / PRESETS}"
