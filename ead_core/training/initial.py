"""Starting a training from another checkpoint's weights, made wider where the new model knows more.

What is new starts at zero, so that the first prediction is that of the old model whatever the new inputs say: the
context channels of a conditional model, the layers for an estimate of a self-conditioned one, and the type of a dummy.
An element that the old model does not know starts as a direction of the hidden features, drawn by chance, into which
the first layer writes its channel and from which the last one reads it; from zero it would learn many times more slowly
(docs/results/adapt.md). Elements that the new data lack are left out. Sizes and moments are those of the new data, as
of any training.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint, vocabulary
from ead_core.config import Config
from ead_core.data.dataset import Statistics
from ead_core.data.tensors import DUMMY, AtomTypes
from ead_core.errors import CheckpointError

# Of the recipe: what an input or the output of the network means.
MEANING = ("diffusion.steps", "diffusion.schedule", "diffusion.parametrisation")
# Changes of these that the old weights bear. An output that was the noise is, as `preconditioned`, the same clean
# molecule from α = 0.2 on, and a bounded one where that is not defined; layers for an estimate start at zero.
BORNE = {("diffusion.parametrisation", "epsilon", "preconditioned"), ("network.self_conditioning", False, True)}


def initial_weights(config: Config, statistics: Statistics) -> dict[str, Tensor]:
    """Averaged weights of the checkpoint that `training.initial` names, for the network of the recipe.

    Raises:
        CheckpointError: no such checkpoint, or one that does not fit: another network, other levels, a conditional
            model of other elements, other properties or another half of their labels, dummies that the recipe has not.
    """
    checkpoint = load_checkpoint(str(config.training.initial))
    name = f"training.initial={checkpoint.name}"
    _check_network(name, checkpoint.config, config)
    types = vocabulary(config, statistics)
    _check_elements(name, checkpoint, config, types)
    return _fitted(checkpoint, types, _further_context(name, checkpoint.config, config), config.training.seed)


def _check_network(name: str, before: Config, config: Config) -> None:
    old, new = before.flat(), config.flat()
    for key in old:
        means = key.startswith("network.") or key in MEANING
        if means and old[key] != new[key] and (key, old[key], new[key]) not in BORNE:
            raise CheckpointError(f"{name} was trained with {key}={old[key]}, not {new[key]}.")


def _check_elements(name: str, checkpoint: Checkpoint, config: Config, types: AtomTypes) -> None:
    """Refuse other elements where the old model and the new one must speak of the same."""
    known, here = (
        ", ".join(AtomTypes(tuple(filter(None, of.numbers))).symbols) for of in (checkpoint.atom_types, types)
    )
    if known == here:
        return
    if config.training.objective == "distil":
        raise CheckpointError(f"{name} knows the elements {known}, but the data have {here}, which it cannot teach.")
    if checkpoint.config.conditioning.properties:
        raise CheckpointError(f"{name} is asked for properties of molecules of {known}, but the data have {here}.")


def _further_context(name: str, before: Config, config: Config) -> int:
    """How many context channels the new model has more."""
    modes = before.diffusion.size_mode, config.diffusion.size_mode
    if modes == ("dummy", "histogram"):
        raise CheckpointError(f"{name} was trained with diffusion.size_mode=dummy, not histogram.")
    old, new = before.conditioning, config.conditioning
    if old.properties and old.properties != new.properties:
        there, here = (", ".join(names) or "none" for names in (old.properties, new.properties))
        raise CheckpointError(f"{name} was trained with conditioning.properties {there}, not {here}.")
    if old.properties and before.labels_seen != config.labels_seen:
        raise CheckpointError(
            f"{name} saw the labels of other molecules (conditioning.half={old.half}, "
            f"data.split_seed={before.data.split_seed}), perhaps those that this recipe keeps for a judge."
        )
    return 2 * (len(new.properties) - len(old.properties))


def _fitted(checkpoint: Checkpoint, types: AtomTypes, context: int, seed: int) -> dict[str, Tensor]:
    """The weights with the types of the new model in front, and with zeros for further context behind."""
    denoiser, places = checkpoint.denoiser, _places(checkpoint.atom_types, types)
    weights: dict[str, Tensor] = dict(denoiser.state_dict())
    names: dict[Tensor, str] = {parameter: name for name, parameter in denoiser.named_parameters()}
    network = denoiser.network
    first, last = network.input_layer, network.output_layer
    columns, rows = _reordered(first.weight.mT, places), _reordered(last.weight, places)
    _introduce(columns, rows, types, places, seed)
    weights[names[first.weight]] = pad(columns.mT, (0, context))
    weights[names[last.weight]] = rows
    weights[names[last.bias]] = _reordered(last.bias, places)
    told = network.estimate_layer if checkpoint.config.network.self_conditioning else None
    if told is not None:
        weights[names[told.weight]] = _reordered(told.weight.mT, places).mT
    return weights


def _introduce(columns: Tensor, rows: Tensor, types: AtomTypes, places: Sequence[int | None], seed: int) -> None:
    """Give every new element a direction of its own, as long as those of the others are on average.

    Args:
        columns: [inputs, H] of the first layer, changed in place.
        rows: [outputs, ≥ H] of the last layer, changed in place.
        types: of the new model.
        places: see `_places`.
        seed: of the directions.
    """
    elements = [place for place, number in enumerate(types.numbers) if number != DUMMY]
    known = [place for place in elements if places[place] is not None]
    generator, hidden = torch.Generator().manual_seed(seed), columns.shape[1]
    for place in elements:
        if places[place] is None and known:
            direction = torch.randn(hidden, generator=generator)
            direction /= direction.norm()
            columns[place] = direction * columns[known].norm(dim=1).mean()
            rows[place, :hidden] = direction * rows[known, :hidden].norm(dim=1).mean()


def _places(old: AtomTypes, new: AtomTypes) -> Sequence[int | None]:
    """Of every feature of the new model, its place among those of the old one; None if it is new."""
    known = {number: place for place, number in enumerate(old.numbers)}
    return [*(known.get(number) for number in new.numbers), len(old.numbers)]


def _reordered(rows: Tensor, places: Sequence[int | None]) -> Tensor:
    """The first rows, one for each old feature, at their new places; new ones are zero, and others follow."""
    before = max(place for place in places if place is not None) + 1
    zero = torch.zeros_like(rows[0])
    features = [zero if place is None else rows[place] for place in places]
    return torch.cat([torch.stack(features), rows[before:]])
