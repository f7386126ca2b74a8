"""Is bf16 as good as fp32? The same molecules in both precisions, and the paired difference of their quality.

    python benchmarks/precision.py --num 4000 --threads 1 [--edges compiled]

Both make the molecules of equal seeds and ids from the same noise. In bf16 the edges are computed by PyTorch, so that
everything is rounded as on a GPU, or by the compiled operation, which rounds on CPUs with matrix tiles. A finished
chunk is a file in the work folder: the command can be stopped at any time and goes on where it was. bf16 is
non-inferior if the 95 % intervals of both differences lie above the margin.
"""

import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from kept import kept

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.intervals import paired_difference, wilson
from ead_core.errors import ConfigError, report_user_errors
from ead_core.evaluation.published import evaluate_published
from ead_core.networks.native.library import VARIABLE
from ead_core.sampling.generation import sample

CHUNK = 200  # molecules; both precisions of one are made in turn, so that they see the same load
PRECISIONS = ("fp32", "bf16")
EDGES = {"torch": "torch", "compiled": "native"}
ROWS: dict[str, dict[str, Any]] = {
    "few": {"policy": "synchronous", "steps": 50, "grid": "quadratic", "solver": "dpmpp_2m_sde"},
    "default": {},
}
MEASURES = {"molecule_stability": "stable", "validity": "valid"}


def make(model: Checkpoint, row: str, precision: str, first: int, seed: int) -> dict[str, list[Any]]:
    """A chunk: per molecule whether it is stable and valid, network calls and seconds."""
    with progress_bar(f"{row} {precision} {first}", CHUNK) as progress:
        molecules = sample(model, CHUNK, seed, first=first, progress=progress, precision=precision, **ROWS[row])
    columns = evaluate_published(molecules).columns
    cost = {name: molecules.properties[name].tolist() for name in ("nfe", "seconds")}
    return {"stable": columns.flags("stable").tolist(), "valid": columns.flags("valid").tolist(), **cost}


def chunk(folder: Path, model: Checkpoint, row: str, precision: str, first: int, seed: int) -> dict[str, list[Any]]:
    """A chunk from its file, which is made if there is none."""
    path = folder / f"{row}-{precision}-{first}.json"
    read: dict[str, list[Any]] = kept(path, partial(make, model, row, precision, first, seed))
    return read


def report(fp32: dict[str, list[Any]], bf16: dict[str, list[Any]], margin: float) -> str:
    """Shares, paired differences in points with intervals, McNemar's p, cost, and the verdict."""
    lines, low = [f"{len(fp32['stable'])} molecules in both precisions"], 1.0
    for name, key in MEASURES.items():
        a, b = (np.array(run[key], dtype=bool) for run in (fp32, bf16))
        paired = paired_difference(a, b)
        low = min(low, paired.interval[0])
        lines.append(
            f"{name}: fp32 {_share(a)}, bf16 {_share(b)}, difference {100 * paired.difference:+.2f} "
            f"({100 * paired.interval[0]:+.2f} to {100 * paired.interval[1]:+.2f}) points; "
            f"only fp32 {paired.only_a}, only bf16 {paired.only_b}, p = {paired.p_value:.2g}"
        )
    for name in ("nfe", "seconds"):
        lines.append(f"{name} per molecule: fp32 {np.mean(fp32[name]):.3f}, bf16 {np.mean(bf16[name]):.3f}")
    verdict = "is non-inferior" if low > -margin / 100 else "has not been shown to be non-inferior"
    return "\n".join([*lines, f"bf16 {verdict} with a margin of {margin:g} points."])


def _share(success: np.ndarray) -> str:
    low, high = wilson(int(success.sum()), len(success))
    return f"{100 * success.mean():.1f} % ({100 * low:.1f}–{100 * high:.1f})"


def main(  # noqa: PLR0913, PLR0917
    checkpoint: Annotated[str, typer.Argument(help="Name or folder.")] = "qm9-small",
    row: Annotated[str, typer.Option(help=f"Settings: {' or '.join(ROWS)}, the checkpoint's own.")] = "few",
    num: Annotated[int, typer.Option(min=CHUNK, help=f"Molecules, in chunks of {CHUNK}.")] = 4000,
    seed: Annotated[int, typer.Option(help="Key of all noise.")] = 0,
    margin: Annotated[float, typer.Option(min=0, help="Points that bf16 may be worse.")] = 2.0,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch.")] = None,
    edges: Annotated[str, typer.Option(help=f"Who computes them in bf16: {' or '.join(EDGES)}.")] = "torch",
    work: Annotated[Path, typer.Option(help="Keeps a file per finished chunk.")] = Path("runs/precision"),
) -> None:
    """Make the missing chunks and print the comparison of all there are so far after each."""
    tune_cpu(threads)
    model = load_checkpoint(checkpoint)
    if edges not in EDGES:
        raise ConfigError(f"--edges must be one of {', '.join(EDGES)}, not {edges!r}.")
    folder = work / f"{model.fingerprint()}-{seed}-{edges}"
    runs: dict[str, dict[str, list[Any]]] = {precision: {} for precision in PRECISIONS}
    for first in range(0, num - num % CHUNK, CHUNK):
        for precision, run in runs.items():
            os.environ[VARIABLE] = EDGES[edges] if precision == "bf16" else "auto"
            for key, values in chunk(folder, model, row, precision, first, seed).items():
                run.setdefault(key, []).extend(values)
        typer.echo(f"{row}, after {first + CHUNK}: {report(runs['fp32'], runs['bf16'], margin)}\n")


if __name__ == "__main__":
    with report_user_errors("precision"):
        typer.run(main)
