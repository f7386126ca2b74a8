"""What a person sees of a sweep: progress, a line per trial, the ranking, the confirmation, and the plot."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from rich.console import Console
from rich.table import Table

from ead_core.cli.console import progress_bar
from ead_platform.cluster.settings import Settings
from ead_platform.sweep.records import BEST, PLOT, RANKED_BY, RESULTS, SweepFolder
from ead_platform.sweep.search import TUNE
from ead_platform.sweep.study import (
    FROM_THE_TOP,
    SYNCHRONOUS,
    Campaign,
    identity,
    measure,
    run_point_in_parallel,
    shared_prefix,
)
from ead_platform.sweep.tracking import SweepTracker
from ead_platform.tracking.store import StoreError, where_to_compare

MARKERS = "osD^vP*X"


class SweepConsole:
    """Reports the progress of one sweep and keeps its records.

    Args:
        folder: the sweep's records.
        tracker: its MLflow runs.
        settings: for the closing hint.
        keys: dotted keys of the search space.
        trials: how many there will be.
    """

    def __init__(
        self, folder: SweepFolder, tracker: SweepTracker, settings: Settings, keys: list[str], trials: int
    ) -> None:
        self._folder, self._tracker, self._settings = folder, tracker, settings
        self._keys, self._trials = keys, trials
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
            self._console.print(f"{len(self._folder.rows)} trials are already finished")

    def finished(self, point: dict[str, Any], metrics: dict[str, Any]) -> None:
        """Record a finished trial everywhere and print its line."""
        kept = {key: value for key, value in metrics.items() if _is_figure(key)}
        row = self._folder.add({key: point[key] for key in self._keys}, kept)
        self._track(row)
        self._console.print(
            f"{len(self._folder.rows):>3}/{self._trials}  stable {_percent(row, RANKED_BY)}  "
            f"difference {_difference(row)}  {row['nfe_per_molecule']:.0f} calls  "
            f"{_setting(row, self._keys)}"
        )

    def _track(self, row: dict[str, Any]) -> None:
        """Write a trial to MLflow, after those that it has missed; a store that fails does not end the sweep."""
        self._untracked.append(row)
        try:
            while self._untracked:
                first = self._untracked[0]
                figures = {key: value for key, value in first.items() if _is_figure(key)}
                self._tracker.log_trial(first["trial"], {key: first[key] for key in self._keys}, figures)
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

    def _warn(self, sentence: str) -> None:
        self._console.print(sentence, style="yellow", markup=False)

    def summary(self, errors: list[str], campaign: Campaign) -> None:
        """Rank, confirm the best on fresh molecules, plot, and close the MLflow run; exit 1 if a trial failed."""
        if not self._folder.rows:
            self._finish({}, [], "FAILED")
            self._tell_failures(errors)
            sys.exit(1)
        table = self._folder.close(self._keys)
        self._console.print(ranking(table, self._keys, campaign.samples))
        best = {key: table[key].tolist()[0] for key in self._keys}
        confirmed = self._confirm(best, campaign)
        plot = self._folder.path / PLOT
        draw(table, plot, campaign)
        files = [self._folder.path / RESULTS, self._folder.path / BEST, plot]
        figures = {f"confirmed_{key}": value for key, value in confirmed.items()}
        self._finish({f"best_{RANKED_BY}": table[RANKED_BY].tolist()[0], **figures}, files)
        self._console.print(f"\nresults  {files[0]}\nbest     {files[1]}\nplot     {files[2]}")
        self._console.print(where_to_compare(self._settings), markup=False, soft_wrap=True)
        if errors:
            self._tell_failures(errors)
        self._console.print(verdict(confirmed))
        if errors:
            sys.exit(1)

    def _tell_failures(self, errors: list[str]) -> None:
        which = f"{len(errors)} trials failed" if self._folder.rows else "all trials failed"
        said = f"; the first said: {reason(errors[0])}" if errors else ", and none said why"
        self._console.print(f"{which}{said} (whole messages: {self._folder.path / TUNE})", style="red", markup=False)

    def _confirm(self, best: dict[str, Any], campaign: Campaign) -> dict[str, float]:
        """The best against the baseline on molecules that had no part in choosing it; nothing if it is the baseline."""
        if identity(best) == identity(SYNCHRONOUS):
            self._console.print("The synchronous baseline is best; there is nothing to confirm.")
            return {}
        fresh = replace(campaign, first=campaign.samples)
        with self.bar("confirming on fresh molecules", campaign.samples) as progress:
            indices = {fresh.branch_index(best)}
            buckets = shared_prefix(fresh, indices, self._folder.path / "confirmation", progress)
        baseline, _ = measure(run_point_in_parallel(fresh, buckets, SYNCHRONOUS))
        _, metrics = measure(run_point_in_parallel(fresh, buckets, best), baseline)
        self._console.print(
            f"confirmed: stable {_percent(metrics, RANKED_BY)}, difference to synchronous {_difference(metrics)}, "
            f"{metrics['nfe_per_molecule']:.0f} calls"
        )
        return metrics


def verdict(confirmed: Mapping[str, float]) -> str:
    """Whether the best setting is better than synchronous sampling, from its figures on fresh molecules."""
    if not confirmed:
        return "No setting was better than synchronous sampling."
    comparison = f"synchronous sampling: {_difference(confirmed)} points of stable molecules"
    if confirmed[f"{RANKED_BY}_difference_low"] > 0:
        return f"The best setting is better than {comparison}."
    if confirmed[f"{RANKED_BY}_difference_high"] < 0:
        return f"The best setting is worse than {comparison}, on molecules that had no part in choosing it."
    return f"The best setting is not shown to be better than {comparison}, an interval that includes 0."


def reason(message: str) -> str:
    """Why a trial failed: the last line of its traceback, without the name of the exception if it is one of ours."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ["nothing"]
    return re.sub(r"^ead_\w+(\.\w+)*\.\w+: ", "", lines[-1])


def ranking(table: pd.DataFrame, keys: list[str], samples: int) -> Table:
    """The ranked trials as a table with intervals and costs."""
    view = Table(title=f"{samples} molecules per setting, equal noise; 95 % intervals; differences are paired")
    for column in ("setting", "stable %", "difference", "p", "atoms %", "valid %", "V×U %", "calls", "s/mol"):
        view.add_column(column, no_wrap=True, justify="left" if column == "setting" else "right")
    for row in table.to_dict("records"):
        view.add_row(
            _setting(row, keys),
            _percent(row, RANKED_BY),
            _difference(row),
            f"{row[f'{RANKED_BY}_p_value']:.2g}",
            *(f"{100 * row[name]:.1f}" for name in ("atom_stability", "validity", "validity_x_uniqueness")),
            f"{row['nfe_per_molecule']:.0f}",
            f"{row['seconds_per_molecule']:.2f}",
        )
    return view


def draw(table: pd.DataFrame, path: Any, campaign: Campaign) -> None:
    """Quality against cost, one point per trial: colour = asynchronous ratio, marker = pause mode."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import Normalize

    figure, axes = plt.subplots(figsize=(8, 5), constrained_layout=True)
    ratios = table.get("sampler.async_ratio", pd.Series(0.0, index=table.index)).astype(float)
    modes = table.get("sampler.pause_mode", pd.Series("repeat", index=table.index)).where(ratios > 0, "synchronous")
    scale = Normalize(0, max(float(ratios.max()), 1e-9))
    for number, mode in enumerate(sorted(modes.unique())):
        _points(
            axes,
            table[modes == mode],
            ratios[modes == mode],
            scale,
            MARKERS[number % len(MARKERS)],
            str(mode),
        )
    axes.set(xlabel="network calls per molecule", ylabel="stable molecules, % (95 % interval)")
    axes.set_title(f"{campaign.checkpoint.name}: {campaign.samples} molecules per setting, equal noise")
    axes.grid(alpha=0.3)
    legend = figure.legend(loc="outside lower center", ncols=4)
    for handle in legend.legend_handles:
        handle.set_array(None)  # type: ignore[union-attr]  # the colour means the ratio, the shape the pause mode
        handle.set_facecolor("0.8")  # type: ignore[union-attr]
    figure.colorbar(plt.cm.ScalarMappable(norm=scale, cmap="viridis"), ax=axes, label="async_ratio")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _points(axes: Axes, rows: pd.DataFrame, ratios: pd.Series, scale: Any, marker: str, label: str) -> None:
    quality = 100 * rows[RANKED_BY]
    below, above = quality - 100 * rows[f"{RANKED_BY}_low"], 100 * rows[f"{RANKED_BY}_high"] - quality
    cost = rows["nfe_per_molecule"]
    axes.errorbar(cost, quality, yerr=[below, above], fmt="none", ecolor="0.75", zorder=1)
    axes.scatter(cost, quality, c=ratios, norm=scale, cmap="viridis", marker=marker, s=70, label=label, edgecolors="k")


def _is_figure(key: str) -> bool:
    """Whether a column holds one of our metrics, and not a setting or one of Tune's own numbers."""
    names = ("stability", "validity", "uniqueness", "nfe_per_molecule", "seconds_per_molecule")
    return not key.startswith("sampler.") and any(name in key for name in names)


def _setting(row: Any, keys: list[str]) -> str:
    """`async_ratio 0.2 · history_window 2 · …`; with ratio 0 only some of the others mean anything."""
    if row.get("sampler.async_ratio") == 0:
        return " · ".join(["synchronous", *_named(row, [key for key in keys if key in FROM_THE_TOP])])
    return " · ".join(_named(row, keys))


def _named(row: Any, keys: list[str]) -> list[str]:
    return [f"{key.removeprefix('sampler.')} {row[key]}" for key in keys]


def _percent(row: Any, name: str) -> str:
    return f"{100 * row[name]:.1f} ({100 * row[f'{name}_low']:.1f}–{100 * row[f'{name}_high']:.1f})"


def _difference(row: Any) -> str:
    low, high = (100 * row[f"{RANKED_BY}_difference_{end}"] for end in ("low", "high"))
    return f"{100 * row[f'{RANKED_BY}_difference']:+.1f} ({low:+.1f} to {high:+.1f})"
