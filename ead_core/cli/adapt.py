"""`ead adapt`: molecules of one's own in, a model of molecules like them out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ead_core.cli.console import TrainingBar, counting_bar, progress_bar
from ead_core.cli.train import LOG, logged

if TYPE_CHECKING:
    from ead_core.checkpoints.checkpoint import Checkpoint
    from ead_core.config import Config
    from ead_core.training.adaptation import Material
    from ead_core.training.session import Session

MINE = "SMILES in .smi, .csv or .tsv, or 3D structures in any format of `ead data prepare`."
COMPANIONS = "Real molecules like them to learn beside them; 4 for each, at most 2,000, if not given; 0 for none."
WORKERS = "Processes for all but the training (training.threads); all cores by default."
INTERRUPTED = 130  # exit code


def adapt(
    mine: Annotated[Path, typer.Argument(metavar="MINE", help=MINE)],
    overrides: Annotated[list[str] | None, typer.Argument(help="training.KEY=VALUE …")] = None,
    out: Annotated[Path, typer.Option(help="Folder; what is there is gone on with.")] = Path("runs/adapt"),
    checkpoint: Annotated[str | None, typer.Option(help="What to begin with; qm9-deep if not given.")] = None,
    companions: Annotated[int | None, typer.Option(min=0, help=COMPANIONS)] = None,
    num: Annotated[int, typer.Option(min=2, help="Molecules of each model on the card.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal models on the same machine.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help=WORKERS)] = None,
) -> None:
    """Make a model of molecules like yours. Ctrl-C saves and stops; the same command resumes."""
    from ead_core.checkpoints.checkpoint import find_checkpoint, load_checkpoint
    from ead_core.common.cpu import available_cores, tune_cpu
    from ead_core.config import parse_overrides
    from ead_core.training.adaptation import (
        BASE,
        MODEL,
        Order,
        beside_companions,
        finished,
        gather,
        keep_presets,
        recipe_for,
    )
    from ead_core.training.cores import own_threads

    workers, changes = workers or available_cores(), parse_overrides(overrides or [])
    place = find_checkpoint(checkpoint or BASE)
    name = str(place.resolve()) if Path(checkpoint or BASE).is_dir() else checkpoint or BASE
    order, base = Order(mine, name, companions, seed), load_checkpoint(name)
    recipe_for(base, order, 1, (), changes)  # what is wrong with it is said before anything else
    with counting_bar("your molecules") as done:
        mine_in_3d = gather(order, out, workers, done)
    with counting_bar("companions") as done:
        material = beside_companions(order, mine_in_3d, out, workers, done)
    session = material.session(order)
    config = recipe_for(base, order, len(material.mine), session.statistics.atom_numbers, changes)
    tune_cpu(own_threads(config.training))
    typer.echo(f"{material.described} → {out}", err=True)
    if not finished(out / MODEL, config):
        _train(config, session, out / MODEL)
    if not finished(out / MODEL, config):
        typer.echo(f"stopped; the same command goes on with what is in {out}.", err=True)
        raise typer.Exit(INTERRUPTED)
    keep_presets(place, out / MODEL)
    _compare(base, material, session, out, num, workers)


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
    typer.echo(write_card(out, cards[0], cards[1], load_npz(path), [f"Base model: {base.name}.", *told]))
    typer.echo(f"card → {out / PAGE}; more molecules: ead sample {out / MODEL} --num 100 --out new.sdf", err=True)
