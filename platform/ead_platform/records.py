"""The folder of a sweep: what was asked (`sweep.json`), what came out (`results.csv`), and what is best (`best.yaml`).

`results.csv` is rewritten after every trial and is the one record that a resumed sweep trusts.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ead_core.errors import EADError, OutputError
from ead_core.files import write_aside

QUESTION, RESULTS, BEST, PLOT = "sweep.json", "results.csv", "best.yaml", "sweep.png"
RANKED_BY = "molecule_stability"


class SweepFolder:
    """An open sweep; nothing is written before `remember_run`.

    Args:
        path: absolute folder.
        question: settings that must be the same when a sweep is resumed.
        resume: continue what is there.

    Raises:
        OutputError: the folder is in use and `resume` was not given.
        EADError: it holds a sweep with other settings, or none.
    """

    def __init__(self, path: Path, question: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        self.parent_run: str | None = None
        self.rows: list[dict[str, Any]] = []
        if not resume:
            if path.is_dir() and any(path.iterdir()):
                raise OutputError(f"{path} is not empty; choose another --out, or continue it with --resume.")
        else:
            self._reopen(question)
        self._question = question

    def _reopen(self, question: Mapping[str, Any]) -> None:
        try:
            stored = json.loads((self.path / QUESTION).read_text())
            self.parent_run = stored.pop("parent_run")
        except (OSError, ValueError, KeyError) as error:
            raise EADError(f"{self.path} holds no sweep to resume; leave out --resume to start one.") from error
        for key, value in question.items():
            if stored.get(key) != value:
                raise EADError(f"{self.path} holds a sweep with {key}={stored.get(key)}, not {value}.")
        if (self.path / RESULTS).is_file():
            table = pd.read_csv(self.path / RESULTS).sort_values("trial")
            self.rows = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]

    def remember_run(self, run_id: str) -> None:
        """Store the question, and the MLflow parent run for a later --resume."""
        self.parent_run = run_id
        with write_aside(self.path / QUESTION) as aside:
            aside.write_text(json.dumps({**self._question, "parent_run": run_id}, indent=1) + "\n")

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
