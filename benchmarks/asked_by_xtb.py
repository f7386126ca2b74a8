"""Whether molecules that were asked for a property have it by GFN2-xTB as well, which has learnt from no label of QM9.

    ead sample qm9-cond --preset fast --target gap=1700:10760 --num 500 --out pulled.npz
    python benchmarks/asked_by_xtb.py pulled.npz told.npz --num 200

GFN2-xTB is another method than the labels', so only ranks are compared: those of the wishes with what the judge finds,
and with what GFN2-xTB finds in the same molecules, as they are. Molecules whose electrons cannot pair are left out.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from judge_xtb_molecules import single_point
from judge_xtb_statistics import rank_correlation, resampled

from ead_core.cli.console import progress_bar
from ead_core.common.markdown import table
from ead_core.data.electrons import even_electrons
from ead_core.data.formats import read_molecules
from ead_core.errors import report_user_errors
from ead_core.evaluation.gfn2 import check_gfn2
from ead_core.judge.verdict import judged
from ead_core.prediction.judge import Judge, load_judge

TITLES = ["molecules", "asked for", "number", "rank correlation with the judge", "with GFN2-xTB"]
KNOWN = ("homo", "lumo", "gap", "mu")


def row(path: Path, judge: Judge, num: int) -> list[str]:
    """The figures of a file, of its first usable molecules with an even number of electrons."""
    molecules = read_molecules(path).molecules
    molecules = molecules.select(np.flatnonzero(even_electrons(molecules))[:num])
    verdict = next(each for each in judged(molecules, judge) if each.name in KNOWN)
    found = []
    with progress_bar(path.name, len(molecules)) as progress:
        for molecule in molecules:
            found.append(single_point(molecule.charges, molecule.positions).get(verdict.name, np.nan))
            progress(1)
    by_xtb = np.array(found, dtype=np.float64)
    told = np.isfinite(by_xtb)
    cells = []
    for values in (verdict.achieved, by_xtb):
        pairs = np.stack([verdict.asked, values], axis=1)[told]
        low, high = resampled(rank_correlation, pairs)
        cells.append(f"{rank_correlation(pairs):.2f} ({low:.2f}–{high:.2f})")
    return [path.stem, verdict.name, str(int(told.sum())), *cells]


def main(
    files: Annotated[list[Path], typer.Argument(help="Molecules with targets, as sampled.")],
    judge: Annotated[str, typer.Option(help="Name or folder.")] = "qm9-judge",
    num: Annotated[int, typer.Option(min=3, help="Molecules of each file.")] = 200,
) -> None:
    """Print a line per file."""
    check_gfn2()
    judging = load_judge(judge)
    typer.echo(table([TITLES, *(row(path, judging, num) for path in files)]))


if __name__ == "__main__":
    with report_user_errors("asked_by_xtb"):
        typer.run(main)
