"""What a person sees of a sweep: progress, a line per trial, the ranking, the confirmation, and the report."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ead_core.cli.console import progress_bar
from ead_platform.cluster.settings import Settings
from ead_platform.sweep.confirmation import confirm, is_baseline
from ead_platform.sweep.front import recommended
from ead_platform.sweep.lines import evidence, line, ranking, setting, verdict
from ead_platform.sweep.objectives import Goals
from ead_platform.sweep.page import write_report
from ead_platform.sweep.plots import draw_all
from ead_platform.sweep.presets import save_presets
from ead_platform.sweep.records import BEST, FAILED, REFUSED, RESULTS, SweepFolder
from ead_platform.sweep.search import TUNE
from ead_platform.sweep.space import Space
from ead_platform.sweep.study import Campaign
from ead_platform.sweep.tracking import SweepTracker
from ead_platform.tracking.store import StoreError, where_to_compare


@dataclass(frozen=True)
class Plan:
    """What a sweep is about.

    Attributes:
        space: of the points of its trials.
        goals: what it is after.
        trials: how many there will be.
        command: that started it.
        presets: checkpoint folder that gets presets from it, if any.
    """

    space: Space
    goals: Goals
    trials: int
    command: str = ""
    presets: Path | None = None


class SweepConsole:
    """Reports the progress of one sweep and keeps its records.

    Args:
        folder: the sweep's records.
        tracker: its MLflow runs.
        settings: for the closing hint.
        plan: what it is about.
    """

    def __init__(self, folder: SweepFolder, tracker: SweepTracker, settings: Settings, plan: Plan) -> None:
        self._folder, self._tracker, self._settings, self._plan = folder, tracker, settings, plan
        self._untracked: list[dict[str, Any]] = []
        self._console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Leave a resumable state behind when the user stops the sweep."""
        try:
            yield
        except KeyboardInterrupt:
            self._finish({}, [], "KILLED")
            self._console.print(
                f"\nStopped; finished trials are kept. Continue with --out {self._folder.path} --resume"
            )
            sys.exit(130)

    def bar(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """A progress bar, or a line where none can be drawn; gives the function that advances it."""
        if not self._console.is_terminal:
            self._console.print(f"{title}: {total} molecules")
        return progress_bar(title, total, self._console)

    def start(self) -> None:
        """Announce the trials, after writing those of an earlier sitting that MLflow may have missed."""
        for row in self._folder.rows:
            self._track(row)
        if self._folder.rows:
            self._console.print(f"{len(self._folder.finished)} trials are already finished")

    def finished(self, point: dict[str, Any], metrics: dict[str, Any]) -> None:
        """Record a measured trial everywhere and print its line."""
        row = self._folder.add(point, metrics)
        self._track(row)
        self._say(f"{self._count()}  {line(row, point, self._plan.goals)}")

    def unmeasured(self, point: Mapping[str, Any], outcome: str, reason: str) -> None:
        """Record a trial without figures, and print why it has none."""
        self._track(self._folder.add_unmeasured(point, outcome, reason))
        self._say(f"{self._count()}  {outcome}: {reason}  {setting(point)}")

    def _count(self) -> str:
        return f"{self._folder.counted:>3}/{self._plan.trials}"

    def _track(self, row: dict[str, Any]) -> None:
        """Write a trial to MLflow, after those that it has missed; a store that fails does not end the sweep.

        Refused ones are left out: nothing was run, and of some spaces they are many.
        """
        if row["outcome"] == REFUSED:
            return
        self._untracked.append(row)
        try:
            while self._untracked:
                first = self._untracked[0]
                point = self._folder.point(first)
                figures = {key: value for key, value in first.items() if isinstance(value, float) and key not in point}
                self._tracker.log_trial(first["trial"], point, figures, first.get("reason"))
                self._untracked.pop(0)
        except StoreError as error:
            if len(self._untracked) == 1:
                self._warn(f"{error} Trials go on; {RESULTS} has their results.")

    def _finish(self, metrics: dict[str, float], files: list[Path], status: str = "FINISHED") -> None:
        """Close the MLflow run, or say what it lacks."""
        try:
            self._tracker.finish(metrics, files, status)
        except StoreError as error:
            self._warn(str(error))
        if self._untracked:
            self._warn(
                f"MLflow lacks {len(self._untracked)} of the trials; --resume writes them when the store is back."
            )

    def _say(self, text: str) -> None:
        """Print text as it is, however long its lines are."""
        self._console.print(text, markup=False, soft_wrap=True)

    def _warn(self, sentence: str) -> None:
        self._console.print(sentence, style="yellow", markup=False)

    def summary(self, campaign: Campaign) -> None:
        """Rank, confirm on fresh molecules, report, and close the MLflow run; exit 1 if a trial failed."""
        goals, failed = self._plan.goals, any(row["outcome"] == FAILED for row in self._folder.rows)
        if not self._folder.finished:
            self._finish({}, [], "FAILED")
            self._tell_failures()
            sys.exit(1)
        rows = self._folder.close()
        points = [self._folder.point(row) for row in rows]
        self._console.print(ranking(rows, points, goals, campaign.samples))
        chosen = self._chosen(rows)
        confirmed = self._confirm({name: self._folder.point(row) for name, row in chosen.items()}, campaign)
        pictures = draw_all(self._folder, self._plan.space, goals, campaign)
        pages = write_report(self._folder, self._plan.space, goals, campaign, chosen, confirmed, self._plan.command)
        files = [self._folder.path / RESULTS, self._folder.path / BEST, *pictures, *pages]
        figures = {f"confirmed_{key}": value for key, value in confirmed.get("best", {}).items()}
        self._finish({f"best_{goals.first.name}": rows[0][goals.first.name], **figures}, files)
        self._say(f"\nresults  {files[0]}\nbest     {files[1]}\nplot     {pictures[0]}\nreport   {pages[0]}")
        if self._plan.presets and chosen:
            self._say(save_presets(self._plan.presets, {name: self._folder.point(row) for name, row in chosen.items()}))
        self._say(where_to_compare(self._settings))
        if failed:
            self._tell_failures()
        if goals.usual:
            self._console.print(verdict(confirmed.get("best", {})))
        elif not chosen:
            self._console.print(f"No setting keeps {' and '.join(map(str, goals.constraints))}; none is recommended.")
        if failed:
            sys.exit(1)

    def _chosen(self, rows: list[dict[str, Any]]) -> dict[Any, Mapping[str, Any]]:
        """What is recommended, by name; for the founding question, the best alone."""
        if self._plan.goals.usual and not self._plan.presets:
            return {"best": rows[0]}
        return dict(recommended(self._plan.goals, rows))

    def _tell_failures(self) -> None:
        lost = [row for row in self._folder.rows if "reason" in row]
        failed = [row for row in lost if row["outcome"] == FAILED] or lost
        which = f"{len(failed)} trials failed" if self._folder.finished else "all trials failed"
        said = f"; the first said: {failed[0]['reason']}" if failed else ", and none said why"
        self._console.print(f"{which}{said} (whole messages: {self._folder.path / TUNE})", style="red", markup=False)

    def _confirm(self, points: dict[str, dict[str, Any]], campaign: Campaign) -> dict[str, dict[str, float]]:
        """Chosen settings against the baseline on fresh molecules; nothing if there is none but the baseline."""
        if all(is_baseline(campaign, point) for point in points.values()):
            if points:
                self._console.print("The synchronous baseline is best; there is nothing to confirm.")
            return {}
        with self.bar("confirming on fresh molecules", campaign.samples) as progress:
            folder = self._folder.path / "confirmation"
            confirmed = confirm(campaign, points, self._plan.goals, folder, progress)
        for name, metrics in confirmed.items():
            called = "confirmed" if self._plan.goals.usual and len(confirmed) == 1 else f"confirmed {name}"
            told = f": {setting(points[name])}" if called != "confirmed" else ""
            self._say(f"{called}: {evidence(metrics, self._plan.goals)}{told}")
        return confirmed
