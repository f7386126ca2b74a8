"""Where broken molecules are taken in again: noised to a level, whole or only where they are broken.

Of a molecule that is freed in parts, the other atoms are held as those of a fragment are (fragments.py): clean, the
frame of what is denoised around them, and in the end exactly what they were.

Legend: M molecules, B of them, N padded atoms.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.chemistry.defects import defective_atoms, within_bonds
from ead_core.chemistry.elements import element_symbol
from ead_core.chemistry.molecule import Molecule
from ead_core.common.noise import Stream, derived_seeds
from ead_core.config import SamplerConfig
from ead_core.data.batching import TrainingBatches
from ead_core.data.store import MoleculeSet
from ead_core.diffusion.context import encode
from ead_core.diffusion.process import Process
from ead_core.errors import ConfigError
from ead_core.networks.memory import molecules_per_call
from ead_core.sampling.conditions import targets_of
from ead_core.sampling.formulas import compositions
from ead_core.sampling.reentry import noised, process_below
from ead_core.sampling.state import SamplerState


@dataclass(frozen=True)
class Entry:
    """Molecules that are taken in again, all of them with held atoms or none.

    Attributes:
        rows: [B] which of the broken molecules they are.
        broken: these molecules.
        freed: of each, which atoms [N] are noised.
        state: what they enter with, for `Engine.resume`.
        process: how they move.
    """

    rows: NDArray[np.int64]
    broken: MoleculeSet
    freed: list[NDArray[np.bool_]]
    state: SamplerState
    process: Process

    def restore(self, made: MoleculeSet) -> MoleculeSet:
        """What the engine made of them, in the frame of the broken molecules and with their held atoms exactly."""
        atoms = [self._restored(index, *made.molecule(index)) for index in range(len(made))]
        charges, positions = map(list, zip(*atoms, strict=True))
        return MoleculeSet.from_lists(charges, positions, made.properties)

    def _restored(
        self, index: int, charges: NDArray[Any], positions: NDArray[np.float32]
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        own_charges, own_positions = self.broken.molecule(index)
        free = self.freed[index]
        frame = free if free.all() else ~free
        shift = own_positions[frame].mean(axis=0, dtype=np.float64) - positions[frame].mean(axis=0, dtype=np.float64)
        moved = (positions + shift).astype(np.float32)
        return np.where(free, charges, own_charges), np.where(free[:, None], moved, own_positions)


def take_in(
    checkpoint: Checkpoint,
    broken: MoleculeSet,
    config: SamplerConfig,
    seed: int = 0,
    attempt: int = 1,
    ids: NDArray[np.int64] | None = None,
) -> list[Entry]:
    """The states with which broken molecules enter the engine again, those with held atoms apart from the others.

    Targets that they carry (`target_…`) are told to the network again and formulas are kept; their `nfe` is counted on.

    Args:
        checkpoint: the model.
        broken: finished molecules of any origin, of the model's elements and with finite coordinates.
        config: settings of the sampler; the fields `repair_level`, `repair_extent` and `repair_hops` say how.
        seed: of the noise, with the ids and the attempt, whoever else is taken in.
        attempt: 1 … 2²⁸ − 1; every one has noise of its own.
        ids: [M] of the molecules; None takes `ids_of`.

    Raises:
        ConfigError: settings that do not fit each other or the checkpoint, or a molecule too large for the memory.
        DataError: an element that the model does not know.
    """
    check_extent(checkpoint, config)
    freed = [freed_atoms(molecule, config) for molecule in broken]
    whole = np.array([free.all() for free in freed], dtype=bool)
    ids = ids_of(broken) if ids is None else ids
    entries = []
    for rows in (np.flatnonzero(whole), np.flatnonzero(~whole)):
        if len(rows):
            key = derived_seeds(seed, torch.from_numpy(ids[rows]), attempt, Stream.REPAIR), torch.from_numpy(ids[rows])
            entries.append(_entry(checkpoint, broken, config, rows, [freed[row] for row in rows], key))
    return entries


def check_extent(checkpoint: Checkpoint, config: SamplerConfig) -> None:
    """Refuse local repair by a model that has not learnt to keep atoms (ConfigError)."""
    if config.repair_extent == "local" and not checkpoint.config.training.fragments:
        raise ConfigError(
            f"{checkpoint.name} was not trained to keep atoms (training.fragments), which "
            "sampler.repair_extent=local needs; take whole."
        )


def freed_atoms(molecule: Molecule, config: SamplerConfig) -> NDArray[np.bool_]:
    """Which atoms [N] of a broken molecule are noised: all, if it is repaired as a whole or no atom can be named."""
    if config.repair_extent == "whole":
        return np.ones(len(molecule), dtype=bool)
    atoms = defective_atoms(molecule.charges, molecule.positions, molecule.total_charge)
    if not atoms.any():
        return ~atoms
    return within_bonds(atoms, molecule.charges, molecule.positions, config.repair_hops)


def unfit(checkpoint: Checkpoint, molecules: MoleculeSet) -> list[str]:
    """Why the model cannot take each molecule in, as the end of a sentence; '' if it can."""
    return [_why_not(checkpoint, molecule) for molecule in molecules]


def _why_not(checkpoint: Checkpoint, molecule: Molecule) -> str:
    known, sizes = checkpoint.atom_types.numbers, checkpoint.statistics.sizes
    foreign = sorted(set(molecule.charges.tolist()) - set(known))
    if foreign:
        return f"{checkpoint.name} does not know {', '.join(map(element_symbol, foreign))}"
    if not min(sizes) <= len(molecule) <= max(sizes):
        return f"{checkpoint.name} has learnt from molecules of {min(sizes)} to {max(sizes)} atoms"
    if not molecule.is_finite:
        return "a coordinate is not a finite number"
    return "it has a charge, of which models know nothing" if molecule.total_charge else ""


def ids_of(molecules: MoleculeSet) -> NDArray[np.int64]:
    """[M] their property `id` if it tells them apart, else their places in the set."""
    places = np.arange(len(molecules))
    values = np.asarray(molecules.properties.get("id", places))
    if values.dtype.kind not in "if" or not np.isfinite(values).all() or (values < 0).any():
        return places
    ids = values.astype(np.int64)
    return ids if np.array_equal(ids, values) and len(np.unique(ids)) == len(ids) else places


def known_numbers(molecules: MoleculeSet, name: str) -> NDArray[np.float64]:
    """[M] a property in numbers, 0 where it is unknown or none."""
    values = np.asarray(molecules.properties.get(name, ()))
    if values.shape != (len(molecules),) or values.dtype.kind not in "iuf":
        return np.zeros(len(molecules))
    return np.nan_to_num(values.astype(np.float64))


def _entry(
    checkpoint: Checkpoint,
    molecules: MoleculeSet,
    config: SamplerConfig,
    rows: NDArray[np.int64],
    freed: list[NDArray[np.bool_]],
    key: tuple[torch.Tensor, torch.Tensor],
) -> Entry:
    """Some of the molecules, which have held atoms or have none."""
    broken, pinned = molecules.select(rows), not freed[0].all()
    largest, level = int(broken.num_atoms.max()), round(config.repair_level * checkpoint.config.diffusion.steps)
    molecules_per_call(checkpoint.denoiser, largest, config.memory_budget)
    asked = targets_of(broken)
    formulas = compositions(config, checkpoint.atom_types, asked, broken.num_atoms)
    process = process_below(checkpoint, config, max(level, 1), largest, pinned, formula=formulas is not None)
    batch = TrainingBatches(broken, checkpoint.atom_types, len(broken), 0).gather(range(len(broken)))
    held = None
    if pinned:
        held = torch.zeros_like(batch.mask)
        for row, free in enumerate(freed):
            held[row, : len(free)] = torch.from_numpy(~free)
    context = encode(asked, checkpoint.statistics.properties, len(broken))
    state = noised(checkpoint, batch, process, *key, held=held, context=context)
    if formulas is not None:
        state = replace(state, composition=formulas.to(state.z.device))
    calls = torch.from_numpy(known_numbers(broken, "nfe")).to(state.calls)
    return Entry(rows, broken, freed, replace(state, calls=calls), process)
