"""The state a training run resumes from: one safetensors file beside the published weights, and the one before it.

Weights, averaged weights and optimiser state are stored with their parameter names; counters are metadata. Files are
replaced atomically and carry checksums, so a crash leaves the last state intact, and a damaged one is noticed.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from safetensors import safe_open
from torch import Tensor

from ead_core.checkpoints.checkpoint import CONFIG, STATISTICS
from ead_core.common.documents import Document, read_json
from ead_core.common.files import holds_files, write_aside
from ead_core.common.sealed import read_sealed, seal
from ead_core.common.strict_yaml import parse_yaml
from ead_core.config import Config, validate
from ead_core.data.dataset import Statistics
from ead_core.data.store import MoleculeSet
from ead_core.errors import CheckpointError, DamagedFileError, DataError, EADError, VersionError, one_line
from ead_core.notes import note

if TYPE_CHECKING:
    from ead_core.training.trainer import Trainer

PROGRESS, BEFORE = "training.safetensors", "training.before.safetensors"
OPTIMIZER_PREFIX, MEMORY_PREFIX = "optimizer.", "memory."


class ProgressHeader(Document):
    """The counters of a run, which the first states have without a version and a digest of the data.

    Attributes:
        step: optimiser steps done.
        seconds: that they took.
        data: digest of the training molecules, see `data_digest`; "" if nobody asked.
    """

    kind: ClassVar[str] = "the state of a training"

    version: Literal["ead-training-1"] = Field("ead-training-1", alias="format")
    step: int
    seconds: float
    data: str = ""


def save_progress(directory: Path, trainer: "Trainer") -> None:
    """Write everything that `load_progress` needs to continue bit for bit; the state that was there is kept."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in trainer.network.named_parameters():
        tensors[f"weights.{name}"] = parameter.detach()
        tensors[f"ema.{name}"] = trainer.ema.weights[name]
    for name, value in trainer.optimizer.tensors():
        tensors[OPTIMIZER_PREFIX + name] = value
    tensors |= {MEMORY_PREFIX + name: tensor for name, tensor in trainer.objective.memory.items()}
    header = ProgressHeader(step=trainer.step, seconds=trainer.seconds, data=trainer.data)
    with write_aside(directory / PROGRESS) as aside:
        aside.write_bytes(seal(tensors, header.to_texts()))
        if (directory / PROGRESS).exists():
            os.replace(directory / PROGRESS, directory / BEFORE)


def steps_done(directory: Path) -> int:
    """Optimiser steps of the run that `directory` holds."""
    return progress_of(directory).step


def progress_of(directory: Path) -> ProgressHeader:
    """The counters of the run that `directory` holds."""
    with safe_open(directory / PROGRESS, "pt") as file:
        return ProgressHeader.parse(file.metadata(), str(directory / PROGRESS))


def require_whole(directory: Path) -> None:
    """Raise an EADError unless `directory` holds a run whose newest state and recipe are whole."""
    try:
        read_sealed(directory / PROGRESS)
        _read_recipe(directory)
    except OSError as error:
        raise CheckpointError(f"{PROGRESS}: {error.strerror or error}.") from error


def data_digest(molecules: MoleculeSet, statistics: Statistics) -> str:
    """By which a run recognises what it learns from: the molecules in their order, and their labels as a whole."""
    labels = json.dumps(statistics.to_json().get("properties"))
    digest = hashlib.sha256(labels.encode())
    for array in (molecules.num_atoms, molecules.charges, molecules.positions):
        digest.update(array.tobytes())
    return digest.hexdigest()


def load_progress(directory: Path, trainer: "Trainer", statistics: Statistics) -> bool:
    """Continue the run in `directory` if there is one; False when there is nothing to continue.

    A state that is damaged or missing is said to be so, and the one before it takes its place.

    Raises:
        CheckpointError: the folder holds another model, a run on other data, or other files, or no state is whole.
    """
    if not any((directory / name).is_file() for name in (PROGRESS, BEFORE)):
        if holds_files(directory):
            raise CheckpointError(f"{directory} is not empty and holds no run to resume; choose another folder.")
        return False
    _check_same_model(directory, trainer.config, statistics)
    path = directory / PROGRESS
    try:
        _resume(path, trainer)
    except DamagedFileError as error:
        path = _resume_from_before(directory, trainer, error)
    if trainer.workers.leads:
        note(f"{path}: resuming at step {trainer.step} of {trainer.config.training.steps}.")
    return True


def _resume_from_before(directory: Path, trainer: "Trainer", damage: DamagedFileError) -> Path:
    """Continue from the state before a damaged one, which it replaces; returns its place until then."""
    newest, before = directory / PROGRESS, directory / BEFORE
    if not before.is_file():
        raise CheckpointError(f"{newest} cannot be resumed from ({one_line(damage)}).") from damage
    try:
        _resume(before, trainer)
    except DamagedFileError as error:
        both = f"{one_line(damage)}; {one_line(error)}"
        raise CheckpointError(f"{directory} cannot be resumed from: both its states are damaged ({both}).") from error
    if trainer.workers.leads:
        note(f"{one_line(damage)}; the run goes on from the state before it.")
    os.replace(before, newest)
    return before


def _resume(path: Path, trainer: "Trainer") -> None:
    """Continue from one state.

    Raises:
        CheckpointError: it cannot be read, is of another version, or was trained on other data.
        DamagedFileError: it is missing or damaged.
    """
    try:
        tensors, metadata = read_sealed(path)
        header = ProgressHeader.parse(metadata, str(path))
        _check_data(path.parent, trainer, header.data)
        _restore(trainer, tensors)
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path} is missing.") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be resumed from ({error.strerror or error}).") from error
    except VersionError as error:
        raise CheckpointError(str(error)) from error
    except (DataError, KeyError, ValueError, RuntimeError) as error:
        raise DamagedFileError(f"{path} is damaged: {one_line(error)}.") from error
    trainer.step, trainer.seconds = header.step, header.seconds


def _check_data(directory: Path, trainer: "Trainer", stored: str) -> None:
    """Refuse other molecules than a state was trained on, or say so where they are wanted."""
    if not stored or not trainer.data or stored == trainer.data:  # older states do not know
        return
    if not trainer.config.training.other_data:
        raise CheckpointError(
            f"{directory} holds a run on other training molecules; choose another folder, or go on with these by "
            "training.other_data=true."
        )
    if trainer.workers.leads:
        note(f"{directory}: the run goes on with other training molecules than before.")


@torch.no_grad()
def _restore(trainer: "Trainer", tensors: dict[str, Tensor]) -> None:
    for name, parameter in trainer.network.named_parameters():
        parameter.copy_(tensors[f"weights.{name}"])
    trainer.ema.load({name: tensors[f"ema.{name}"] for name in trainer.ema.weights})
    trainer.optimizer.load(_part(tensors, OPTIMIZER_PREFIX))
    trainer.objective.memory.update(_part(tensors, MEMORY_PREFIX))


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _check_same_model(directory: Path, config: Config, statistics: Statistics) -> None:
    """Network, process, optimiser, properties and elements must be those of the run; the rest may change."""
    recipe, data = _read_recipe(directory)
    require_same_model(str(directory), recipe, config)
    if data.atom_numbers != statistics.atom_numbers:
        raise CheckpointError(f"{directory} holds a run on molecules of other elements; choose another folder.")


def _read_recipe(directory: Path) -> tuple[bytes, Statistics]:
    """The recipe of a run, which is known to be YAML, and the statistics of its data."""
    try:
        recipe = (directory / CONFIG).read_bytes()
        parse_yaml(recipe)
        return recipe, Statistics.from_json(read_json(directory / STATISTICS), STATISTICS)
    except (OSError, EADError, ValueError, TypeError) as error:
        raise _unreadable(str(directory), error) from error


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
        before = validate(Config, parse_yaml(recipe))
    except (EADError, ValueError, TypeError) as error:
        raise _unreadable(place, error) from error
    old, new = before.flat(), config.flat()
    fixed = [
        key for key in old if key.startswith(("network.", "diffusion.", "training.optimizer", "training.objective"))
    ]
    fixed += ["conditioning.properties", "conditioning.half", "conditioning.predictor"]
    changed = [key for key in fixed if old[key] != new[key]]
    if changed:
        raise CheckpointError(
            f"{place} holds a run with {changed[0]}={old[changed[0]]}, not {new[changed[0]]}; "
            "choose another folder or keep the value."
        )
