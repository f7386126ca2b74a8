"""The folder of a sweep: what was asked (`sweep.json`), what came out (`results.csv`), and what is best (`best.yaml`).

`results.csv` is rewritten after every trial and is the one record that a resumed sweep trusts.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
import yaml
from pydantic import ConfigDict, Field

from ead_core.common.documents import Document, read_json
from ead_core.common.files import holds_files, write_aside
from ead_core.common.locks import only_writer
from ead_core.common.strict_yaml import parse_yaml
from ead_core.errors import EADError, OutputError, VersionError, one_line

QUESTION, RESULTS, BEST, PLOT = "sweep.json", "results.csv", "best.yaml", "sweep.png"
RANKED_BY = "molecule_stability"


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

    Raises:
        OutputError: the folder is in use and `resume` was not given.
        EADError: it holds a sweep with other settings, or none, or its records are damaged.
    """

    def __init__(self, path: Path, question: Mapping[str, Any], resume: bool) -> None:
        self.path = path
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
        for key, value in question.items():
            if before.get(key) != value:
                raise EADError(f"{self.path} holds a sweep with {key}={before.get(key)}, not {value}.")
        if (self.path / RESULTS).is_file():
            self.rows = _read_results(self.path / RESULTS, question.get("space", {}))

    def remember_run(self, run_id: str) -> None:
        """Store the question, and the MLflow parent run for a later --resume."""
        self.parent_run = run_id
        SweepQuestion(**self._question, parent_run=run_id).save(self.path / QUESTION)

    def add(self, point: Mapping[str, Any], metrics: Mapping[str, float]) -> dict[str, Any]:
        """Append a finished trial and rewrite the results; returns its row."""
        row = {"trial": f"trial-{len(self.rows):03d}", **point, **metrics}
        self.rows.append(row)
        self._write(pd.DataFrame(self.rows))
        return row

    def ranked(self) -> pd.DataFrame:
        """All finished trials, best first; ties go to the cheaper one."""
        table = pd.DataFrame(self.rows)
        return table.sort_values([RANKED_BY, "nfe_per_molecule"], ascending=[False, True], ignore_index=True)

    def close(self, keys: list[str]) -> pd.DataFrame:
        """Write the ranked results and the best setting; returns the ranking."""
        table = self.ranked()
        self._write(table)
        best = {"sampler.policy": "adaptive", **{key: table[key].tolist()[0] for key in keys}}
        with write_aside(self.path / BEST) as aside:
            aside.write_text(yaml.safe_dump(best, sort_keys=False))
        return table

    def _write(self, table: pd.DataFrame) -> None:
        with write_aside(self.path / RESULTS) as aside:
            table.to_csv(aside, index=False)


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


def _read_results(path: Path, space: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The finished trials in their order, settings as the space has them (EADError if they cannot be read)."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [_row(fields, space) for fields in csv.DictReader(file, strict=True)]
        if not rows:
            raise ValueError("it holds no trial")
        if len({row["trial"] for row in rows}) < len(rows):
            raise ValueError("a trial occurs twice")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise EADError(
            f"{path} is damaged ({one_line(error)}); repair or delete the line, or delete the file, and --resume makes "
            "all trials again."
        ) from error
    return sorted(rows, key=lambda row: str(row["trial"]))


def _row(fields: Mapping[str, str], space: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    if missing := {"trial", RANKED_BY, "nfe_per_molecule", *space} - fields.keys():
        raise ValueError(f"there is no column {min(missing)}")
    if None in fields or None in fields.values():
        raise ValueError(f"the row of {fields['trial']} has not as many values as there are columns")
    row: dict[str, Any] = {"trial": fields["trial"]}
    for key, text in fields.items():
        if key.startswith("sampler."):
            row[key] = _setting(key, text, space.get(key))
        elif key != "trial":
            row[key] = float(text)
    if row[RANKED_BY] != row[RANKED_BY]:
        raise ValueError(f"{RANKED_BY} of {row['trial']} is unknown")
    return row


def _setting(key: str, text: str, choices: Sequence[Any] | None) -> Any:
    """The choice that a text stands for; pandas writes whole numbers among others as 1.0."""
    read = parse_yaml(text)
    if choices is None:
        return read
    for choice in choices:
        if text == str(choice) or read == choice:
            return choice
    raise ValueError(f"{key} is {text!r}, which is none of its choices")
