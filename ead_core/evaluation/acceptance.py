"""Whether molecules are accepted: measured in order of cost, each only as long as nothing speaks against it."""

from typing import NamedTuple

from rdkit import Chem

from ead_core.chemistry.bare_molecules import molecule_by_table
from ead_core.evaluation.chunk import STRICT, Chunk, Measures, Row
from ead_core.evaluation.criteria import CRITERIA, Acceptance, Limits
from ead_core.evaluation.isolated_workers import SECONDS
from ead_core.evaluation.measure import measure_published, measure_stage

FAILED = "could not be measured"  # it hung, or crashed what measured it


class Verdict(NamedTuple):
    """What one molecule is found to be, but for what it is compared with.

    Attributes:
        refusal: why it is not accepted; '' if it is.
        inchikey: which molecule it is, without stereochemistry; None if its bonds cannot be perceived.
    """

    refusal: str
    inchikey: str | None


def judge(chunk: Chunk, acceptance: Acceptance) -> list[Verdict]:
    """The verdict on each molecule of a chunk; one that is not finite is none, and never accepted."""
    measures = Measures(frozenset(), SECONDS)
    rows = measure_published(chunk, measures).rows
    strict = measure_stage(chunk, measures, STRICT).rows
    for row, further, finite in zip(rows, strict, chunk.molecules.finite, strict=True):
        row.update(further if finite else {"refusal": CRITERIA["finite"].refusal})
    for name, limits in acceptance.limits.items():
        _apply(name, limits, chunk, rows)
    return [Verdict(row.get("refusal", ""), row.get("inchikey")) for row in rows]


def _apply(name: str, limits: Limits, chunk: Chunk, rows: list[Row]) -> None:
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
