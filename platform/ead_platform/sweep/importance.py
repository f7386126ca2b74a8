"""How much each parameter matters: the share of the variance of an objective that it explains by itself (fANOVA)."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator

from ead_platform.sweep.objectives import Goals
from ead_platform.sweep.searcher import study_of
from ead_platform.sweep.space import Space

LEAST = 4  # trials below which nothing can be said


def importances(space: Space, goals: Goals, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Shares by parameter, for each objective that differs between trials; empty with fewer than `LEAST` trials.

    Of parameters that only some trials have nothing is said: their effect cannot be told from that of having them.
    """
    if len(rows) < LEAST:
        return {}
    study = study_of(space, goals, rows)
    found = {}
    for number, objective in enumerate(goals.objectives):
        if len({float(row[objective.name]) for row in rows}) > 1:
            shares = optuna.importance.get_param_importances(
                study,
                evaluator=FanovaImportanceEvaluator(seed=0),
                target=lambda trial, number=number: trial.values[number],  # type: ignore[misc]
            )
            if shares:
                found[objective.name] = shares
    return found
