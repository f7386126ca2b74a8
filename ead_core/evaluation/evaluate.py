"""From files or molecules to a card: the one way in for Python, the command line and jobs."""

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from ead_core.common.markdown import printable
from ead_core.data.store import MoleculeSet, save_npz
from ead_core.evaluation.card import Card, make_card
from ead_core.evaluation.chunk import Row
from ead_core.evaluation.columns import Columns, Progress
from ead_core.evaluation.parts import chosen
from ead_core.evaluation.reference import Known, completed, load_known, load_reference
from ead_core.evaluation.report import write_report
from ead_core.evaluation.run import EvaluationPlan, measure_files
from ead_core.evaluation.table import TABLE
from ead_core.evaluation.tally import Tally


def check_parts(parts: Collection[str]) -> None:
    """Raise the ConfigError of a part whose package is missing before any work is done."""
    for part in chosen(parts):
        part.check()


def evaluate(
    molecules: MoleculeSet | str | Path | Sequence[str | Path],
    reference: str | Path | None = None,
    train: str | Path | None = None,
    *,
    out: str | Path | None = None,
    plan: EvaluationPlan | None = None,
) -> Card:
    """Measure molecules of any origin, in processes of its own (contained.py).

    Args:
        molecules: a set, or files or folders of molecules (see `batches`).
        reference: real molecules whose geometry, valences, sizes and elements count as right: `qm9`, `drugs`, a file of
            molecules, or the folder of another evaluation.
        train: molecules that do not count as new.
        out: folder for card.json, card.md, card.html and per_molecule.parquet; an interrupted run goes on there.
        plan: what is measured, on how many, with how many processes.

    Raises:
        ConfigError: a part needs a package that is missing.
        DataError: molecules, reference or training set cannot be read.
        OutputError: the folder cannot be written.
    """
    plan = plan or EvaluationPlan()
    check_parts(plan.parts)
    real = load_reference(str(reference), plan.workers, parts=plan.parts) if reference else None
    known = load_known(Path(train), plan.workers) if train else None
    with tempfile.TemporaryDirectory() as scratch:
        if isinstance(molecules, MoleculeSet):
            sources = [Path(scratch, "molecules.npz")]
            save_npz(molecules, sources[0])
        else:
            sources = [Path(molecules)] if isinstance(molecules, str | Path) else [Path(path) for path in molecules]
        folder = Path(out) if out else Path(scratch, "out")
        return evaluate_files(sources, folder, plan, real, known, report=out is not None)


def evaluate_files(  # noqa: PLR0913
    sources: Sequence[Path],
    folder: Path,
    plan: EvaluationPlan,
    reference: Tally | None = None,
    known: Known | None = None,
    *,
    name: str | None = None,
    report: bool = True,
    progress: Progress = lambda done: None,
    total: int | None = None,
    lost: Sequence[Row] = (),
) -> Card:
    """Measure files into a folder.

    Args:
        sources: see `evaluate`.
        folder: of the results.
        plan: what is measured.
        reference: real molecules.
        known: molecules that are not new.
        name: of the card; that of the first source if none.
        report: write card.json, card.md and card.html beside the table.
        progress: receives the number of records finished since its last call; those of the part fcd
            count once more.
        total: from `count_records`, if that has been called already.
        lost: rows of further attempts, of which there are no molecules.

    Raises:
        ConfigError: a part needs a package that is missing.
        DataError: molecules cannot be read.
        OutputError: the folder cannot be written.
    """
    check_parts(plan.parts)
    measure_files(sources, folder, plan, reference, progress, total, lost)
    tally = completed(folder, plan.parts, progress)
    columns = Columns(folder / TABLE)
    about = {"sources": [printable(str(path)) for path in sources]}
    card = make_card(printable(name or sources[0].stem), columns, tally, plan, reference, known, about)
    if report:
        write_report(card, columns, tally, reference, sources, folder)
    return card
