"""Whether the judge is right on generated molecules: GFN2-xTB as a second, independent opinion.

    python benchmarks/judge_xtb.py qm9-deep --data qm9.npz

Homo, lumo, gap and mu of held-out molecules of QM9 and of generated ones, some of them also relaxed; of molecules that
a selector has chosen for a property, which is the hardest case; and of held-out molecules whose atoms were moved at
random, for which the judge must be seen to get worse. Molecules and what GFN2-xTB says of each are kept in the work
folder, so that the command can be stopped at any time and goes on where it was. Needs the extra `xtb`.
"""

from pathlib import Path
from typing import Annotated

import typer
from judge_xtb_molecules import chosen, distorted, generated, kept_molecules, measured, real
from judge_xtb_report import calibrated, disagreement, draw, factors, moved, ranks, reached, spreads
from judge_xtb_study import Study, rows_of

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.cli.tables import check_table, write_table
from ead_core.common.cpu import tune_cpu
from ead_core.data.dataset import resolve_data_path
from ead_core.data.store import load_npz
from ead_core.errors import report_user_errors
from ead_core.evaluation.gfn2 import check_gfn2
from ead_core.prediction.calibration import save_calibration
from ead_core.prediction.judge import load_judge

RELAXED = ("real", "generated")


def main(  # noqa: PLR0913
    checkpoint: Annotated[str, typer.Argument(help="Whose molecules, a name or a folder.")] = "qm9-deep",
    *,
    data: Annotated[Path, typer.Option(help="QM9 in the canonical store.")],
    conditional: Annotated[str, typer.Option(help="Who makes the molecules to choose from.")] = "qm9-small-cond",
    judge: Annotated[str, typer.Option(help="Name or folder.")] = "qm9-judge",
    selector: Annotated[str, typer.Option(help="Name or folder.")] = "qm9-selector",
    num: Annotated[int, typer.Option(min=8, help="Molecules of each origin.")] = 200,
    choose: Annotated[int, typer.Option(min=8, help="Molecules to be chosen, a quarter for each property.")] = 200,
    relaxed: Annotated[int, typer.Option(min=2, help="How many of these are relaxed at most.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise.")] = 0,
    work: Annotated[Path, typer.Option(help="Keeps molecules and rows.")] = Path("runs/judge-xtb"),
    out: Annotated[Path | None, typer.Option(help="A row per molecule: .parquet or .csv.")] = None,
    calibrate: Annotated[list[Path] | None, typer.Option(help="Folders of the predictors, to store factors.")] = None,
    picture: Annotated[Path | None, typer.Option(help="A panel per property: .png.")] = None,
) -> None:
    """Compute what is missing, then print the tables."""
    check_gfn2()
    check_table(out, "molecules")
    tune_cpu(1)
    model, asked = load_checkpoint(checkpoint), load_checkpoint(conditional)
    judging, choosing = load_judge(judge), load_judge(selector)
    prints = (model.fingerprint(), asked.fingerprint(), judging.fingerprint, choosing.fingerprint)
    folder = work / f"{'-'.join(each[:8] for each in prints)}-{num}-{choose}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    origins = real(load_npz(resolve_data_path(str(data))), judging, num, seed)
    origins["distorted"] = distorted(origins["real"], seed)
    origins["generated"] = kept_molecules(folder / "generated.npz", lambda: generated(model, num, seed))
    origins["chosen"] = kept_molecules(folder / "chosen.npz", lambda: chosen(asked, choosing, choose // 4, seed))
    groups = {name: measured(some, name, folder, relaxed if name in RELAXED else 0) for name, some in origins.items()}
    study = Study(groups, {each.name: each for each in (judging, choosing)})
    typer.echo(", ".join(f"{len(group.molecules):,} {name}" for name, group in groups.items()))
    tables = [ranks(study, judging.name), moved(study, judging.name), spreads(study), factors(study)]
    tables += [both(study, choosing.name, judging.name) for both in (disagreement, reached)]
    typer.echo("\n" + "\n\n".join(tables))
    if out:
        write_table(rows_of(study), out)
    for into in calibrate or []:
        weights, origin = load_judge(into).fingerprint, f"GFN2-xTB at its minima, {relaxed} molecules of {model.name}"
        (name,) = (name for name, each in study.predictors.items() if each.fingerprint == weights)
        save_calibration(into, calibrated(study, name, origin), weights)
    if picture:
        draw(study, judging.name, picture)


if __name__ == "__main__":
    with report_user_errors("judge_xtb"):
        typer.run(main)
