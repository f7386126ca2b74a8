"""The state a training run resumes from: one safetensors file beside the published weights.

Weights, averaged weights and optimiser state are stored with their parameter names; counters are metadata.
A single file is replaced atomically, so a crash leaves the previous state intact.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ead_core.config import Config, validate
from ead_core.data.dataset import Statistics
from ead_core.errors import CheckpointError, EADError, one_line
from ead_core.files import write_aside
from ead_core.training.checkpoint import CONFIG, STATISTICS

if TYPE_CHECKING:
    from ead_core.training.trainer import Trainer

PROGRESS = "training.safetensors"
OPTIMIZER_PREFIX = "optimizer."


def save_progress(directory: Path, trainer: "Trainer") -> None:
    """Write everything that `load_progress` needs to continue bit for bit."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in trainer.network.named_parameters():
        tensors[f"weights.{name}"] = parameter.detach()
        tensors[f"ema.{name}"] = trainer.ema.weights[name]
    for name, value in trainer.optimizer.tensors():
        tensors[OPTIMIZER_PREFIX + name] = value
    metadata = {"step": str(trainer.step), "seconds": repr(trainer.seconds)}
    with write_aside(directory / PROGRESS) as aside:
        save_file({k: v.contiguous() for k, v in tensors.items()}, aside, metadata=metadata)


def steps_done(directory: Path) -> int:
    """Optimiser steps of the run that `directory` holds."""
    with safe_open(directory / PROGRESS, "pt") as file:
        return int(file.metadata()["step"])


def load_progress(directory: Path, trainer: "Trainer", statistics: Statistics) -> bool:
    """Continue the run in `directory` if there is one; False when there is nothing to continue.

    Raises:
        CheckpointError: the folder holds another model or other files, or the state is corrupt.
    """
    path = directory / PROGRESS
    if not path.is_file():
        if directory.is_dir() and any(directory.iterdir()):
            raise CheckpointError(f"{directory} is not empty and holds no run to resume; choose another folder.")
        return False
    _check_same_model(directory, trainer.config, statistics)
    try:
        with safe_open(path, "pt") as file:
            counters = file.metadata()
        tensors = load_file(path)
        trainer.step, trainer.seconds = int(counters["step"]), float(counters["seconds"])
        _restore(trainer, tensors)
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be resumed from ({one_line(error)}).") from error
    return True


@torch.no_grad()
def _restore(trainer: "Trainer", tensors: dict[str, Tensor]) -> None:
    for name, parameter in trainer.network.named_parameters():
        parameter.copy_(tensors[f"weights.{name}"])
    trainer.ema.load({name: tensors[f"ema.{name}"] for name in trainer.ema.weights})
    stored = {k.removeprefix(OPTIMIZER_PREFIX): v for k, v in tensors.items() if k.startswith(OPTIMIZER_PREFIX)}
    trainer.optimizer.load(stored)


def _check_same_model(directory: Path, config: Config, statistics: Statistics) -> None:
    """Network, process, optimiser, properties and elements must be those of the run; the rest may change."""
    try:
        recipe = (directory / CONFIG).read_bytes()
        data = Statistics.from_json(json.loads((directory / STATISTICS).read_text()))
    except (OSError, EADError, ValueError, TypeError) as error:
        raise _unreadable(str(directory), error) from error
    require_same_model(str(directory), recipe, config)
    if data.atom_numbers != statistics.atom_numbers:
        raise CheckpointError(f"{directory} holds a run on molecules of other elements; choose another folder.")


def _unreadable(place: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"{place} holds a run whose recipe cannot be read ({one_line(error)}).")


def require_same_model(place: str, recipe: bytes, config: Config) -> None:
    """Refuse to go on with a run by a recipe of another network, process, optimiser, or set of properties.

    Args:
        place: where the run is, which the sentence names.
        recipe: what its file CONFIG holds.
        config: the recipe to go on with.

    Raises:
        CheckpointError: its recipe cannot be read, or the first key that differs.
    """
    try:
        before = validate(Config, yaml.safe_load(recipe))
    except (EADError, ValueError, TypeError, yaml.YAMLError) as error:
        raise _unreadable(place, error) from error
    old, new = before.flat(), config.flat()
    fixed = [
        key for key in old if key.startswith(("network.", "diffusion.", "training.optimizer", "training.objective"))
    ]
    fixed += ["conditioning.properties", "conditioning.half"]
    changed = [key for key in fixed if old[key] != new[key]]
    if changed:
        raise CheckpointError(
            f"{place} holds a run with {changed[0]}={old[changed[0]]}, not {new[changed[0]]}; "
            "choose another folder or keep the value."
        )
