"""Optuna's proposals for Ray Tune: of a conditional space, for several objectives, none of them made twice."""

import logging
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from ead_platform.sweep.objectives import Goals
from ead_platform.sweep.space import Point, Space

Algorithm = Literal["tpe", "nsga2", "random"]
ATTEMPTS = 300
STUDY = "sweep"
POPULATION = 16  # of NSGA-II: Optuna's own 50 are more trials than most sweeps have
CONSTRAINTS = "constraints"  # where Optuna looks for them


class DistinctOptunaSearch(OptunaSearch):
    """OptunaSearch that answers repeated and impossible proposals itself.

    Equal settings give equal molecules, so that nothing is learnt by making them again; settings that do not fit each
    other cost nothing to refuse, and no trial is spent on them.

    Args:
        space: of the points.
        goals: what is reported of a trial, and which way is better.
        identity: equal for points that need not both be run.
        points: proposed first.
        refusal: why a point is impossible, or None.
        refused: told of each impossible point, once.
        algorithm: of Optuna.
        seed: of its sampler.
    """

    def __init__(  # noqa: PLR0913
        self,
        space: Space,
        goals: Goals,
        identity: Callable[[Point], Hashable],
        points: Sequence[Point] = (),
        refusal: Callable[[Point], str | None] = lambda point: None,
        refused: Callable[[Point, str], None] = lambda point, reason: None,
        *,
        algorithm: Algorithm = "tpe",
        seed: int | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("ray.tune.search.optuna").setLevel(logging.ERROR)
        self._domain, self._goals, self._identity = space, goals, identity
        self._refusal, self._refused = refusal, refused
        self._rows: dict[Hashable, Mapping[str, Any] | None] = {}  # figures of what was proposed; None without them
        self._running: dict[str, tuple[str, Hashable]] = {}  # by trial: its name in the study, its identity
        self.exhausted = False  # no new point turned up
        single = len(goals.objectives) == 1
        names, modes = zip(*((each.name, each.mode) for each in goals.objectives), strict=True)
        self._storage_of_study = InMemoryStorage()
        super().__init__(
            space=space.suggest,
            metric=names[0] if single else list(names),
            mode=modes[0] if single else list(modes),
            points_to_evaluate=[dict(point) for point in points] or None,
            sampler=_sampler(algorithm, seed, self._excesses if goals.constraints else None),
            storage=self._storage_of_study,
            study_name=STUDY,
        )

    def add_finished(self, row: Mapping[str, Any]) -> None:
        """Add a trial of an earlier sitting to the study: its settings and figures."""
        point = {key: row[key] for key in self._domain.keys if key in row}
        self._rows[self._identity(point)] = row
        attributes = {CONSTRAINTS: self._goals.excesses(row)} if self._goals.constraints else {}
        optuna.load_study(study_name=STUDY, storage=self._storage_of_study).add_trial(
            create_trial(
                values=self._goals.values(row),
                params=point,
                distributions=self._domain.distributions(point),
                system_attrs=attributes,
            )
        )

    def avoid(self, point: Point) -> None:
        """Do not propose a point that an earlier sitting could not measure."""
        self._rows[self._identity(point)] = None

    def suggest(self, trial_id: str) -> Any:
        """A point that is possible and has not been proposed before; FINISHED when none turns up."""
        for attempt in range(ATTEMPTS):
            probe = f"{trial_id}-{attempt}"
            point: dict[str, Any] = super().suggest(probe)  # type: ignore[assignment]  # never None here
            key = self._identity(point)
            if key in self._rows:
                self._tell(probe, self._rows[key])
                continue
            self._rows[key] = None
            if reason := self._refusal(point):
                self._refused(point, reason)
                self._tell(probe, None)
                continue
            self._running[trial_id] = probe, key
            return point
        self.exhausted = True
        return Searcher.FINISHED

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as of `save`."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a sweep goes on from its own records (decision 3), and those whom this search tells are no data."""

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: a trial reports once, at its end."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the study, and remember the figures for later proposals of the same point."""
        probe, key = self._running[trial_id]
        if result and not error and self._goals.unknown(result) is None:
            self._rows[key] = result
        self._tell(probe, self._rows[key])

    def _tell(self, probe: str, row: Mapping[str, Any] | None) -> None:
        """End a trial of the study; without figures it failed, and the sampler passes over it."""
        super().on_trial_complete(probe, dict(row) if row else None, error=row is None)

    def _excesses(self, trial: FrozenTrial) -> Sequence[float]:
        """Of a trial that is about to be told to the study."""
        row = self._rows.get(self._identity(trial.params))
        return self._goals.excesses(row) if row else [0.0] * len(self._goals.constraints)


def _sampler(
    algorithm: Algorithm, seed: int | None, constraints: Callable[[FrozenTrial], Sequence[float]] | None
) -> BaseSampler:
    if algorithm == "random":
        return RandomSampler(seed=seed)
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # Optuna 5's way is not yet in 4
        if algorithm == "nsga2":
            return NSGAIISampler(seed=seed, population_size=POPULATION, constraints_func=constraints)
        return TPESampler(seed=seed, constraints_func=constraints)


def study_of(space: Space, goals: Goals, rows: Sequence[Mapping[str, Any]]) -> optuna.Study:
    """A study of Optuna that holds measured trials, for what it can say of them."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    better = {True: StudyDirection.MAXIMIZE, False: StudyDirection.MINIMIZE}
    study = optuna.create_study(directions=[better[each.maximise] for each in goals.objectives])
    for row in rows:
        point = {key: row[key] for key in space.keys if key in row}
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                values=goals.values(row),
                params=point,
                distributions=space.distributions(point),
            )
        )
    return study
