"""What is settled before a molecule starts: its number of atoms, and the properties that the network is given.

Legend: M molecules, P properties of the checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.data.labels import PropertyStatistics
from ead_core.data.priors import SizeRange, draw_sizes, repeat_sizes
from ead_core.data.properties import meant_in, shown
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import TargetError, Targets
from ead_core.diffusion.context import encode
from ead_core.errors import ConfigError
from ead_core.sampling.draws import SizeBounds, Values, draw_open, with_elements
from ead_core.sampling.formulas import counts_of, odd_electrons, unpaired, untold

LARGEST_MOLECULE = 512
TARGET = "target_"  # before the name of the property that was asked for, in the properties of finished molecules
Sizes = Sequence[int] | SizeRange | None


@dataclass(frozen=True)
class Conditions:
    """What M molecules start from.

    Attributes:
        ids: [M] of the molecules.
        sizes: [M] atoms, or slots of a model that decides by itself.
        context: [M, 2P] float32.
        values: of each property asked for, [M] in border units, NaN where it is open.
        warnings: [M] which of them lie outside of training, '' if none does.
    """

    ids: Tensor
    sizes: NDArray[np.int64]
    context: Tensor
    values: Values
    warnings: NDArray[np.str_]

    @property
    def properties(self) -> dict[str, NDArray]:
        """What the finished molecules carry of it; nothing without targets."""
        if not self.values:
            return {}
        return {**{f"{TARGET}{name}": values for name, values in self.values.items()}, "warning": self.warnings}

    def select(self, rows: NDArray[np.int64]) -> "Conditions":
        """What the molecules at `rows` start from."""
        values = {name: column[rows] for name, column in self.values.items()}
        return Conditions(self.ids[rows], self.sizes[rows], self.context[rows], values, self.warnings[rows])


def decide(checkpoint: Checkpoint, seed: int, ids: Tensor, sizes: Sizes, targets: Targets | None) -> Conditions:
    """Sizes and context of the molecules `ids` [M], a function of seed, id and what is asked alone.

    Args:
        checkpoint: the model.
        seed: of the run.
        ids: of the molecules.
        sizes: see `Request`.
        targets: rows, cycled by id.

    Raises:
        ConfigError: sizes out of range.
        TargetError: targets that the model does not know, or that contradict each other or the sizes.
    """
    known = checkpoint.statistics.properties
    if targets is None:
        chosen = choose_sizes(checkpoint, seed, ids, sizes)
        return Conditions(ids, chosen, encode({}, known, len(ids)), {}, np.full(len(ids), ""))
    check_targets(checkpoint, targets, sizes)
    bounds = _size_bounds(checkpoint, seed, ids, sizes, targets)
    formula = targets.only(untold(checkpoint, targets))
    if formula.names:
        bounds = _bounds_of_formula(targets, bounds, ids, checkpoint.statistics.atom_numbers)
    chosen, told = bounds.otherwise, targets.only(known)
    values: Values = {}
    if checkpoint.prior is not None:
        chosen, values = draw_open(checkpoint.prior, checkpoint.statistics, told, bounds, seed, ids)
    chosen = bounds.otherwise if checkpoint.atom_types.has_dummies else chosen
    context, asked = encode(values, known, len(ids)), values | _given(formula, ids)
    return Conditions(ids, chosen, context, asked, _warnings(checkpoint, asked, len(ids)))


def _bounds_of_formula(targets: Targets, bounds: SizeBounds, ids: Tensor, numbers: tuple[int, ...]) -> SizeBounds:
    """The sizes of the formulas (TargetError: they contradict those that are given)."""
    atoms = with_elements(bounds.otherwise, bounds, _given(targets, ids), numbers)
    return SizeBounds(atoms, atoms, atoms)


def _given(targets: Targets, ids: Tensor) -> Values:
    """The low ends of the targets of each molecule [M]."""
    rows = targets.arrays[0][ids.numpy() % len(targets.rows)]
    return dict(zip(targets.names, rows.T, strict=True))


def targets_of(molecules: MoleculeSet) -> Values:
    """What finished molecules were asked for: [M] by property, NaN where it was open."""
    asked = {name: values for name, values in molecules.properties.items() if name.startswith(TARGET)}
    return {name.removeprefix(TARGET): np.asarray(values, dtype=np.float64) for name, values in asked.items()}


def choose_sizes(checkpoint: Checkpoint, seed: int, ids: Tensor, sizes: Sizes) -> NDArray[np.int64]:
    """Atoms per molecule [M]: those asked for, or drawn from the training histogram; or slots, if the model decides.

    Raises:
        ConfigError: a size outside 1 … 512, a range without training molecules, or a model that decides by itself.
    """
    if checkpoint.atom_types.has_dummies:
        if sizes is not None:
            raise ConfigError(f"{checkpoint.name} decides sizes by itself (diffusion.size_mode=dummy); give none.")
        return np.full(len(ids), max(checkpoint.statistics.sizes), dtype=np.int64)
    if sizes is None or isinstance(sizes, SizeRange):
        return draw_sizes(checkpoint.statistics, seed, ids, sizes)
    wrong = [n for n in sizes if not 1 <= n <= LARGEST_MOLECULE]
    if wrong or not len(sizes):
        raise ConfigError(f"sizes must be between 1 and {LARGEST_MOLECULE} atoms, not {wrong or 'an empty list'}.")
    return repeat_sizes(sizes, ids)


def check_sizes_seen(checkpoint: Checkpoint, sizes: NDArray[np.int64]) -> None:
    """Refuse molecules [M] that are larger or smaller than any that the model has learnt from (ConfigError)."""
    smallest, largest = min(checkpoint.statistics.sizes), max(checkpoint.statistics.sizes)
    wrong = sizes[(sizes < smallest) | (sizes > largest)]
    if len(wrong):
        raise ConfigError(
            f"{checkpoint.name} has learnt from molecules of {smallest} to {largest} atoms, so {wrong[0]} atoms are "
            "refused; --beyond-training (in Python beyond_training=True) makes them all the same."
        )


def check_targets(checkpoint: Checkpoint, targets: Targets, sizes: Sizes) -> None:
    """Refuse, whatever the ids, targets that a checkpoint cannot take.

    Raises:
        TargetError: a property that the model does not know, a count of atoms that is no whole number, or sizes given
            in two ways.
        ConfigError: a size of the table out of range.
    """
    known, formula = checkpoint.statistics.properties, untold(checkpoint, targets)
    if not known and not formula:
        raise TargetError(
            f"{checkpoint.name} was trained without properties (conditioning.properties), so it takes no targets but "
            "formulas."
        )
    for name in targets.names:
        if name not in known and name not in formula:
            accepted = ", ".join(known)
            raise TargetError(f"{checkpoint.name} is not conditioned on '{name}'; accepted are {accepted}.", name)
    low, high = targets.arrays
    for row, index in np.argwhere(targets.counted() & ((np.ceil(low) > np.floor(high)) | (low < 0)))[:1]:
        name, asked = targets.names[index], " to ".join(f"{e:g}" for e in dict.fromkeys(targets.rows[row][index]))
        raise TargetError(f"target {name} must be a number of atoms, not {asked}.", name, int(row))
    fixed = targets.fixed_sizes[targets.fixed_sizes > 0]
    if len(fixed):
        if sizes is not None:
            raise TargetError("numbers of atoms are given twice, as sizes and in the column num_atoms of the table.")
        choose_sizes(checkpoint, 0, torch.arange(1), fixed.tolist())


def _size_bounds(checkpoint: Checkpoint, seed: int, ids: Tensor, sizes: Sizes, targets: Targets) -> SizeBounds:
    """What sizes, table and model allow; the sizes are those without targets where they are given or a row is open."""
    otherwise = choose_sizes(checkpoint, seed, ids, sizes)
    fixed = targets.fixed_sizes[ids.numpy() % len(targets.rows)]
    smallest, largest = np.ones_like(otherwise), np.full_like(otherwise, LARGEST_MOLECULE)
    if checkpoint.atom_types.has_dummies:
        return SizeBounds(smallest, otherwise, otherwise)
    if isinstance(sizes, SizeRange):
        return SizeBounds(smallest * max(1, sizes.smallest), smallest * sizes.largest, otherwise)
    if sizes is not None:
        return SizeBounds(otherwise, otherwise, otherwise)
    return SizeBounds(*(np.where(fixed > 0, fixed, ends) for ends in (smallest, largest, otherwise)))


def _warnings(checkpoint: Checkpoint, values: Values, num: int) -> NDArray[np.str_]:
    warnings: list[list[str]] = [[] for _ in range(num)]
    known, numbers = checkpoint.statistics.properties, checkpoint.statistics.atom_numbers
    for name, column in values.items():
        if name not in known:
            continue
        for molecule in np.flatnonzero([not known[name].covers(value) for value in column]):
            warnings[molecule].append(outside(name, float(column[molecule]), known[name]))
    counts = counts_of(values, numbers)
    if counts is not None:
        for molecule in np.flatnonzero(odd_electrons(counts, numbers)):
            warnings[molecule].append(unpaired(counts[molecule], numbers))
    return np.array(["; ".join(sentences) for sentences in warnings])


def outside(name: str, value: float, seen: PropertyStatistics) -> str:
    """That a value is outside of training, in words."""
    return f"{name}={value:.6g} is outside the training range {shown(name, seen.smallest, seen.largest)}"


def warnings_before(checkpoint: Checkpoint, targets: Targets | None) -> list[str]:
    """A sentence for each property that some row wants beyond what training had."""
    warnings: list[str] = []
    if targets is None:
        return warnings
    for index, name in enumerate(targets.names):
        if name not in checkpoint.statistics.properties:
            continue
        seen, ends = checkpoint.statistics.properties[name], np.stack(targets.arrays, axis=1)[..., index]
        beyond = np.array([[not seen.covers(value) for value in pair] for pair in ends])
        if beyond.any():
            rows = f" ({beyond.any(axis=1).sum()} of {len(ends)} rows)" if len(ends) > 1 else ""
            value = float(ends[beyond][0])
            hint = meant_in(name, value, seen.smallest, seen.largest)
            warnings.append(f"target {outside(name, value, seen)}{rows}{f'; {hint}' if hint else ''}.")
    return warnings + _odd_formulas(targets, checkpoint.statistics.atom_numbers)


def _odd_formulas(targets: Targets, numbers: tuple[int, ...]) -> list[str]:
    """A sentence if a row asks for a formula that leaves an electron without a partner, about the first one."""
    low, high = targets.arrays
    counts = counts_of(dict(zip(targets.names, np.where(low == high, low, np.nan).T, strict=True)), numbers)
    if counts is None or not (odd := odd_electrons(counts, numbers)).any():
        return []
    rows = f" ({odd.sum()} of {len(low)} rows)" if len(low) > 1 else ""
    return [f"{unpaired(counts[odd][0], numbers)}{rows}."]
