"""Running a search on Ray Tune: trials that end in a recorded outcome, whatever becomes of them."""

import logging
import os
import re
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.tune.experiment import Trial

from ead_core.errors import ConfigError, EADError
from ead_platform.sweep.objectives import Goals
from ead_platform.sweep.records import FAILED, FINISHED, REFUSED, STOPPED
from ead_platform.sweep.searcher import Algorithm, DistinctOptunaSearch
from ead_platform.sweep.space import Point, Space

Objective = Callable[..., dict[str, float]]
TUNE = "tune"  # folder of Tune's own files


class OutOfTimeError(EADError):
    """A trial has taken longer than it may."""


class Deadline:
    """Ends a trial, after its next network call, once it has taken so many minutes."""

    def __init__(self, minutes: float) -> None:
        self._minutes, self._end = minutes, time.monotonic() + 60 * minutes

    def __call__(self, *observed: Any) -> None:
        """Raise OutOfTimeError where the time is over; an `Observer` of the engine."""
        if time.monotonic() > self._end:
            raise OutOfTimeError(f"it took longer than {self._minutes:g} minutes, the limit of --trial-minutes.")


class Reporting(Protocol):
    """Who is told, in the driver, what becomes of each trial."""

    def finished(self, point: dict[str, Any], metrics: dict[str, Any]) -> None:
        """A trial has been measured."""

    def unmeasured(self, point: Mapping[str, Any], outcome: str, reason: str) -> None:
        """A trial has ended without figures."""


def recorded(objective: Objective, goals: Goals, minutes: float | None) -> Callable[..., None]:
    """A trainable of Tune that reports what an objective returns, or why it returns nothing that can be used.

    Args:
        objective: called with the trial's settings, `observe` for the engine, and what `tune.with_parameters` shares;
            returns figures by name. Errors that nobody expects are Tune's.
        goals: whose measures must be finite numbers.
        minutes: that a trial may take; None for any time.
    """

    def trial(point: dict[str, Any], **shared: Any) -> None:
        try:
            metrics = objective(point, observe=Deadline(minutes) if minutes else None, **shared)
        except OutOfTimeError as error:
            tune.report({"outcome": STOPPED, "reason": str(error)})
        except ConfigError as error:
            tune.report({"outcome": REFUSED, "reason": str(error)})
        else:
            if unknown := goals.unknown(metrics):
                tune.report({"outcome": FAILED, "reason": unknown})
            else:
                tune.report({"outcome": FINISHED, "figures": ",".join(metrics), **metrics})

    return trial


def reason(message: str) -> str:
    """Why a trial failed: the last line of its traceback, without the name of the exception if it is one of ours."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ["nothing"]
    return re.sub(r"^ead_\w+(\.\w+)*\.\w+: ", "", lines[-1])


class _Reporter(tune.Callback):
    def __init__(self, reporting: Reporting) -> None:
        self._reporting = reporting

    def __getstate__(self) -> dict[str, Any]:
        """Tune stores its callbacks with its state; this one only makes sense in the driver that made it."""
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        point, result = dict(trial.config), dict(trial.last_result)
        if result["outcome"] == FINISHED:
            self._reporting.finished(point, {name: result[name] for name in result["figures"].split(",")})
        else:
            self._reporting.unmeasured(point, result["outcome"], result["reason"])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._reporting.unmeasured(dict(trial.config), FAILED, reason(str(trial.get_error() or "")))


@dataclass(frozen=True)
class Search:
    """What stays the same over all sittings of a search.

    Attributes:
        space: of the points.
        goals: what is reported, and which way is better.
        identity: equal for points that need not both be run.
        refusal: why a point is impossible, or None.
        algorithm: of Optuna.
        seed: of its sampler.
        cpus_per_trial: CPUs that Ray reserves per trial.
        folder: for Tune's own files.
    """

    space: Space
    goals: Goals
    identity: Callable[[Point], Hashable]
    refusal: Callable[[Point], str | None]
    algorithm: Algorithm
    seed: int
    cpus_per_trial: int
    folder: Path

    def run(
        self,
        trainable: Callable[[dict[str, Any]], None],
        points: Sequence[Point],
        done: Sequence[Mapping[str, Any]],
        trials: int,
        reporting: Reporting,
    ) -> None:
        """Run further trials.

        Args:
            trainable: from `recorded`.
            points: tried first unless they are done.
            done: rows of earlier sittings.
            trials: how many to add.
            reporting: is told of each trial.

        Raises:
            KeyboardInterrupt: the user stopped the search; finished trials have been reported.
        """
        if trials <= 0:
            return
        os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # no tables of Tune's own; the caller reports
        os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # trials without figures report why
        logging.getLogger("ray.tune").setLevel(logging.WARNING)
        searcher = self._searcher(points, done, reporting)
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": self.cpus_per_trial}),
            tune_config=tune.TuneConfig(search_alg=searcher, num_samples=trials, reuse_actors=True),
            run_config=tune.RunConfig(
                name=TUNE, storage_path=str(self.folder), verbose=0, callbacks=[_Reporter(reporting)]
            ),
        )
        results = tuner.fit()  # on Ctrl-C Tune ends in good order and returns what it has
        ended = [results[number] for number in range(len(results))]
        complete = sum(one.error is not None or "outcome" in (one.metrics or {}) for one in ended) >= trials
        if not complete and not searcher.exhausted:
            raise KeyboardInterrupt

    def _searcher(
        self, points: Sequence[Point], done: Sequence[Mapping[str, Any]], reporting: Reporting
    ) -> DistinctOptunaSearch:
        measured = [row for row in done if row["outcome"] == FINISHED]
        settings = [({key: row[key] for key in self.space.keys if key in row}, row) for row in done]
        known = {self.identity(point) for point, _ in settings}
        searcher = DistinctOptunaSearch(
            self.space,
            self.goals,
            self.identity,
            [point for point in points if self.identity(point) not in known],
            self.refusal,
            lambda point, why: reporting.unmeasured(point, REFUSED, why),
            algorithm=self.algorithm,
            seed=self.seed + len(measured),
        )
        for point, row in settings:
            if row["outcome"] == FINISHED:
                searcher.add_finished(row)
            else:
                searcher.avoid(point)
        return searcher
