"""How often molecules have the formula that they are asked for, how good they are, and at how many network calls.

    python benchmarks/formula.py qm9-deep --data qm9.npz

Formulas are those of molecules that the checkpoint has not learnt from (the test set), drawn with their frequency, the
same ones for every row. Rows without the formula are given its number of atoms, so that they tell what chance does.
Molecules are measured like by `ead evaluate`, beside the real molecules of the formulas; all that are asked for count.
The molecules of a finished row are a file in the work folder, so the command goes on where it was.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.intervals import wilson
from ead_core.common.markdown import table
from ead_core.data.dataset import resolve_data_path, split_indices
from ead_core.data.formats import read_molecules
from ead_core.data.properties import count_atoms, count_name, counted_element
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.data.targets import Targets
from ead_core.errors import report_user_errors
from ead_core.evaluation.evaluate import evaluate
from ead_core.evaluation.run import EvaluationPlan
from ead_core.judge.selection import best_of
from ead_core.sampling.generation import fulfil
from ead_core.sampling.requests import Request, sampler_config

PLAIN = {"policy": "synchronous", "solver": "dpmpp_2m_sde", "grid": "quadratic", "steps": 50}
FORMULA, CPU = "formula", "cpu_seconds"  # the share with the formula; a molecule's share of this process's time
COSTS = ("nfe", CPU)
SHARES = {
    FORMULA: "formula %",
    "molecule_stability": "stable %",
    "validity": "valid %",
    "validity_x_uniqueness": "V×U %",
    "strict_validity": "strictly valid %",
}
NUMBERS = {  # title and format; distances are from QM9
    "w1_bond": ("bonds Å", ".4f"),
    "w1_angle": ("angles °", ".2f"),
    "nfe": ("network calls", ".0f"),
    CPU: ("CPU s", ".2f"),
}


class Row(NamedTuple):
    """How the molecules are made.

    Attributes:
        title: in the table.
        settings: of the sampler.
        preset: see `sampler_config`.
        candidates: made of each, of which one is kept.
        sizes_only: ask for the number of atoms and not for the formula.
    """

    title: str
    settings: Mapping[str, Any] = {}
    preset: str | None = None
    candidates: int = 1
    sizes_only: bool = False


ROWS = {
    "chance": Row("of the right size, 50 steps", PLAIN, sizes_only=True),
    "chance-fast": Row("of the right size, preset fast", preset="fast", sizes_only=True),
    "told": Row("told, 50 steps", {**PLAIN, "composition": "told"}),
    "told-8": Row("told, the best of eight", {**PLAIN, "composition": "told"}, candidates=8),
    "restarts": Row("restarts alone, preset fast", {"formula_guidance": 0}, "fast"),
    "fast": Row("**exact, preset fast**", preset="fast"),
    "fast-10": Row("exact, preset fast, up to ten restarts", {"formula_restarts": 10}, "fast"),
    "plain": Row("exact, 50 steps", PLAIN),
    "balanced": Row("exact, preset balanced", preset="balanced"),
}


def held_out(model: Checkpoint, path: Path, formulas: int) -> MoleculeSet:
    """Real molecules of the test set, of the model's elements, in an order by chance that never changes."""
    data, known = read_molecules(path).molecules, set(model.statistics.atom_numbers)
    test = np.random.default_rng(0).permutation(split_indices(data, "auto", 0).test)
    return data.select([place for place in test.tolist() if known.issuperset(data[place].charges.tolist())][:formulas])


def wished(model: Checkpoint, real: MoleculeSet) -> Targets:
    """A row with the formula of each molecule."""
    numbers = model.statistics.atom_numbers
    counts = np.stack([count_atoms(real, number) for number in numbers], axis=1).tolist()
    rows = tuple(tuple((count, count) for count in row) for row in counts)
    return Targets(tuple(map(count_name, numbers)), rows)


def made(model: Checkpoint, row: Row, real: MoleculeSet, num: int, seed: int) -> MoleculeSet:
    """The molecules of a row."""
    config, targets = sampler_config(model, row.settings, row.preset), wished(model, real)
    sizes = tuple(real.num_atoms.tolist()) if row.sizes_only else None
    request = Request(num, config, seed, sizes=sizes, targets=None if row.sizes_only else targets)
    begun = time.process_time()
    with progress_bar(row.title, num * row.candidates) as progress:
        molecules = fulfil(model, request.each(row.candidates), progress)
    if row.candidates > 1:
        molecules = best_of(molecules, row.candidates, None)
    share = np.full(num, (time.process_time() - begun) / num)
    return replace(molecules, properties={**molecules.properties, CPU: share})


def figures(molecules: MoleculeSet) -> dict[str, Any]:
    """What is said of any molecules."""
    measured = evaluate(molecules, "qm9", plan=EvaluationPlan(("geometry",), workers=1)).figures()
    return {name: (figure.value, figure.interval) for _, name, figure in measured}


def of_row(molecules: MoleculeSet, asked: Targets) -> dict[str, Any]:
    """What is said of generated ones, with the share of those that have the formula, and the cost."""
    wanted = asked.arrays[0][np.arange(len(molecules)) % len(asked.rows)]
    counts = [count_atoms(molecules, number) for number in map(counted_element, asked.names) if number]
    hits = int((np.stack(counts, axis=1) == wanted).all(axis=1).sum())
    share = hits / len(molecules), wilson(hits, len(molecules))
    cost = {name: (float(np.asarray(molecules.properties[name]).mean()), None) for name in COSTS}
    return {**figures(molecules), FORMULA: share, **cost}


def as_table(rows: list[tuple[str, dict[str, Any]]]) -> str:
    """Markdown, shares with 95 % intervals."""
    lines = [["molecules", *SHARES.values(), *(title for title, _ in NUMBERS.values())]]
    for title, found in rows:
        shares = [_share(*found[name]) if name in found else "" for name in SHARES]
        numbers = [f"{found[name][0]:{form}}" if name in found else "" for name, (_, form) in NUMBERS.items()]
        lines.append([title, *shares, *numbers])
    return table(lines)


def _share(value: float, interval: tuple[float, float] | None) -> str:
    around = f" ({100 * interval[0]:.0f}–{100 * interval[1]:.0f})" if interval else ""
    return f"{100 * value:.1f}{around}"


def main(
    checkpoint: Annotated[str, typer.Argument(help="Name or folder.")] = "qm9-deep",
    *,
    data: Annotated[Path, typer.Option(help="Where the formulas come from, e.g. qm9.npz.")],
    only: Annotated[list[str] | None, typer.Option(help=f"Rows, of {', '.join(ROWS)}; all if not given.")] = None,
    num: Annotated[int, typer.Option(min=2, help="Molecules per row.")] = 300,
    formulas: Annotated[int, typer.Option(min=1, help="Formulas, each for num / formulas molecules.")] = 30,
    seed: Annotated[int, typer.Option(help="Key of all noise.")] = 0,
    work: Annotated[Path, typer.Option(help="Keeps the molecules of each row.")] = Path("runs/formula"),
) -> None:
    """Measure the missing rows, then print the table."""
    tune_cpu(1)
    model = load_checkpoint(checkpoint)
    real = held_out(model, resolve_data_path(str(data)), max(formulas, num))
    asked, folder = real.select(list(range(formulas))), work / f"{model.fingerprint()}-{num}-{formulas}-{seed}"
    wanted, done = wished(model, asked), []
    for key in only or ROWS:
        row, path = ROWS[key], folder / f"{key}.npz"
        if not path.is_file():
            save_npz(made(model, row, asked, num, seed), path)
        done.append((row.title, of_row(load_npz(path), wanted)))
    done.append(("real ones of the test set", figures(real.select(list(range(num))))))
    typer.echo(as_table(done))
    typer.echo(f"\n{model.name}: {num} molecules a row, {formulas} formulas.")


if __name__ == "__main__":
    with report_user_errors("formula"):
        typer.run(main)
