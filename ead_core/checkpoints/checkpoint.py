"""A checkpoint is a directory: config.yaml, model.safetensors, stats.json and, once measured, quality.json.

A model that is conditioned on properties also has prior.safetensors, a table of training molecules; one with presets of
its own has presets.json.
Loading needs nothing but its path, an address (addresses.py), or the name of a bundled one. There is no pickle.
"""

import difflib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import Field
from torch import Tensor

from ead_core.checkpoints.addresses import fetch, scheme_of
from ead_core.common.documents import Document, read_bytes, read_json
from ead_core.common.files import write_aside
from ead_core.common.limits import RECIPE
from ead_core.common.sealed import read_sealed, write_sealed
from ead_core.common.strict_yaml import parse_yaml
from ead_core.config import Config, Section, sampler_settings, validate
from ead_core.config.presets import DEFAULTS, NAMES, PRESETS, Presets
from ead_core.data.dataset import Statistics
from ead_core.data.joint_prior import JointPrior
from ead_core.data.tensors import DUMMY, AtomTypes
from ead_core.diffusion.parametrisation import predicts_noise
from ead_core.diffusion.schedule import NoiseSchedule, build_schedule
from ead_core.errors import CheckpointError, DataError, EADError, one_line
from ead_core.networks.denoiser import Denoiser, build_denoiser
from ead_core.networks.inputs import DenoiserFunction
from ead_core.networks.precision import with_precision
from ead_core.networks.predictor import Predictor, build_predictor

CONFIG, WEIGHTS, STATISTICS = "config.yaml", "model.safetensors", "stats.json"
PRIOR = "prior.safetensors"
LATER = {  # keys of sections that the first checkpoints lack
    *("schedule", "parametrisation", "self_conditioning"),
    *("heads", "modulation", "symmetrise", "compose", "frame_features", "frame_layers", "frame_heads"),
}
PRETRAINED = Path(__file__).parent.parent / "pretrained"


class WeightsHeader(Document):
    """What the header of a checkpoint's weights says."""

    kind: ClassVar[str] = "a checkpoint"

    version: Literal["ead-checkpoint-1"] = Field(alias="format")


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with everything that sampling needs.

    Attributes:
        name: name of the directory.
        config: the recipe it was trained with.
        statistics: of its training data.
        denoiser: network with the averaged weights, in evaluation mode.
        prior: how sizes and properties go together in training; None without conditions.
        presets: settings of the sampler under names.
    """

    name: str
    config: Config
    statistics: Statistics
    denoiser: Denoiser
    prior: JointPrior | None = None
    presets: Presets = DEFAULTS

    @property
    def atom_types(self) -> AtomTypes:
        """The element vocabulary."""
        return vocabulary(self.config, self.statistics)

    @cached_property
    def schedule(self) -> NoiseSchedule:
        """The noise schedule of training."""
        return build_schedule(self.config.diffusion)

    def noise_predictor(self, precision: str) -> DenoiserFunction:
        """The denoiser with calls in a precision (networks/precision.py), whose output is ε̂ whatever it has learnt."""
        function = with_precision(self.denoiser, precision)
        return predicts_noise(function, self.config.diffusion.parametrisation, self.schedule)

    def fingerprint(self) -> str:
        """16 hexadecimal digits, equal for checkpoints that generate the same molecules, whatever their names.

        Counted are the weights and what interprets them (network, noise levels, elements, sizes, properties), but not
        the sampler section, which every run may override, nor the moments, which follow from the training data.
        """
        interpretation: dict[str, Any] = {
            "network": _known_to_all(self.config.network),
            "diffusion": _known_to_all(self.config.diffusion),
            "elements": self.statistics.atom_numbers,
            "sizes": sorted(self.statistics.sizes.items()),
        }
        if self.statistics.properties:
            interpretation["properties"] = self.statistics.to_json()["properties"]
            interpretation["prior"] = self.prior and self.prior.digest()
        return weights_digest(self.denoiser.state_dict(), json.dumps(interpretation, sort_keys=True))


def _known_to_all(section: Section) -> dict[str, Any]:
    """The section without keys that came later, where they have their defaults: older fingerprints stay valid."""
    values = section.model_dump()
    defaults = {key for key in LATER & values.keys() if values[key] == type(section).model_fields[key].default}
    return section.model_dump(exclude=defaults)


def weights_digest(weights: Mapping[str, Tensor], interpretation: str = "") -> str:
    """16 hexadecimal digits of weights, and of what interprets them."""
    digest = hashlib.sha256(interpretation.encode())
    for name, weight in sorted(weights.items()):
        digest.update(name.encode() + weight.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def vocabulary(config: Config, statistics: Statistics) -> AtomTypes:
    """The elements of a data set, with dummies if the recipe has them."""
    dummies = (DUMMY,) if config.diffusion.size_mode == "dummy" else ()
    return AtomTypes((*dummies, *statistics.atom_numbers))


def new_denoiser(config: Config, statistics: Statistics) -> Denoiser:
    """The untrained denoiser of a recipe for the elements of a data set."""
    features, context = vocabulary(config, statistics).num_features, 2 * len(config.conditioning.properties)
    return build_denoiser(config.network, features, config.diffusion.steps, context)


def new_predictor(config: Config, statistics: Statistics) -> Predictor:
    """The untrained predictor of a recipe's properties."""
    features, properties = vocabulary(config, statistics).num_features, len(config.conditioning.properties)
    return build_predictor(config.network, features, config.diffusion.steps, properties)


# What a checkpoint of each `training.objective` holds.
NETWORKS: dict[str, Callable[[Config, Statistics], Denoiser | Predictor]] = {
    "denoise": new_denoiser,
    "predict": new_predictor,
    "direct": new_denoiser,
    "distil": new_denoiser,
}


def save_recipe(directory: Path, config: Config, statistics: Statistics, prior: JointPrior | None = None) -> None:
    """Write config.yaml and stats.json, and prior.safetensors if there is a table."""
    with write_aside(directory / CONFIG) as aside:
        aside.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    save_statistics(directory, statistics)
    if prior is not None:
        prior.save(directory / PRIOR)


def save_statistics(directory: Path, statistics: Statistics) -> None:
    """Write stats.json."""
    with write_aside(directory / STATISTICS) as aside:
        aside.write_text(json.dumps(statistics.to_json(), indent=1) + "\n")


def save_weights(directory: Path, weights: Mapping[str, Tensor]) -> None:
    """Write model.safetensors, with a checksum."""
    write_sealed(directory / WEIGHTS, weights, WeightsHeader(version="ead-checkpoint-1").to_texts())


def bundled() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{WEIGHTS}"))


def find_checkpoint(name_or_path: str | Path) -> Path:
    """Directory of a bundled checkpoint's name, of a path, or of an address such as `models:/ead-qm9@champion`.

    Raises:
        CheckpointError: nothing of that kind exists.
    """
    if scheme_of(name_or_path):
        return fetch(str(name_or_path))
    for directory in (Path(name_or_path), PRETRAINED / name_or_path):
        if (directory / WEIGHTS).is_file():
            return directory
    near = difflib.get_close_matches(str(name_or_path), bundled(), n=1)
    raise CheckpointError(
        f"'{name_or_path}' is neither a checkpoint directory (with {WEIGHTS}) nor a bundled checkpoint "
        f"({', '.join(bundled()) or 'none are installed'}){f'; did you mean {near[0]}?' if near else '.'}"
    )


def load_checkpoint(name_or_path: str | Path) -> Checkpoint:
    """Load a bundled checkpoint by name or any checkpoint by its directory or address.

    Raises:
        CheckpointError: missing, incomplete, corrupt, of another version, or a judge, which generates nothing.
    """
    directory, config, statistics, denoiser = load_network(name_or_path)
    if not isinstance(denoiser, Denoiser):
        raise CheckpointError(f"{directory} predicts properties (training.objective=predict); it generates nothing.")
    try:
        prior, presets = _load_prior(directory, config), _load_presets(directory, config)
    except EADError as error:
        raise CheckpointError(f"checkpoint {directory} is incomplete or corrupt: {one_line(error)}.") from error
    return Checkpoint(directory.resolve().name, config, statistics, denoiser, prior, presets)


def load_network(name_or_path: str | Path) -> tuple[Path, Config, Statistics, Denoiser | Predictor]:
    """Folder, recipe, statistics and network, in evaluation mode, of a checkpoint of either objective.

    Raises:
        CheckpointError: missing, incomplete, corrupt, or of another version.
    """
    directory = find_checkpoint(name_or_path)
    try:
        config = validate(Config, parse_yaml(read_bytes(directory / CONFIG, RECIPE)))
        statistics = Statistics.from_json(read_json(directory / STATISTICS), STATISTICS)
        weights, metadata = read_sealed(directory / WEIGHTS)
    except (OSError, EADError, ValueError, TypeError) as error:
        raise CheckpointError(f"checkpoint {directory} is incomplete or corrupt: {one_line(error)}.") from error
    try:
        WeightsHeader.parse(metadata, str(directory / WEIGHTS))
    except DataError as error:
        raise CheckpointError(str(error)) from error
    if broken := [name for name, weight in weights.items() if not weight.isfinite().all()]:
        raise CheckpointError(f"checkpoint {directory} has weights that are no finite numbers ({broken[0]}).")
    _check_properties(directory, config, statistics)
    network = NETWORKS[config.training.objective](config, statistics)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"checkpoint {directory}: weights do not fit the network in {CONFIG}.") from error
    return directory, config, statistics, network.eval().requires_grad_(False)


def _check_properties(directory: Path, config: Config, statistics: Statistics) -> None:
    if tuple(statistics.properties) != config.conditioning.properties:
        known = ", ".join(statistics.properties) or "none"
        raise CheckpointError(
            f"checkpoint {directory} is incomplete or corrupt: conditioning.properties of {CONFIG} are not those of "
            f"{STATISTICS} ({known})."
        )


def _load_presets(directory: Path, config: Config) -> Presets:
    """The checkpoint's own presets, else the defaults (ConfigError or DataError if its own cannot be used)."""
    if not (directory / PRESETS).is_file():
        return DEFAULTS
    presets = Presets.load(directory / PRESETS)
    for name in NAMES:
        config.sampling(sampler_settings(presets.named(name)))
    return presets


def _load_prior(directory: Path, config: Config) -> JointPrior | None:
    """The table of a conditional checkpoint (CheckpointError if it is not of the properties of the recipe)."""
    names = config.conditioning.properties
    if not names:
        return None
    prior = JointPrior.load(directory / PRIOR)
    if prior.names != names:
        raise CheckpointError(f"the properties of {PRIOR} are not those of {CONFIG}")
    return prior
