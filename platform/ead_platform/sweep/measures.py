"""What a sweep measures of the molecules of a trial: the figures of the evaluation card, as flat numbers."""

import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ead_core.data.store import MoleculeSet, save_npz
from ead_core.evaluation.card import Card, Evaluated
from ead_core.evaluation.chunk import PUBLISHED
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.compare import differences
from ead_core.evaluation.evaluate import evaluate_files
from ead_core.evaluation.figure import Figure
from ead_core.evaluation.published import evaluate_published
from ead_core.evaluation.run import EvaluationPlan
from ead_core.evaluation.table import TABLE

QUICK = (PUBLISHED,)  # the published protocol alone, measured in the process of the trial
PER_MOLECULE = ("nfe", "seconds")  # figures of the card whose names a sweep writes with their denominator
DELIVERED = "calls_per_delivered"


def measure(
    molecules: MoleculeSet, baseline: Evaluated | None = None, parts: Collection[str] = QUICK
) -> tuple[Evaluated, dict[str, float]]:
    """A trial's card and its figures as flat numbers; differences are paired with the baseline's molecules.

    Args:
        molecules: of the trial.
        baseline: of synchronous sampling.
        parts: of the card, as of `EvaluationPlan`; all but `QUICK` are measured in processes of their own, so that
            molecules that make RDKit crash or hang cost only themselves.
    """
    found = evaluate_published(molecules, workers=1) if PUBLISHED in parts else _evaluate(molecules, tuple(parts))
    metrics: dict[str, float] = {}
    for name, figure in figures_of(found.card).items():
        metrics[name] = float(figure.value)
        if figure.interval:
            metrics[f"{name}_low"], metrics[f"{name}_high"] = map(float, figure.interval)
    for name, change in (differences(baseline, found) if baseline else {}).items():
        metrics |= change.metrics(name)
    return found, metrics


def available(parts: Collection[str]) -> dict[str, Figure]:
    """The figures that `measure` finds with these parts, by name, here of three molecules."""
    return figures_of(measure(_three(), None, parts)[0].card)


def figures_of(card: Card) -> dict[str, Figure]:
    """The figures of a card of generated molecules under the names of a sweep, `DELIVERED` among them."""
    named = {name: figure for _, name, figure in card.figures()}
    found = {name: figure for name, figure in named.items() if name not in PER_MOLECULE}
    if "strict_unique" in named:
        found[DELIVERED] = _per_delivered(named["nfe"].value, named["strict_unique"])
    return found | {f"{name}_per_molecule": replace(named[name], interval=None) for name in PER_MOLECULE}


def _per_delivered(calls: float, good: Figure) -> Figure:
    """Network calls per strictly valid, distinct molecule.

    Where there is none, all calls were for a molecule that is still to come: the figure is the least that it can be.
    """
    least = 1 / good.of
    low, high = good.interval or (good.value, good.value)
    interval = calls / max(high, least), calls / max(low, least)
    title = "network calls per molecule that is strictly valid and distinct"
    return Figure(title, calls / max(good.value, least), interval, good.of, good.of, "")


def _evaluate(molecules: MoleculeSet, parts: tuple[str, ...]) -> Evaluated:
    with tempfile.TemporaryDirectory() as scratch:
        source, folder = Path(scratch, "molecules.npz"), Path(scratch, "out")
        save_npz(molecules, source)
        plan = EvaluationPlan(parts, sample=len(molecules), workers=1)
        card = evaluate_files([source], folder, plan, report=False)
        return Evaluated(card, Columns(pq.read_table(folder / TABLE)))


def _three() -> MoleculeSet:
    """Methane twice and water, with what a sampler would say of them."""
    corner = 1.09 / np.sqrt(3)
    methane = corner * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=float)
    water = np.array([[0, 0, 0], [0.757, 0.586, 0], [-0.757, 0.586, 0]])
    charges = [np.array([6, 1, 1, 1, 1]), np.array([6, 1, 1, 1, 1]), np.array([8, 1, 1])]
    counted = {"id": np.arange(3), "nfe": np.ones(3), "seconds": np.ones(3)}
    return MoleculeSet.from_lists(charges, [methane, methane, water], counted)
