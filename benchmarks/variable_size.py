"""Sizes: does a model that decides them follow the data, and what do models make of rare and absent sizes?

    python benchmarks/variable_size.py runs/qm9-variable qm9-small --num 2000 --rare 300

The first table compares the number of atoms of generated molecules with the training histogram. The second has the form
of the EAD paper's experiment on rare sizes: uniqueness of molecules of the largest sizes, and of one beyond, at equal
numbers; a model that decides sizes is represented by what it made of them by itself.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.intervals import distinct_shares
from ead_core.data.store import MoleculeSet
from ead_core.errors import report_user_errors
from ead_core.evaluation.card import Card
from ead_core.evaluation.published import evaluate_published
from ead_core.pictures.figures import new_figure, write_figure
from ead_core.pictures.molecules import check_picture
from ead_core.sampling.generation import sample

RARE = 3  # of the largest sizes, and one beyond
ENOUGH = 30  # valid molecules that a row needs to be compared by uniqueness


def generated(model: Checkpoint, num: int, policy: str, sizes: tuple[int, ...] | None = None) -> MoleculeSet:
    with progress_bar(f"{model.name}, {policy}, sizes {sizes or 'its own'}", num) as progress:
        return sample(model, num, sizes=sizes, progress=progress, policy=policy)


def shares(num_atoms: NDArray[np.int64], largest: int) -> NDArray[np.float64]:
    """[largest + 1] share of the molecules of each size."""
    return np.bincount(num_atoms, minlength=largest + 1) / len(num_atoms)


def of_training(model: Checkpoint, largest: int) -> NDArray[np.float64]:
    histogram = np.zeros(largest + 1)
    sizes, probabilities = model.statistics.size_distribution()
    histogram[sizes] = probabilities
    return histogram


def by_chance(expected: NDArray[np.float64], num: int) -> float:
    """Mean total variation distance of `num` draws from the histogram to the histogram itself."""
    draws = np.random.default_rng(0).multinomial(num, expected, size=200) / num
    return float(np.abs(draws - expected).sum(axis=1).mean() / 2)


def cells(card: Card, *names: str) -> list[str]:
    return [card.figure(name).percent() for name in names]


def line(*values: object) -> None:
    print(f"| {' | '.join(map(str, values))} |", flush=True)


def histogram_table(models: list[Checkpoint], num: int, picture: Path) -> dict[str, MoleculeSet]:
    """Print it, draw the histograms, and return the molecules of models that decide sizes themselves."""
    made = {model.name: generated(model, num, "adaptive") for model in models}
    largest = max(*models[0].statistics.sizes, *(int(molecules.num_atoms.max()) for molecules in made.values()))
    expected = of_training(models[0], largest)
    columns = {"training": expected} | {name: shares(m.num_atoms, largest) for name, m in made.items()}
    line("model", "mean size", "distance to training", "by chance", "atoms stable %", "molecules stable %", "valid %")
    print("|---" * 7 + "|")
    line("training", f"{(expected * np.arange(largest + 1)).sum():.2f}", "", "", "", "", "")
    for name, molecules in made.items():
        distance = f"{np.abs(columns[name] - expected).sum() / 2:.3f}"
        quality = cells(evaluate_published(molecules).card, "atom_stability", "molecule_stability", "validity")
        line(name, f"{molecules.num_atoms.mean():.2f}", distance, f"{by_chance(expected, num):.3f}", *quality)
    draw(columns, picture)
    return {model.name: made[model.name] for model in models if model.atom_types.has_dummies}


def rare_table(models: list[Checkpoint], own: dict[str, MoleculeSet], num: int) -> None:
    """Uniqueness of rare sizes, at the number of valid molecules that the row with fewest, but enough, has."""
    largest = max(models[0].statistics.sizes)
    print()
    line("atoms", "share of training %", "model", "schedule", "molecules", "valid %", "unique among equally many %")
    print("|---" * 7 + "|")
    for size in range(largest - RARE + 1, largest + 2):
        rows = {(name, "its own sizes"): m.select(np.flatnonzero(m.num_atoms == size)) for name, m in own.items()}
        for model in models:
            if not model.atom_types.has_dummies:
                for policy in ("synchronous", "adaptive"):
                    rows[model.name, policy] = generated(model, num, policy, (size,))
        found = {key: evaluate_published(molecules) for key, molecules in rows.items() if len(molecules)}
        valid = {key: [text for text in one.columns.texts("published_smiles") if text] for key, one in found.items()}
        equal = min((len(texts) for texts in valid.values() if len(texts) >= ENOUGH), default=0)
        for key, one in found.items():
            enough = len(valid[key]) >= ENOUGH
            seen = f"{100 * distinct_shares(valid[key], equal).mean():.1f} (of {equal})" if enough else "too few"
            share = 100 * models[0].statistics.sizes.get(size, 0) / models[0].statistics.num_molecules
            line(size, f"{share:.3f}", *key, one.card.attempts, *cells(one.card, "validity"), seen)


def draw(columns: dict[str, NDArray[np.float64]], path: Path) -> None:
    figure = new_figure(9, 4.5)
    axes = figure.subplots()
    for number, (name, values) in enumerate(columns.items()):
        width = 0.8 / len(columns)
        axes.bar(np.arange(len(values)) + (number - (len(columns) - 1) / 2) * width, 100 * values, width, label=name)
    axes.set(xlabel="atoms", ylabel="% of the molecules", title="Sizes of generated molecules and of training")
    axes.legend(frameon=False)
    write_figure(figure, path)


def main(
    checkpoints: Annotated[list[str], typer.Argument(help="Names or folders, trained on the same data.")],
    num: Annotated[int, typer.Option(min=1, help="Molecules for the histograms.")] = 2000,
    rare: Annotated[int, typer.Option(min=1, help="Molecules per rare size.")] = 300,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch.")] = None,
    picture: Annotated[Path, typer.Option(help="Where to draw.")] = Path("docs/results/variable-size.png"),
) -> None:
    """Print both tables."""
    check_picture(picture)
    tune_cpu(threads)
    models = [load_checkpoint(name) for name in checkpoints]
    rare_table(models, histogram_table(models, num, picture), rare)


if __name__ == "__main__":
    with report_user_errors("variable_size"):
        typer.run(main)
