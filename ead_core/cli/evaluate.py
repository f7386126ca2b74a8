"""`ead evaluate`: the card of any molecules."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ead_core.cli.console import DAY, TIME_LIMIT, progress_bar
from ead_core.errors import ConfigError
from ead_core.evaluation.parts import DEFAULT_PARTS, PARTS

WHICH = (
    f"Besides both protocols, of {', '.join(PARTS)}, or none; {', '.join(DEFAULT_PARTS)} if not given."
    " published: that protocol alone, which is quick."
)
Files = Annotated[list[Path], typer.Argument(help=".sdf, .sdf.gz, .xyz, .npz, .parquet, or folders of them.")]


def evaluate(
    files: Files,
    reference: Annotated[
        str | None, typer.Option(help="Real molecules: qm9, drugs, a file, or a card's folder.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Training molecules, for novelty.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for card.json, .md, .html and a table.")] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write card.json to this file, too.")] = None,
    parts: Annotated[str | None, typer.Option(help=WHICH)] = None,
    num: Annotated[
        int,
        typer.Option(
            "--sample", min=0, help="Molecules on which the costly parts (posebusters, strain, gfn2) are measured."
        ),
    ] = 1000,
    seconds: Annotated[float, typer.Option("--time-limit", min=1, max=DAY, help=TIME_LIMIT)] = 60,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    conditional: Annotated[
        bool, typer.Option("--conditional", help="Judge how near to their targets they are.")
    ] = False,
    judge: Annotated[str, typer.Option(help="With --conditional: a judge's name or folder.")] = "qm9-judge",
    verdicts: Annotated[Path | None, typer.Option(help="With --conditional: a table, .parquet or .csv.")] = None,
) -> None:
    """Measure molecules of any origin: published and strict protocol, plausibility, geometry, chemistry, cost."""
    from ead_core.cli.judge import judge_file
    from ead_core.cli.tables import check_table
    from ead_core.common.files import check_writable, write_aside
    from ead_core.data.formats import read_molecules
    from ead_core.evaluation.evaluate import check_parts, evaluate_files
    from ead_core.evaluation.frechet import MOST
    from ead_core.evaluation.reference import load_known, load_reference
    from ead_core.evaluation.run import EvaluationPlan, count_records, parse_parts

    if json_out:
        if json_out.resolve() in [file.resolve() for file in files]:
            raise ConfigError(f"cannot write {json_out}: --json must name another file than the molecules.")
        check_writable(json_out)
    if conditional and len(files) > 1:
        raise ConfigError("--conditional judges one file at a time.")
    if verdicts and not conditional:
        raise ConfigError("--verdicts needs --conditional, which judges the molecules.")
    check_table(verdicts, "molecules")
    plan = EvaluationPlan(parse_parts(parts) if parts else DEFAULT_PARTS, num, workers, seconds)
    check_parts(plan.parts)
    with progress_bar("measuring the reference") as progress:
        real = load_reference(reference, workers, progress, plan.parts) if reference else None
    with progress_bar("measuring the training set") as progress:
        known = load_known(train, workers, progress) if train else None
    judged = judge_file(read_molecules(files[0]).molecules, judge, verdicts) if conditional else None
    total = count_records(files)
    steps = total + (min(total, MOST) if "fcd" in plan.parts else 0)
    with tempfile.TemporaryDirectory() as scratch, progress_bar("measuring", steps) as progress:
        folder, report = out or Path(scratch), out is not None
        try:
            card = evaluate_files(files, folder, plan, real, known, report=report, progress=progress, total=total)
        except KeyboardInterrupt:
            if out:
                typer.echo(f"interrupted; the same command goes on with what is in {out}", err=True)
            raise
    shown, figures = [card.table()], card.to_json()
    if judged:
        table, figures["conditional"] = judged
        shown.append(table)
    if json_out:
        with write_aside(json_out) as aside:
            aside.write_text(json.dumps(figures, indent=1) + "\n")
    typer.echo("\n\n".join(shown))
    if out:
        typer.echo(f"card → {out}", err=True)
