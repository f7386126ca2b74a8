"""Molecules that a client sends as text: read, predicted, measured. None of it needs the served model."""

import functools
import json
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, rdBase

from ead_core.chemistry.electrons import TOTAL_CHARGE
from ead_core.chemistry.embedding import embed
from ead_core.common.cpu import tune_cpu
from ead_core.data.formats import read_molecules
from ead_core.data.records import Outcome, ReadReport, Record, assemble, attempt, screen
from ead_core.data.store import save_npz
from ead_core.errors import DataError
from ead_core.prediction.judge import Judge, load_judge
from serve.own_schema import Interval, Kind, Left, PredictedMolecule, Predictions

MOST, LONGEST = 1000, 500  # molecules of a request, and characters of a SMILES
TOO_MANY = f"The body must have at most {MOST:,} molecules"


def read(text: str, kind: Kind) -> ReadReport:
    """The molecules of a text.

    Raises:
        DataError: none of them can be read, or there are more than are looked at (`TOO_MANY`).
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"body.{kind}")
        path.write_text(text)
        try:
            report = screen(assemble(_embedded(text))) if kind == "smiles" else read_molecules(path)
        except DataError as error:
            raise DataError(str(error).replace(str(path), "the body")) from error
    if not len(report.molecules):
        raise DataError(f"no molecule of the body can be read; the first: {report.skipped[0].reason}")
    if len(report.molecules) > MOST:
        raise DataError(f"{TOO_MANY}, not {len(report.molecules):,}.")
    return report


def _embedded(text: str) -> Iterator[Outcome]:
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError("the body holds no SMILES; it takes one a line, after which a name may stand.")
    if len(lines) > MOST:
        raise DataError(f"{TOO_MANY}, not {len(lines):,}.")
    for number, (smiles, *name) in enumerate(lines, start=1):
        yield attempt(name[0].strip() if name else f"line {number}", functools.partial(_conformer, smiles))


def _conformer(smiles: str) -> Record:
    if len(smiles) > LONGEST:
        raise DataError(f"a SMILES must have at most {LONGEST} characters, not {len(smiles)}.")
    with rdBase.BlockLogs():
        mol = embed(smiles, seed=0)
    charges = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return Record(charges, mol.GetConformer().GetPositions(), {TOTAL_CHARGE: Chem.GetFormalCharge(mol)})


@lru_cache(maxsize=2)
def _judge(name: str) -> Judge:
    return load_judge(name)


def predicted(text: str, kind: Kind, predictor: str) -> Predictions:
    """Properties of the molecules of a text, each with its 95 % interval (DataError: as of `read`)."""
    from ead_core.data.properties import unit_of
    from ead_core.prediction.predict import predict

    tune_cpu(1)
    report, judge = read(text, kind), _judge(predictor)
    found = predict(report.molecules, judge)
    made = [
        PredictedMolecule(
            name=name,
            formula=molecule.formula,
            properties={
                key: Interval(value=float(each.value[place]), low=float(each.low[place]), high=float(each.high[place]))
                for key, each in found.items()
            },
        )
        for place, (name, molecule) in enumerate(zip(report.names, report.molecules, strict=True))
    ]
    units = {name: unit_of(name).symbol for name in found}
    return Predictions(predictor=judge.name, units=units, molecules=made, skipped=_left(report))


def measured(text: str, kind: Kind, parts: tuple[str, ...] | None, reference: str | None) -> dict[str, Any]:
    """The evaluation card of the molecules of a text (DataError: as of `read`; ConfigError: a part is missing)."""
    from ead_core.evaluation.evaluate import evaluate
    from ead_core.evaluation.parts import DEFAULT_PARTS
    from ead_core.evaluation.run import EvaluationPlan

    tune_cpu(1)
    report = read(text, kind)
    plan = EvaluationPlan(DEFAULT_PARTS if parts is None else parts, workers=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "body.npz")
        save_npz(report.molecules, path)
        card = evaluate(path, reference, plan=plan).to_json()
    card["about"]["sources"] = ["body"]
    skipped = [left.model_dump() for left in _left(report)]
    found: dict[str, Any] = json.loads(
        json.dumps({"card": card, "skipped": skipped}, allow_nan=True), parse_constant=lambda _: None
    )
    return found


def _left(report: ReadReport) -> list[Left]:
    return [Left(name=name, reason=reason) for name, reason in report.skipped]
