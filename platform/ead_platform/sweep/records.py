"""The folder of a sweep: what was asked (`sweep.json`), what came out (`results.csv`), and what is best (`best.yaml`).

`results.csv` is rewritten after every trial and is the one record that a resumed sweep trusts.
"""

import csv
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
import yaml
from pydantic import ConfigDict, Field

from ead_core.common.documents import Document, read_json
from ead_core.common.files import holds_files, write_aside
from ead_core.common.locks import only_writer
from ead_core.errors import EADError, OutputError, VersionError, one_line
from ead_platform.sweep.front import ranked
from ead_platform.sweep.objectives import CALLS, Goals
from ead_platform.sweep.space import Space

QUESTION, RESULTS, BEST, PLOT = "sweep.json", "results.csv", "best.yaml", "sweep.png"
FINISHED = "finished"  # measured
REFUSED = "refused"  # its settings do not fit each other; nothing was made
STOPPED = "stopped"  # it took longer than --trial-minutes
FAILED = "failed"  # anything else; --resume makes it again
TEXTS = ("trial", "outcome", "reason")  # columns that hold neither settings nor figures


@contextmanager
def only_sweep(path: Path) -> Iterator[None]:
    """Keep other sweeps out of a folder for the length of a block (OutputError if there is one)."""
    with only_writer(path, f"another sweep is writing to {path}; wait for it, or choose another --out."):
        yield


class SweepQuestion(Document):
    """What a sweep asked, and the MLflow run that its trials belong to; the settings are further keys."""

    model_config = ConfigDict(extra="allow")

    kind: ClassVar[str] = "the question of a sweep"

    version: Literal[1] = Field(1, alias="schema_version")
    parent_run: str


class SweepFolder:
    """An open sweep; nothing is written before `remember_run`.

    Args:
        path: absolute folder.
        question: settings that must be the same when a sweep is resumed.
        resume: continue what is there.
        space: of the points of its trials.
        goals: by which they are ranked.

    Raises:
        OutputError: the folder is in use and `resume` was not given.
        EADError: it holds a sweep with other settings, or none, or its records are damaged.
    """

    def __init__(self, path: Path, question: Mapping[str, Any], resume: bool, space: Space, goals: Goals) -> None:
        self.path, self._space, self._goals = path, space, goals
        self.parent_run: str | None = None
        self.rows: list[dict[str, Any]] = []
        if not resume:
            if holds_files(path):
                raise OutputError(f"{path} is not empty; choose another --out, or continue it with --resume.")
        else:
            self._reopen(question)
        self._question = question

    def _reopen(self, question: Mapping[str, Any]) -> None:
        stored = _read_question(self.path / QUESTION)
        self.parent_run = stored.parent_run
        before = stored.model_extra or {}
        for key in dict.fromkeys([*question, *before]):
            if before.get(key) != question.get(key):
                raise EADError(f"{self.path} holds a sweep with {key}={before.get(key)}, not {question.get(key)}.")
        if (self.path / RESULTS).is_file():
            self.rows = _read_results(self.path / RESULTS, self._space, self._goals)

    def remember_run(self, run_id: str) -> None:
        """Store the question, and the MLflow parent run for a later --resume."""
        self.parent_run = run_id
        SweepQuestion(**self._question, parent_run=run_id).save(self.path / QUESTION)

    @property
    def finished(self) -> list[dict[str, Any]]:
        """The trials that have been measured."""
        return [row for row in self.rows if row["outcome"] == FINISHED]

    @property
    def counted(self) -> int:
        """Trials that need not be made: measured ones, and those that ran out of time."""
        return sum(row["outcome"] in (FINISHED, STOPPED) for row in self.rows)

    def add(self, point: Mapping[str, Any], metrics: Mapping[str, float]) -> dict[str, Any]:
        """Append a measured trial and rewrite the results; returns its row."""
        return self._append(FINISHED, {**point, **metrics})

    def add_unmeasured(self, point: Mapping[str, Any], outcome: str, reason: str) -> dict[str, Any]:
        """Append a trial that has no figures (`REFUSED`, `STOPPED` or `FAILED`), with the reason; returns its row."""
        return self._append(outcome, {**point, "reason": reason})

    def point(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a trial."""
        return {key: row[key] for key in self._space.keys if key in row}

    def close(self) -> list[dict[str, Any]]:
        """Write the results in their order, and the best setting; returns the measured trials, best first."""
        order = [dict(row) for row in ranked(self._goals, self.finished)]
        self._write([*order, *(row for row in self.rows if row["outcome"] != FINISHED)])
        with write_aside(self.path / BEST) as aside:
            aside.write_text(yaml.safe_dump(settings(self.point(order[0])), sort_keys=False))
        return order

    def _append(self, outcome: str, content: Mapping[str, Any]) -> dict[str, Any]:
        number = 1 + max((int(row["trial"].removeprefix("trial-")) for row in self.rows), default=-1)
        self.rows.append({"trial": f"trial-{number:03d}", "outcome": outcome, **content})
        self._write(self.rows)
        return self.rows[-1]

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with write_aside(self.path / RESULTS) as aside:
            pd.DataFrame(rows).to_csv(aside, index=False)


def settings(point: Mapping[str, Any]) -> dict[str, Any]:
    """A point as settings that stand by themselves, for `ead sample --settings` and presets."""
    return {"sampler.policy": "adaptive", **point}


def _read_question(path: Path) -> SweepQuestion:
    """What a sweep asked (EADError if there is none, or it cannot be read)."""
    try:
        return SweepQuestion.parse(read_json(path), str(path))
    except VersionError:
        raise
    except FileNotFoundError as error:
        raise EADError(f"{path.parent} holds no sweep to resume; leave out --resume to start one.") from error
    except (OSError, ValueError, EADError) as error:
        raise EADError(
            f"{path} is damaged ({one_line(error)}), so that the sweep cannot be resumed; what it found is in "
            f"{RESULTS} beside it, and a new one needs another --out."
        ) from error


def _read_results(path: Path, space: Space, goals: Goals) -> list[dict[str, Any]]:
    """The trials in their order, settings as the space has them (EADError if they cannot be read).

    Failed ones are left out, so that they are made again.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [_row(fields, space, goals) for fields in csv.DictReader(file, strict=True)]
        if not rows:
            raise ValueError("it holds no trial")
        if len({row["trial"] for row in rows}) < len(rows):
            raise ValueError("a trial occurs twice")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise EADError(
            f"{path} is damaged ({one_line(error)}); repair or delete the line, or delete the file, and --resume makes "
            "all trials again."
        ) from error
    return sorted((row for row in rows if row["outcome"] != FAILED), key=lambda row: str(row["trial"]))


def _row(fields: Mapping[str, str], space: Space, goals: Goals) -> dict[str, Any]:
    needed = {CALLS, *goals.names}
    if missing := {"trial", *needed} - fields.keys():
        raise ValueError(f"there is no column {min(missing)}")
    if None in fields or None in fields.values():
        raise ValueError(f"the row of {fields['trial']} has not as many values as there are columns")
    if not re.fullmatch(r"trial-\d+", fields["trial"]):
        raise ValueError(f"there is no trial {fields['trial']!r}")
    row: dict[str, Any] = {"trial": fields["trial"], "outcome": fields.get("outcome", FINISHED), **space.read(fields)}
    for key, text in fields.items():
        if text and "." not in key and key not in TEXTS:
            row[key] = float(text)
    if row["outcome"] != FINISHED:
        row["reason"] = fields["reason"]
    elif unknown := [name for name in needed if row.get(name, math.nan) != row.get(name, math.nan)]:
        raise ValueError(f"{unknown[0]} of {row['trial']} is unknown")
    return row
