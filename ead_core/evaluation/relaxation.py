"""Post-processing as a step of its own: perceive bonds, relax, keep what is one proper molecule afterwards."""

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ead_core.chemistry.perception import PerceptionError, perceive
from ead_core.common.cpu import available_cores
from ead_core.data.losses import Losses
from ead_core.data.records import ReadReport
from ead_core.data.store import MoleculeSet
from ead_core.data.streams import read_batches
from ead_core.errors import DataError
from ead_core.evaluation.chunk import UNREADABLE, Chunk, Row
from ead_core.evaluation.isolated_workers import SECONDS, done_apart, time_limit
from ead_core.evaluation.measure import carried
from ead_core.evaluation.strain import Relaxed, relax

FORCE_FIELD, GFN2 = "mmff", "gfn2"


@dataclass(frozen=True)
class Moved:
    """One molecule after relaxation, or why it is left out."""

    reason: str
    positions: NDArray[np.float32] | None = None
    strain: float = np.nan
    rmsd: float = np.nan


@dataclass(frozen=True)
class RelaxationReport:
    """What came out of a relaxation.

    Attributes:
        molecules: relaxed, with the properties that they had and `strain` (kcal/mol) and `strain_rmsd` (Å).
        lost: a row of an evaluation's table for each record that was left out.
    """

    molecules: MoleculeSet
    lost: Sequence[Row]

    @property
    def attempts(self) -> int:
        """Records of the sources."""
        return len(self.molecules) + len(self.lost)

    @property
    def dropped(self) -> Counter[str]:
        """How many were left out, by reason."""
        return _reasons(self.lost)


def relax_chunk(chunk: Chunk, method: str, seconds: float) -> list[Moved]:
    """Each molecule of a chunk."""
    found = []
    for index in range(len(chunk)):
        with time_limit(seconds):
            found.append(_moved(*chunk.molecules.molecule(index), chunk.molecules[index].total_charge, method))
    return found


def _moved(charges: NDArray[Any], positions: NDArray[Any], charge: int, method: str) -> Moved:
    try:
        mol = perceive(charges, positions, charge)
    except PerceptionError:
        return Moved("bonds cannot be perceived")
    if len(Chem.GetMolFrags(mol)) > 1:
        return Moved("in several pieces")
    relaxed = _relaxed(mol, method)
    if relaxed is None:
        return Moved(f"{method} cannot compute it")
    if not relaxed.converged:
        return Moved("does not come to rest")
    after = relaxed.mol.GetConformer().GetPositions().astype(np.float32)
    try:
        same = Chem.MolToSmiles(perceive(charges, after, charge)) == Chem.MolToSmiles(mol)
    except PerceptionError:
        same = False
    return Moved("", after, relaxed.strain, relaxed.rmsd) if same else Moved("becomes another molecule")


def _relaxed(mol: Chem.Mol, method: str) -> Relaxed | None:
    if method == FORCE_FIELD:
        return relax(mol)
    from ead_core.evaluation.gfn2 import relax_gfn2

    return relax_gfn2(mol)


def relax_files(
    sources: Sequence[Path],
    method: str = FORCE_FIELD,
    workers: int | None = None,
    seconds: float = SECONDS,
    progress: Callable[[int], object] = lambda done: None,
) -> RelaxationReport:
    """Relax the molecules of files.

    Args:
        sources: see `batches`.
        method: `mmff` (MMFF94, UFF where it lacks parameters) or `gfn2`.
        workers: processes; None takes the cores of this process.
        seconds: that one molecule may take.
        progress: receives the number of records finished since its last call.

    Raises:
        DataError: a source that cannot be read, or nothing is left.
    """
    task = functools.partial(relax_chunk, method=method, seconds=seconds)
    parts: list[MoleculeSet] = []
    lost: list[Row] = []
    losses = Losses()
    for report, outcomes in done_apart(task, _chunks(sources), workers or available_cores()):
        moved = [one for found in outcomes for one in ([Moved(found.failure)] if found.failure else found.results[0])]
        parts.append(_kept(report.molecules, moved))
        lost += _lost(report, moved)
        losses.add(report)
        progress(len(moved) + len(report.skipped))
    losses.tell()
    if not any(map(len, parts)):
        reasons = ", ".join(f"{reason}: {count}" for reason, count in _reasons(lost).most_common())
        raise DataError(f"no molecule is left after relaxation ({reasons}).")
    return RelaxationReport(MoleculeSet.concatenate([part for part in parts if len(part)]), lost)


def _chunks(sources: Sequence[Path]) -> Iterator[tuple[ReadReport, Chunk]]:
    for report in read_batches(sources):
        yield report, Chunk(0, report.molecules, np.zeros(len(report.molecules), dtype=bool))


def _lost(report: ReadReport, moved: Sequence[Moved]) -> list[Row]:
    """A row for each record that is left out."""
    dropped = [(row, one.reason) for row, one in enumerate(moved) if one.reason]
    rows = [{"record": report.names[row], "failure": why, **carried(report.molecules, row)} for row, why in dropped]
    return [*rows, *({"record": name, "failure": f"{UNREADABLE}: {why.rstrip('.')}"} for name, why in report.skipped)]


def _reasons(lost: Sequence[Row]) -> Counter[str]:
    """How many were left out, by reason; why a record is unreadable is another matter."""
    failures = (row["failure"] for row in lost)
    return Counter(UNREADABLE if failure.startswith(UNREADABLE) else failure for failure in failures)


def _kept(molecules: MoleculeSet, moved: Sequence[Moved]) -> MoleculeSet:
    rows = [row for row, one in enumerate(moved) if one.positions is not None]
    if not rows:
        return molecules.select([])
    chosen = molecules.select(rows)
    energies = {"strain": [moved[row].strain for row in rows], "strain_rmsd": [moved[row].rmsd for row in rows]}
    properties = {**chosen.properties, **{name: np.array(values) for name, values in energies.items()}}
    positions = np.concatenate([moved[row].positions for row in rows])
    return MoleculeSet(chosen.num_atoms, chosen.charges, positions, properties)
