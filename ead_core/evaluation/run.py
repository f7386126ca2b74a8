"""Measuring any number of molecules with all cores: read in batches, measured apart, kept part by part."""

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rdkit
from numpy.typing import NDArray

from ead_core.chemistry.usual import ValencyTable
from ead_core.chemistry.valency import usual_valencies
from ead_core.common.cpu import available_cores
from ead_core.data.losses import Losses
from ead_core.data.records import ReadReport
from ead_core.data.sources import molecule_files
from ead_core.data.streams import BATCH, batches
from ead_core.errors import ConfigError, DataError
from ead_core.evaluation.chunk import PUBLISHED, UNREADABLE, Chunk, Measured, Measures, Row
from ead_core.evaluation.isolated_workers import SECONDS, Outcome, done_apart
from ead_core.evaluation.measure import measure_chunk, stages_of
from ead_core.evaluation.part import Cost
from ead_core.evaluation.parts import DEFAULT_PARTS, PARTS, chosen
from ead_core.evaluation.table import Parts
from ead_core.evaluation.tally import Tally

MEASURES_VERSION = 3  # raised when the same molecule gets another row, so that nothing old is taken for new


@dataclass(frozen=True)
class EvaluationPlan:
    """How a card is measured.

    Attributes:
        parts: see `chunk.Measures`.
        sample: molecules on which the costly parts are measured.
        workers: processes; None takes the cores of this process.
        seconds: that one molecule may take.
    """

    parts: tuple[str, ...] = DEFAULT_PARTS
    sample: int = 1000
    workers: int | None = None
    seconds: float = SECONDS


def parse_parts(text: str) -> tuple[str, ...]:
    """Parts from a comma-separated list, or from `published` or `none` alone (ConfigError for an unknown one)."""
    names = [name.strip() for name in text.split(",")]
    if names == [PUBLISHED]:
        return (PUBLISHED,)
    if names == ["none"]:
        return ()
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ConfigError(
            f"--parts does not know '{unknown[0]}'; it takes {', '.join(PARTS)}, or published or none alone."
        )
    return tuple(dict.fromkeys(names))


def count_records(sources: Sequence[Path]) -> int:
    """All attempts, the unreadable ones included (DataError if there are none)."""
    total = sum(batch.size for batch in batches(sources))
    if not total:
        raise DataError(f"{', '.join(map(str, sources))}: no molecules.")
    return total


def measure_files(
    sources: Sequence[Path],
    folder: Path,
    plan: EvaluationPlan,
    reference: Tally | None = None,
    progress: Callable[[int], object] = lambda done: None,
    total: int | None = None,
    lost: Sequence[Row] = (),
) -> Tally:
    """Write `per_molecule.parquet` and `tally.npz` into a folder; an interrupted run goes on from its last part.

    Args:
        sources: files or folders; see `batches`.
        folder: of the results.
        plan: what is measured.
        reference: real molecules, whose valences count as usual.
        progress: receives the number of records finished since its last call.
        total: from `count_records`, if that has been called already.
        lost: rows of further attempts, of which there are no molecules.

    Returns:
        The tally of all molecules.

    Raises:
        DataError: no molecules, or a source that cannot be read.
        OutputError: the folder cannot be written.
    """
    total = total or count_records(sources)
    attempts = total + len(lost)
    sampled = np.zeros(attempts, dtype=bool)
    sampled[np.random.default_rng(0).permutation(attempts)[: plan.sample]] = True
    table = usual_valencies(reference.valencies if reference else None)
    parts = Parts(folder / "parts", {**settings_of(sources, plan, table), "attempts": attempts})
    work = _unfinished(sources, sampled, parts, progress)
    measures = Measures(frozenset(plan.parts), plan.seconds, table)
    task = functools.partial(measure_chunk, measures=measures)
    workers = min(plan.workers or available_cores(), -(-total // BATCH))
    losses = Losses()
    for (number, report), outcomes in done_apart(task, work, workers, stages_of(measures)):
        rows, tally = _gathered(report, outcomes, sampled)
        parts.add(number, rows, tally)
        losses.add(report)
        progress(len(rows))
    losses.tell()
    further = [{**row, "number": total + n, "sampled": bool(sampled[total + n])} for n, row in enumerate(lost)]
    found = parts.join(folder, further)
    parts.remove()
    return found


def _unfinished(
    sources: Sequence[Path], sampled: NDArray[np.bool_], parts: Parts, progress: Callable[[int], object]
) -> Iterator[tuple[tuple[int, ReadReport], Chunk]]:
    """Number, report and chunk of each batch that is still to be measured."""
    first = 0
    for number, batch in enumerate(batches(sources)):
        if parts.finished(number):
            progress(batch.size)
        else:
            report = batch.read()
            yield (number, report), Chunk(first, report.molecules, sampled[first : first + len(report.molecules)])
        first += batch.size


def _gathered(
    report: ReadReport, outcomes: Sequence[Outcome[Measured]], sampled: NDArray[np.bool_]
) -> tuple[list[Row], Tally]:
    """Rows of a batch, those of what failed or could not be read among them."""
    rows: list[Row] = []
    tally = Tally()
    for chunk, results, failure in outcomes:
        if failure or len(results) > 1:  # one molecule, in stages
            row: Row = {"number": chunk.first, "failure": failure or None}
            rows.append(functools.reduce(operator.or_, (measured.rows[0] for measured in results), row))
        else:
            rows += results[0].rows
        for measured in results:
            tally.add(measured.tally)
    for row, name in zip(rows, report.names, strict=True):
        row["record"] = name
    first = outcomes[0].chunk.first + len(rows)
    rows += [
        {"number": first + place, "record": name, "failure": f"{UNREADABLE}: {reason.rstrip('.')}"}
        for place, (name, reason) in enumerate(report.skipped)
    ]
    for row in rows:
        row["sampled"] = bool(sampled[row["number"]])
    return rows, tally


def settings_of(sources: Sequence[Path], plan: EvaluationPlan, table: ValencyTable | None = None) -> dict[str, Any]:
    """All that the rows depend on, as plain values."""
    files = [path for source in sources for path in molecule_files(source)]
    return {
        "versions": [MEASURES_VERSION, rdkit.__version__],
        "files": [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files],
        "parts": sorted(set(plan.parts) - {part.name for part in chosen(plan.parts, Cost.WHOLE)}),
        "sample": plan.sample if chosen(plan.parts, Cost.SAMPLED) else 0,
        "seconds": plan.seconds,
        "valencies": {kind: sorted(seen) for kind, seen in (table or {}).items()},
    }
