"""What a molecule costs against its number of atoms: seconds per network call, and memory planned and measured.

    python benchmarks/molecule_size.py [--data drug_conformers.npz] [--rounds 3]

Seconds are of whole sampling steps in the engine, memory budget 2 GiB, molecules of exactly N atoms, with as many of
them as keep a step short (at most 64). Networks, sizes and edge kernels take turns; the fastest of the rounds counts,
since other work on the machine can only add.
Peak memory is that of a fresh process per point, whose calls are filled to half a GiB.
"""

import json
import os
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from molecule_size_report import draw, summary, table
from molecule_size_worker import RECIPES, engine_of, untrained

from ead_core.common.cpu import tune_cpu
from ead_core.data.dataset import resolve_data_path
from ead_core.data.formats import read_molecules
from ead_core.errors import report_user_errors
from ead_core.networks.memory import molecules_per_call
from ead_core.networks.native.library import VARIABLE
from ead_core.pictures.molecules import check_picture
from ead_core.sampling.engine import Engine

SIZES = (10, 20, 30, 50, 75, 100, 130, 180)
PEAK_SIZES = (10, 30, 100, 180)
KERNELS = ("native", "torch")
PAIRS, SHORTEST = 40_000, 0.1  # ordered pairs in a step, if two molecules have no more; seconds of a measurement
BUDGET, PEAK_BUDGET = 2.0, 0.5


def timings(rounds: int) -> list[dict]:
    """A row per network, kernel and size."""
    rows, engines = [], {}
    for kind in RECIPES:
        checkpoint = untrained(kind)
        for atoms in SIZES:
            num = max(2, min(64, PAIRS // atoms**2))
            engines[kind, atoms] = engine_of(checkpoint, atoms, num, budget=BUDGET), num
            most = molecules_per_call(checkpoint.denoiser, atoms, BUDGET)
            rows += [{"kind": kind, "kernel": kernel, "atoms": atoms, "most": most} for kernel in KERNELS]
    turns: dict[tuple, list[float]] = {}
    for number, key, kernel in product(range(rounds + 1), engines, KERNELS):
        os.environ[VARIABLE] = kernel
        seconds = seconds_per_molecule(*engines[key])
        if number:  # the first round warms up
            turns.setdefault((*key, kernel), []).append(seconds)
    return [{**row, "seconds": min(turns[row["kind"], row["atoms"], row["kernel"]])} for row in rows]


def seconds_per_molecule(engine: Engine, num: int) -> float:
    """Of one network call with all that belongs to it."""
    start, steps = time.perf_counter(), 0
    while not steps or time.perf_counter() - start < SHORTEST:
        engine.step()
        steps += 1
    return (time.perf_counter() - start) / (steps * num)


def peaks() -> list[dict]:
    """A row per network, kernel and a few sizes."""
    worker, rows = Path(__file__).with_name("molecule_size_worker.py"), []
    for kind, kernel, atoms in product(RECIPES, KERNELS, PEAK_SIZES):
        command = [sys.executable, str(worker), kind, str(atoms), str(PEAK_BUDGET)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, VARIABLE: kernel}
        )
        rows.append({"kind": kind, "kernel": kernel, "atoms": atoms, **json.loads(done.stdout)})
    return rows


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Measurements per point.")] = 3,
    data: Annotated[str | None, typer.Option(help="Molecules whose sizes to weigh the cost with.")] = None,
    picture: Annotated[Path, typer.Option(help="Where to draw.")] = Path("docs/results/molecule-size.png"),
) -> None:
    """Print the tables and draw the picture."""
    check_picture(picture)
    counts = read_molecules(resolve_data_path(data)).molecules.num_atoms if data else np.array([], int)
    tune_cpu()
    rows, memory = timings(rounds), peaks()
    typer.echo(table(rows, "seconds", lambda row: f"{1000 * row['seconds']:.3g} ms"))
    typer.echo(table(rows, "molecules per call", lambda row: f"{row['most']}", kernels=("native",)))
    typer.echo(
        table(memory, "MiB: planned / measured", lambda r: f"{r['planned'] / 2**20:.2f} / {r['measured'] / 2**20:.2f}")
    )
    typer.echo(f"largest share of the budget: {max(row['share'] for row in memory):.2f}\n")
    typer.echo(summary(rows, counts))
    draw(rows, memory, picture)


if __name__ == "__main__":
    with report_user_errors("molecule_size"):
        typer.run(main)
