"""Let a model become champion if it earns it: `python platform/jobs/promote.py RUN_OR_CHECKPOINT --name ead-qm9`.

The candidate is registered in MLflow, sampled and measured beside the present champion on the same ids and seed, and
the alias moves only if the gate is passed. Ends with 0 if the candidate is champion, with 3 if it was refused, with 2
if something cannot be done as asked. The same command continues after any interruption.
"""

from pathlib import Path
from typing import Annotated

import typer
from ead_platform.cluster.settings import Settings
from ead_platform.generation.report import resumable
from ead_platform.registry.addresses import accept_addresses
from ead_platform.registry.examination import Examiner, Resources
from ead_platform.registry.gate import load_gate
from ead_platform.registry.promotion import Promotion
from ead_platform.registry.promotion_report import PromotionConsole
from ead_platform.registry.versions import REFUSED, Registry

from ead_core.errors import ConfigError, report_user_errors

REFUSED_CODE = 3
KEPT = "What was sampled and measured is kept."

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def promote(
    candidate: Annotated[
        str | None, typer.Argument(help="Training run (id or name), checkpoint folder, bundled name or address.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="promotion.KEY=VALUE …")] = None,
    name: Annotated[str, typer.Option(help="Of the registered model.")] = "ead-qm9",
    gate: Annotated[Path | None, typer.Option(help="YAML with a `promotion:` section, e.g. a recipe.")] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Make the champion before this one champion.")] = False,
    reason: Annotated[str, typer.Option(help="With --rollback: why, for the history.")] = "",
    history: Annotated[bool, typer.Option("--history", help="Print every verdict and move.")] = False,
    actors: Annotated[int | None, typer.Option(min=1, help="How many sample (default: as many as fit).")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of an actor.")] = 1,
    gpus_per_actor: Annotated[float, typer.Option(help="Share of a GPU of an actor; 0 samples on the CPU.")] = 0,
) -> None:
    """Register a model, and make it champion if it passes the gate."""
    if (candidate is not None) + rollback + history != 1:
        raise ConfigError("give a candidate, or --rollback, or --history.")
    if reason and not rollback:
        raise ConfigError("--reason belongs to --rollback; a verdict of the gate gives its own.")
    accept_addresses()
    settings, console = Settings.from_environment(), PromotionConsole()
    registry = Registry(name, settings)
    if history:
        console.history(registry.history(), registry)
    elif rollback:
        console.verdict(registry.roll_back(reason), registry)
    elif candidate:
        conditions, resources = load_gate(gate, overrides or []), Resources(actors, threads, gpus_per_actor)
        with (
            resumable("promote", lambda: KEPT, console.say),
            Examiner(conditions, settings, resources, console.say) as examiner,
        ):
            move = Promotion(registry, settings, examiner, conditions, console.say).run(candidate)
        console.verdict(move, registry)
        if move and move.decision == REFUSED:
            raise typer.Exit(REFUSED_CODE)


if __name__ == "__main__":
    with report_user_errors("promote"):
        app()
