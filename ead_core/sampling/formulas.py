"""Formulas that molecules are asked for: a number of atoms of every element of the model, in the targets (`atoms_X`).

Models that were trained with such numbers are told them. With any model, molecules can be kept to them
(diffusion/formula.py).

Legend: M molecules, K types.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.chemistry.elements import element_symbol, hill_formula
from ead_core.config import SamplerConfig
from ead_core.data.properties import count_name, counted_element
from ead_core.data.targets import TargetError, Targets
from ead_core.data.tensors import AtomTypes
from ead_core.diffusion.formula import OPEN
from ead_core.sampling.fragments import Fragment

Values = Mapping[str, NDArray[np.float64]]  # [M] by property


def compositions(
    config: SamplerConfig, atom_types: AtomTypes, values: Values, sizes: NDArray[np.int64]
) -> Tensor | None:
    """Atoms of each type [M, K] that molecules are to have, `OPEN` where they are to have no formula; None if all are.

    Args:
        config: `composition` says whether a formula is only told.
        atom_types: of the model; one that decides sizes by itself keeps to no formula.
        values: [M] what is asked for, NaN where it is open.
        sizes: [M] atoms; a formula of another number is none.
    """
    counts = counts_of(values, atom_types.numbers)
    if config.composition == "told" or atom_types.has_dummies or counts is None:
        return None
    known = counts.sum(axis=1) == sizes
    return torch.from_numpy(np.where(known[:, None], counts, OPEN).astype(np.int64)) if known.any() else None


def counts_of(values: Values, numbers: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Atoms of each element [M, K], NaN where they are open; None if those of an element are not asked for."""
    names = [count_name(number) for number in numbers if number]
    return np.stack([values[name] for name in names], axis=1) if set(names) <= set(values) else None


def untold(checkpoint: Checkpoint, targets: Targets) -> list[str]:
    """The targets that are numbers of atoms and that the model was not trained with.

    Raises:
        TargetError: they are no whole formula of elements that the model knows, or it decides sizes by itself.
    """
    known, numbers = checkpoint.statistics.properties, checkpoint.atom_types.numbers
    names = [name for name in targets.names if name not in known and counted_element(name) is not None]
    if not names:
        return []
    if checkpoint.atom_types.has_dummies:
        raise TargetError(f"{checkpoint.name} decides sizes by itself, so it takes no formula.", names[0])
    elements, counted = ", ".join(checkpoint.atom_types.symbols), [count_name(number) for number in numbers]
    for name in names:
        if name not in counted:
            raise TargetError(
                f"{checkpoint.name} does not know {name.removeprefix('atoms_')}; its elements are {elements}.", name
            )
    whole = targets.only(counted)
    low, high = whole.arrays
    if len(whole.names) < len(counted) or not (low == high).all():
        raise TargetError(
            f"{checkpoint.name} was not trained with numbers of atoms, so it takes them as a whole formula only, one "
            f"number for each of {elements}.",
            names[0],
        )
    return names


def odd_electrons(counts: NDArray[np.float64], numbers: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which neutral molecules [M] with so many atoms of each element [M, K] have an odd number of electrons."""
    return np.asarray((np.nan_to_num(counts) @ np.array(numbers)) % 2 == 1) & ~np.isnan(counts).any(axis=1)


def unpaired(counts: NDArray[np.float64], numbers: tuple[int, ...]) -> str:
    """That a formula of so many atoms of each element [K] leaves an electron without a partner, in words."""
    atoms = zip(map(element_symbol, numbers), counts, strict=True)
    formula = hill_formula({symbol: int(count) for symbol, count in atoms if count})
    return f"{formula} has an odd number of electrons, so that one of them has no partner"


def check_fragment(fragment: Fragment, composition: Tensor, atom_types: AtomTypes) -> None:
    """Refuse a fragment with more atoms of an element than a composition [M, K] has (TargetError)."""
    own = torch.bincount(atom_types.types(torch.from_numpy(fragment.charges)), minlength=composition.shape[1])
    for row, kind in ((composition != OPEN) & (own > composition)).nonzero().tolist():
        symbol = atom_types.symbols[kind]
        raise TargetError(
            f"the fragment has {int(own[kind])} atoms of {symbol} and the formula {int(composition[row, kind])}; ask "
            "for a formula that holds the fragment.",
            f"atoms_{symbol}",
        )
