"""Whether molecules are accepted: measured in order of cost, each only as long as nothing speaks against it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ead_core.chemistry.bare_molecules import molecule_by_table
from ead_core.data.store import MoleculeSet
from ead_core.evaluation.chunk import STRICT, Chunk, Measures, Row
from ead_core.evaluation.criteria import CRITERIA, Acceptance, Limits
from ead_core.evaluation.isolated_workers import SECONDS, Outcome
from ead_core.evaluation.measure import measure_published, measure_stage

PATIENCE = 86_400.0  # seconds for a molecule where nobody else waits
FAILED = "could not be measured"  # it hung, or crashed what measured it


class Verdict(NamedTuple):
    """What one molecule is found to be, but for what it is compared with.

    Attributes:
        refusal: why it is not accepted; '' if it is.
        inchikey: which molecule and stereoisomer it is; None if its bonds cannot be perceived.
    """

    refusal: str
    inchikey: str | None


def judge(chunk: Chunk, acceptance: Acceptance, seconds: float = SECONDS) -> list[Verdict]:
    """The verdict on each molecule of a chunk; one that is not finite is none, and never accepted.

    Args:
        chunk: of molecules.
        acceptance: what they must be.
        seconds: that one of them may take before this process ends (isolated_workers.py).
    """
    measures = Measures(frozenset(), seconds)
    rows = measure_published(chunk, measures).rows
    strict = measure_stage(chunk, measures, STRICT).rows
    for row, further, finite in zip(rows, strict, chunk.molecules.finite, strict=True):
        row.update(further if finite else {"refusal": CRITERIA["finite"].refusal})
    for name, limits in acceptance.limits.items():
        _apply(name, limits, chunk, rows, seconds)
    return [Verdict(row.get("refusal", ""), row.get("inchikey")) for row in rows]


def accepted(molecules: MoleculeSet, acceptance: Acceptance) -> NDArray[np.bool_]:
    """Which molecules [M] of a set are accepted, but for what they are compared with; judged in this process."""
    found = judge(whole(molecules), acceptance, PATIENCE) if len(molecules) else []
    return np.array([not verdict.refusal for verdict in found], dtype=bool)


def whole(molecules: MoleculeSet) -> Chunk:
    """Molecules to be judged together."""
    return Chunk(0, molecules, np.ones(len(molecules), dtype=bool))


def verdicts(outcomes: Sequence[Outcome[list[Verdict]]]) -> list[Verdict]:
    """The verdicts that processes of their own have found; what cannot be measured is refused."""
    return [
        verdict
        for outcome in outcomes
        for verdict in (outcome.results[0] if not outcome.failure else [Verdict(FAILED, None)])
    ]


def _apply(name: str, limits: Limits, chunk: Chunk, rows: list[Row], seconds: float) -> None:
    """Note a criterion that is not met as the refusal of those that have none, measuring what it needs of them."""
    criterion = CRITERIA[name]
    for index, row in enumerate(rows):
        if "refusal" in row:
            continue
        if name == "connected":
            row.setdefault("pieces", _pieces(chunk, index))
        for stage in criterion.stages:
            row.update(
                measure_stage(chunk.single(index), Measures(frozenset(criterion.stages), SECONDS), stage).rows[0]
            )
        if not criterion.met(row, limits):
            row["refusal"] = criterion.refusal


def _pieces(chunk: Chunk, index: int) -> int:
    """Of a molecule whose bonds cannot be perceived, by the published distance table."""
    return len(Chem.GetMolFrags(molecule_by_table(*chunk.molecules.molecule(index))))
