"""Ray Tune with Optuna's TPE over lists of choices, never proposing the same point twice."""

import logging
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

Point = Mapping[str, Any]
Finished = Callable[[dict[str, Any], dict[str, Any]], None]
ATTEMPTS = 300
TUNE = "tune"  # folder of Tune's own files


class DistinctOptunaSearch(OptunaSearch):
    """OptunaSearch that answers repeated proposals itself, since equal settings give equal molecules.

    Args:
        identity: equal for points that need not both be run.
        options: of OptunaSearch.
    """

    def __init__(self, identity: Callable[[Point], Hashable], **options: Any) -> None:
        super().__init__(**options)
        self._identity = identity
        self._values: dict[Hashable, float | None] = {}
        self._accepted: dict[str, tuple[str, Hashable]] = {}  # by trial: what it is called in the study, its identity
        self.exhausted = False  # no new point turned up

    def add_finished(self, point: dict[str, Any], value: float) -> None:
        """Add a point to the study that an earlier session has evaluated."""
        self._values[self._identity(point)] = value
        self.add_evaluated_point(point, value)

    def suggest(self, trial_id: str) -> Any:
        """A point that has not been proposed before; FINISHED when none turns up."""
        for attempt in range(ATTEMPTS):
            probe = f"{trial_id}-{attempt}"
            point: dict[str, Any] = super().suggest(probe)  # type: ignore[assignment]  # never None here
            key = self._identity(point)
            if key not in self._values:
                self._values[key] = None
                self._accepted[trial_id] = probe, key
                return point
            value = self._values[key]  # None while the first proposal still runs
            super().on_trial_complete(probe, None if value is None else {self.metric: value}, error=value is None)
        self.exhausted = True
        return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Add a value to the study, under the name that it knows the trial by."""
        probe, _ = self._accepted[trial_id]
        super().on_trial_result(probe, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Remember the value for later proposals of the same point."""
        probe, key = self._accepted[trial_id]
        if result and self.metric in result:
            self._values[key] = result[self.metric]
        super().on_trial_complete(probe, result, error)


class _Reporter(tune.Callback):
    def __init__(self, finished: Finished) -> None:
        self._finished = finished

    def __getstate__(self) -> dict[str, Any]:
        """Tune stores its callbacks with its state; this one only makes sense in the driver that made it."""
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._finished(dict(trial.config), dict(trial.last_result))


@dataclass(frozen=True)
class Search:
    """What stays the same over all sittings of a search.

    Attributes:
        space: choices per key.
        identity: equal for points that need not both be run.
        metric: maximised.
        seed: of Optuna's sampler.
        cpus_per_trial: CPUs that Ray reserves per trial.
        folder: for Tune's own files.
    """

    space: Mapping[str, list[Any]]
    identity: Callable[[Point], Hashable]
    metric: str
    seed: int
    cpus_per_trial: int
    folder: Path

    def run(
        self,
        trainable: Callable[[dict[str, Any]], None],
        points: Sequence[Point],
        done: Sequence[tuple[dict[str, Any], float]],
        trials: int,
        finished: Finished,
    ) -> list[str]:
        """Run further trials; returns the error messages of those that failed.

        Args:
            trainable: the objective, reporting the metric once.
            points: tried first unless they are done.
            done: points of earlier sittings with their values.
            trials: how many to add.
            finished: called in the driver with (point, metrics) of each finished trial.

        Raises:
            KeyboardInterrupt: the user stopped the search; finished trials have been reported.
        """
        if trials <= 0:
            return []
        os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # no tables of Tune's own; the caller reports
        logging.getLogger("ray.tune").setLevel(logging.WARNING)
        searcher = self._searcher(points, done)
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": self.cpus_per_trial}),
            tune_config=tune.TuneConfig(search_alg=searcher, num_samples=trials, reuse_actors=True),
            run_config=tune.RunConfig(
                name=TUNE, storage_path=str(self.folder), verbose=0, callbacks=[_Reporter(finished)]
            ),
        )
        results = tuner.fit()  # on Ctrl-C Tune ends in good order and returns what it has
        outcomes = [results[number] for number in range(len(results))]
        ended = sum(one.error is not None or self.metric in (one.metrics or {}) for one in outcomes)
        if ended < trials and not searcher.exhausted:
            raise KeyboardInterrupt
        return [str(error) for error in results.errors]

    def _searcher(self, points: Sequence[Point], done: Sequence[tuple[dict[str, Any], float]]) -> DistinctOptunaSearch:
        known = {self.identity(point) for point, _ in done}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        searcher = DistinctOptunaSearch(
            self.identity,
            space={key: CategoricalDistribution(choices) for key, choices in self.space.items()},
            points_to_evaluate=[dict(point) for point in points if self.identity(point) not in known],
            sampler=optuna.samplers.TPESampler(seed=self.seed + len(done)),
            metric=self.metric,
            mode="max",
        )
        for point, value in done:
            searcher.add_finished(point, value)
        return searcher
