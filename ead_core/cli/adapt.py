"""`ead adapt`: molecules of one's own in, a model of molecules like them out."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ead_core.cli.console import TrainingBar, counting_bar, progress_bar
from ead_core.cli.train import LOG, logged

if TYPE_CHECKING:
    from ead_core.checkpoints.checkpoint import Checkpoint
    from ead_core.config import Config
    from ead_core.training.adaptation import Material, Order
    from ead_core.training.session import Session

MINE = "SMILES in .smi, .csv or .tsv, or 3D structures in any format of `ead data prepare`."
COMPANIONS = "Real molecules like them to learn beside them; 4 for each, at most 2,000, if not given; 0 for none."
WORKERS = "Processes for all but the training (training.threads); all cores by default."
INTERRUPTED = 130  # exit code


def adapt(
    mine: Annotated[Path, typer.Argument(metavar="MINE", help=MINE)],
    overrides: Annotated[list[str] | None, typer.Argument(help="training.KEY=VALUE …")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the model and its card; what is there is gone on with.")] = Path(
        "runs/adapt"
    ),
    checkpoint: Annotated[str, typer.Option(help="The model to begin with: a bundled name or a folder.")] = "qm9-deep",
    companions: Annotated[int | None, typer.Option(min=0, help=COMPANIONS)] = None,
    num: Annotated[int, typer.Option(min=2, help="Molecules of each model on the card.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal models on the same machine.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes, but not of training; all cores by default.")
    ] = None,
) -> None:
    """Make a model of molecules like yours. Ctrl-C saves and stops; the same command resumes."""
    from ead_core.checkpoints.checkpoint import find_checkpoint, load_checkpoint
    from ead_core.common.cpu import available_cores, tune_cpu
    from ead_core.training.adaptation import MODEL, Order, beside_companions, finished, gather, keep_presets
    from ead_core.training.cores import own_threads

    workers = workers or available_cores()
    place = find_checkpoint(checkpoint)
    order = Order(mine, str(place.resolve()) if Path(checkpoint).is_dir() else checkpoint, companions, seed)
    _recipe(order, 1, (), overrides)  # what is wrong with it is said before anything else
    with counting_bar("your molecules") as done:
        mine_in_3d = gather(order, out, workers, done)
    with counting_bar("companions") as done:
        material = beside_companions(order, mine_in_3d, out, workers, done)
    session = material.session(order)
    config = _recipe(order, len(material.mine), session.statistics.atom_numbers, overrides)
    tune_cpu(own_threads(config.training))
    elements = ", ".join(session.atom_types.symbols)
    typer.echo(
        f"{len(material.mine):,} molecules of {elements}, {len(material.companions):,} companions → {out}", err=True
    )
    if not finished(out / MODEL, config):
        _train(config, session, out / MODEL)
    if not finished(out / MODEL, config):
        typer.echo(f"stopped; the same command goes on with what is in {out}.", err=True)
        raise typer.Exit(INTERRUPTED)
    keep_presets(place, out / MODEL)
    _compare(load_checkpoint(order.base), material, session, out, num, workers)


def _recipe(order: "Order", count: int, elements: Collection[int], overrides: list[str] | None) -> "Config":
    from ead_core.checkpoints.checkpoint import load_checkpoint
    from ead_core.config import parse_overrides
    from ead_core.training.adaptation import recipe_for

    changes = parse_overrides(overrides or [])
    config = recipe_for(load_checkpoint(order.base), order, count, elements).override(changes)
    config.refuse_idle(changes)
    return config


def _train(config: "Config", session: "Session", model: Path) -> None:
    from ead_core.training.cores import fit_on_cores

    with TrainingBar(config.training.steps) as bar:
        fit_on_cores(config, session, model, logged(bar, model / LOG))


def _compare(base: "Checkpoint", material: "Material", session: "Session", out: Path, num: int, workers: int) -> None:
    """Measure molecules of both models, write the page, and show what matters most."""
    from ead_core.checkpoints.checkpoint import load_checkpoint
    from ead_core.data.store import load_npz
    from ead_core.training.adaptation import MODEL
    from ead_core.training.adapted_card import PAGE, Comparison, made_of, write_card
    from ead_core.training.best import load_best
    from ead_core.training.progress import steps_done

    adapted, steps = load_checkpoint(out / MODEL), steps_done(out / MODEL)
    best = load_best(out / MODEL, adapted.config.training, steps).step or steps
    comparison = Comparison.of(out, material, num, workers)
    cards = []
    for role, model in {"base": base, "adapted": adapted}.items():
        with progress_bar(f"{role} model", num) as done:
            path = comparison.made(model, role, num, workers, done)
        with progress_bar(f"measuring the {role} model", num) as done:
            cards.append(comparison.measured(path, workers, done))
    told = made_of(material, len(session.valid), steps, best)
    typer.echo(write_card(out, *cards, load_npz(path), [f"Base model: {base.name}.", *told]))
    typer.echo(f"card → {out / PAGE}; more molecules: ead sample {out / MODEL} --num 100 --out new.sdf", err=True)
