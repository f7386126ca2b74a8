"""Generate molecules in shards on a Ray cluster: `python platform/jobs/generate.py --num 1000 --out DIR`.

Without RAY_ADDRESS a private Ray is started on this machine; the same script runs on a cluster, directly or as a
submitted job. Finished shards are never made twice: after any interruption the same command continues.
"""

from pathlib import Path
from typing import Annotated

import typer
from ead_platform.cluster.session import actors_that_fit, expect_cluster, ray_session, require_cpus
from ead_platform.cluster.settings import Settings
from ead_platform.generation.deliveries import rounds
from ead_platform.generation.estimate import estimate
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.report import GenerationConsole
from ead_platform.generation.shards import ShardFolder
from ead_platform.registry.addresses import accept_addresses

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.cli.console import BEYOND_TRAINING, PRESET
from ead_core.cli.match import MATCH, check_counts, match_order_of
from ead_core.cli.sample import ACCEPT, MAX_ATTEMPTS, TARGETS, TOO_FEW, order_of
from ead_core.common.cpu import available_cores
from ead_core.config import parse_overrides, read_mapping, sampler_settings
from ead_core.data.priors import parse_sizes
from ead_core.data.target_tables import gather_wishes
from ead_core.data.wish_tables import WishTable
from ead_core.errors import ConfigError, report_user_errors
from ead_core.sampling.conditions import warnings_before
from ead_core.sampling.order import MatchOrder, Order, check_repairs
from ead_core.sampling.requests import sampler_config

NUM = 1000  # molecules, if nothing says how many
NUM_HELP = "Molecules in all, or attempts with --accept; more than there are continues the folder"
UNTIL = (
    "Instead of --num, with --accept or a range as --target: make shards until they hold so many; more are left out."
)
ESTIMATE = "Make 64 molecules on this machine, say what the whole will cost, and end; nothing is written."

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def generate(
    out: Annotated[
        str, typer.Option(help="Folder for the shards, or s3://bucket/folder; one of an earlier run is continued.")
    ],
    overrides: Annotated[list[str] | None, typer.Argument(help="sampler.KEY=VALUE …")] = None,
    num: Annotated[int | None, typer.Option(help=f"{NUM_HELP}; {NUM:,} if nothing is said.")] = None,
    checkpoint: Annotated[str, typer.Option(help="Bundled name, folder or models:/ address.")] = "qm9-deep",
    shard_size: Annotated[
        int, typer.Option(help="Molecules (--match: wishes) per file; only they share batches, so few are slow.")
    ] = 256,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal molecules.")] = 0,
    sdf: Annotated[bool, typer.Option("--sdf", help="Write .sdf.gz too; the folder then always gets both.")] = False,
    sizes: Annotated[str | None, typer.Option(help="Atoms per molecule: 18, 15,18,21 (cycled) or 15-20.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="gap=6500 or mu=1:3, in units of `ead models`.")] = None,
    targets: Annotated[Path | None, typer.Option(help=f"{TARGETS} Rows are cycled.")] = None,
    composition: Annotated[str | None, typer.Option(help="A formula such as C7H10O2 for all molecules.")] = None,
    preset: Annotated[str | None, typer.Option(help=PRESET)] = None,
    accept: Annotated[list[str] | None, typer.Option(help=f"{ACCEPT} Only such are kept.")] = None,
    until: Annotated[int | None, typer.Option(help=UNTIL)] = None,
    max_attempts: Annotated[int | None, typer.Option(help=MAX_ATTEMPTS)] = None,
    match: Annotated[bool, typer.Option("--match", help=f"{MATCH} Each shard has its own pool.")] = False,
    settings: Annotated[Path | None, typer.Option(help="YAML of sampler.* keys, e.g. a sweep's best.yaml.")] = None,
    beyond_training: Annotated[bool, typer.Option("--beyond-training", help=BEYOND_TRAINING)] = False,
    actors: Annotated[int | None, typer.Option(help="How many work at once (default: as many as fit).")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of an actor.")] = 1,
    gpus_per_actor: Annotated[float, typer.Option(help="Share of a GPU of an actor; 0 samples on the CPU.")] = 0,
    only_estimate: Annotated[bool, typer.Option("--estimate", help=ESTIMATE)] = False,
) -> None:
    """Generate molecules with a trained model, in files of equal size."""
    accept_addresses()
    place = Settings.from_environment()
    where = out if "://" in out else place.output_folder(Path(out))
    expect_cluster(place)
    if actors is not None and actors < 1:
        raise ConfigError(f"--actors must be at least 1, not {actors}.")
    matched = match_order_of(match, targets, accept, (None, max_attempts), None, {"--num": num, "--until": until})
    order = matched or order_of(accept, until, max_attempts, {"--num": until and num}, target)
    stored = read_mapping(settings, "keys such as `sampler.async_ratio: 0.2`") if settings else {}
    chosen, atoms = sampler_settings({**stored, **parse_overrides(overrides or [])}), parse_sizes(sizes)
    check_repairs(chosen, order is not None)
    model = load_checkpoint(checkpoint)
    config = sampler_config(model, chosen, preset)
    table = gather_wishes(target or [], targets, composition, model.statistics.atom_numbers)
    check_counts(table, {"--num": num, "--until": until, "--accept": accept and not match})
    rows, wanted = _rows(num, order, table), table.targets if table else None
    plan = GenerationPlan(model, rows, shard_size, seed, atoms, config, threads, gpus_per_actor, wanted, order, table)
    plan.check(beyond_training)
    for warning in warnings_before(model, wanted):
        typer.echo(f"warning: {warning}", err=True)
    if only_estimate:
        print(*estimate(plan).lines(actors or max(1, available_cores() // threads)), sep="\n")
        return
    folder = ShardFolder(where, plan.question(), plan.asked)
    with ray_session(place):
        require_cpus(threads, "--threads")
        fitting = actors_that_fit(threads, gpus_per_actor)  # at least one, whatever is asked for
        _fill(folder, plan, sdf, actors or fitting)
    if folder.ledger and folder.ledger.short:
        typer.echo(f"generate: {folder.ledger.shortage}", err=True)
        raise typer.Exit(TOO_FEW)


def _rows(num: int | None, order: Order | MatchOrder | None, table: WishTable | None) -> int:
    """How many molecules, attempts or wishes the shards are cut from."""
    if table and (isinstance(order, MatchOrder) or table.counts):
        return table.total
    most = order.limit if isinstance(order, Order) else None
    return most or (NUM if num is None else num)


def _fill(folder: ShardFolder, plan: GenerationPlan, sdf: bool, actors: int) -> None:
    """Make what is missing in a folder, by at most so many actors, and say what became of it."""
    with folder.opened():
        console = GenerationConsole(folder, plan)
        with console.closing():
            for number, tasks in enumerate(rounds(folder, plan, sdf)):
                if number == 0:
                    console.announce()
                if tasks:
                    console.work(tasks, min(actors, len(tasks)))
            console.summary()


if __name__ == "__main__":
    with report_user_errors("generate"):
        app()
