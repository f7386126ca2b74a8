"""The molecules of `judge_xtb.py`, and what GFN2-xTB says of each; both are kept, so that nothing is done twice.

Legend: M molecules, N atoms.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from choice import branched, drawn
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.chemistry.perception import PerceptionError, perceive
from ead_core.cli.console import progress_bar
from ead_core.data.dataset import split_indices
from ead_core.data.properties import HARTREE, property_values
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.evaluation.acceptance import accepted
from ead_core.evaluation.criteria import Acceptance
from ead_core.evaluation.gfn2 import relax_gfn2
from ead_core.prediction.judge import Judge
from ead_core.sampling.choice import selector_of
from ead_core.sampling.generation import fulfil, sample
from ead_core.sampling.requests import Request, sampler_config

PROPERTIES = ("homo", "lumo", "gap", "mu")
BOHR = 0.529177211  # Å
DEBYE = 2.541746473  # of one e·bohr
ORBITALS = 4  # occupied and unoccupied ones, each, of which the correction knows the energies
MULTIPLE = 1.25  # bond order
NOISE = 0.05  # Å, of the distorted geometries
BRANCHES = branched(12, 0.35)

Columns = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Group:
    """Molecules of one origin.

    Attributes:
        molecules: M of them that GFN2-xTB can compute.
        xtb: what `single_point` says of them, [M] or [M, F] each.
        relaxed: those of them that have been relaxed; none where nothing was to be.
        relaxation: of these, `place` among the M, `strain` (kcal/mol), `rmsd` (Å), and what `single_point` says now.
    """

    molecules: MoleculeSet
    xtb: Columns
    relaxed: MoleculeSet
    relaxation: Columns

    @property
    def places(self) -> NDArray[np.int64]:
        """Of the relaxed molecules among the M."""
        return self.relaxation["place"].astype(np.int64)


def single_point(charges: NDArray[Any], positions: NDArray[Any]) -> dict[str, Any]:
    """What GFN2-xTB says of a neutral molecule: homo, lumo, gap (meV), mu (D) and `features` [F] for the correction.

    Args:
        charges: atomic numbers [N], of an even number of electrons.
        positions: [N, 3] in Å.

    Returns:
        Nothing if the charges do not become self-consistent.
    """
    from tblite.interface import Calculator

    calculator = Calculator("GFN2-xTB", np.asarray(charges), np.asarray(positions, dtype=np.float64) / BOHR)
    calculator.set("verbosity", 0)
    try:
        found = calculator.singlepoint()
    except RuntimeError:
        return {}
    energies = HARTREE.factor * found["orbital-energies"]
    pairs = round(found["orbital-occupations"].sum()) // 2
    homo, lumo = float(energies[pairs - 1]), float(energies[pairs])
    mu = DEBYE * float(np.linalg.norm(found["dipole"]))
    near = energies[np.clip(np.arange(pairs - ORBITALS, pairs + ORBITALS), 0, len(energies) - 1)]
    features = [*near, mu, *_atoms(charges, found["charges"]), *_bonds(charges, found["bond-orders"])]
    return {"homo": homo, "lumo": lumo, "gap": lumo - homo, "mu": mu, "features": [float(x) for x in features]}


def _atoms(charges: NDArray[Any], partial_charges: NDArray[Any]) -> Iterator[float]:
    """Of each element, how many atoms there are and their mean, least and largest partial charge."""
    for number in (1, 6, 7, 8, 9):
        own = partial_charges[charges == number]
        yield from (len(own), own.mean(), own.min(), own.max()) if len(own) else (0, 0, 0, 0)


def _bonds(charges: NDArray[Any], orders: NDArray[Any]) -> Iterator[float]:
    """Of pairs of elements, how many bonds are more than single, twice if the two are equal, and the largest order."""
    for first, second in ((6, 6), (6, 7), (6, 8), (7, 7), (7, 8)):
        own = orders[np.ix_(charges == first, charges == second)]
        yield from ((own > MULTIPLE).sum(), own.max(initial=0))


def relaxation(charges: NDArray[Any], positions: NDArray[Any]) -> dict[str, Any]:
    """The molecule at GFN2-xTB's minimum, with what `single_point` says of it there; nothing if that is not found."""
    try:
        found = relax_gfn2(perceive(charges, positions))
    except PerceptionError:
        return {}
    if found is None or not found.converged:
        return {}
    after = found.mol.GetConformer().GetPositions()
    moved = {"strain": found.strain, "rmsd": found.rmsd, "positions": after.tolist()}
    return {**moved, **values} if (values := single_point(charges, after)) else {}


def real(molecules: MoleculeSet, judge: Judge, num: int, seed: int) -> dict[str, MoleculeSet]:
    """Molecules with all labels that no predictor has learnt from: `real`, and others for the correction, `fit`."""
    split = split_indices(molecules, judge.config.data.split, judge.config.data.split_seed)
    known = np.all([~np.isnan(property_values(molecules, name)) for name in PROPERTIES], axis=0)
    draws = np.random.default_rng(seed)
    return {
        name: molecules.select(draws.permutation(part[known[part]])[:most])
        for name, part, most in (("fit", split.valid, 2 * num), ("real", split.test, num))
    }


def distorted(molecules: MoleculeSet, seed: int) -> MoleculeSet:
    """The molecules with every atom moved at random."""
    moved = molecules.positions + NOISE * np.random.default_rng(seed).normal(size=molecules.positions.shape)
    return replace(molecules, positions=moved.astype(np.float32))


def generated(model: Checkpoint, num: int, seed: int) -> MoleculeSet:
    """Strictly valid molecules, hence neutral ones of even electrons, by the preset `fast`."""
    with progress_bar("generated", num) as progress:
        return sample(model, seed=seed, preset="fast", accept="valid & unique", until=num, progress=progress)


def chosen(model: Checkpoint, selector: Judge, each: int, seed: int) -> MoleculeSet:
    """The strictly valid ones of `each` molecules per property that a selector has chosen for it: `asked`, `target`."""
    parts = []
    for name in PROPERTIES:
        targets, chooser = drawn(model, name, each, seed), selector_of(model, (name,), selector)
        request = Request(each, sampler_config(model, BRANCHES), seed, targets=targets, selector=chooser)
        with progress_bar(f"chosen by {name}", each) as progress:
            made = fulfil(model, request, progress)
        properties = {"asked": np.full(each, name), "target": made.properties[f"target_{name}"]}
        parts.append(replace(made, properties={**properties, "id": made.properties["id"]}))
    together = MoleculeSet.concatenate(parts)
    mixed = together.select(np.argsort(together.properties["id"], kind="stable"))
    return mixed.select(accepted(mixed, Acceptance.parse("valid")))


def kept_molecules(path: Path, make: Callable[[], MoleculeSet]) -> MoleculeSet:
    """The molecules of a file, which is made first if there is none."""
    if not path.is_file():
        save_npz(make(), path)
    return load_npz(path)


def kept_rows(path: Path, count: int, row_of: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """The first `count` rows of a file of JSON lines; those that it lacks are computed and written one by one."""
    text = path.read_text() if path.is_file() else ""
    rows = text[: text.rfind("\n") + 1]  # half a line is of a run that was killed
    found = [json.loads(row) for row in rows.splitlines()]
    if rows != text:
        path.write_text(rows)
    with path.open("a") as file, progress_bar(path.stem, count) as progress:
        progress(len(found))
        for place in range(len(found), count):
            found.append(row_of(place))
            file.write(json.dumps(found[-1]) + "\n")
            file.flush()
            progress(1)
    return found[:count]


def measured(molecules: MoleculeSet, name: str, folder: Path, relaxed: int) -> Group:
    """A group, of which the first `relaxed` molecules are relaxed; those that cannot be computed are left out."""

    def each(compute: Callable[..., dict[str, Any]], place: int) -> dict[str, Any]:
        return compute(*molecules.molecule(place))

    rows = kept_rows(folder / f"{name}.jsonl", len(molecules), partial(each, single_point))
    moved = kept_rows(folder / f"{name}-relaxed.jsonl", min(relaxed, len(molecules)), partial(each, relaxation))
    good = [place for place, row in enumerate(rows) if row]
    both = [place for place in good if place < len(moved) and moved[place]]
    after = molecules.select(both)
    if both:
        after = replace(after, positions=np.concatenate([np.float32(moved[place]["positions"]) for place in both]))
    said = (*PROPERTIES, "features")
    relaxation_of = _columns([moved[place] for place in both], (*said, "strain", "rmsd"))
    return Group(
        molecules.select(good),
        _columns([rows[place] for place in good], said),
        after,
        {"place": np.searchsorted(good, both).astype(float), **relaxation_of},
    )


def _columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in names}
