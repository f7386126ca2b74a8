"""Sweep EAD's asynchronous sampling on a trained checkpoint: `python tune/sweep_async_ratio.py`.

Ray Tune runs the trials, Optuna proposes them, MLflow records them. Nothing is retrained, all trials use the same
noise, and the synchronous way to each branch level is computed once. With RAY_ADDRESS set the same script runs on
that cluster.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from ead_platform.cluster.session import expect_cluster, ray_session, require_cpus
from ead_platform.cluster.settings import Settings
from ead_platform.registry.addresses import accept_addresses
from ead_platform.sweep.records import RANKED_BY, SweepFolder, only_sweep
from ead_platform.sweep.report import SweepConsole
from ead_platform.sweep.search import Search
from ead_platform.sweep.study import (
    SYNCHRONOUS,
    Campaign,
    branch_indices,
    check_space,
    identity,
    measure,
    reference_points,
    run_point,
    shared_prefix,
)
from ead_platform.sweep.tracking import SweepTracker
from ray import tune

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.common.cpu import tune_cpu
from ead_core.config import read_mapping
from ead_core.data.targets import parse_targets
from ead_core.errors import report_user_errors

SPACE: dict[str, list[Any]] = {
    "sampler.async_ratio": [0.0, 0.05, 0.1, 0.2, 0.3, 0.4],
    "sampler.history_window": [2, 3],
    "sampler.pause_mode": ["repeat", "renoise", "hold"],
}


app = typer.Typer(pretty_exceptions_enable=False)


def objective(point: dict[str, Any], campaign: Campaign, buckets: list[Any], baseline: Any) -> None:
    """Generate the campaign's molecules with one setting and report their quality and cost."""
    tune_cpu(campaign.threads)
    _, metrics = measure(run_point(campaign, buckets, point), baseline)
    tune.report(metrics)


@app.command()
def sweep(
    trials: Annotated[int, typer.Option(min=2, help="Settings to try, the two reference points included.")] = 8,
    samples: Annotated[int, typer.Option(min=2, help="Molecules per setting, and again to confirm the best.")] = 128,
    out: Annotated[Path, typer.Option(help="Folder for results; must be empty without --resume.")] = Path("runs/sweep"),
    checkpoint: Annotated[str, typer.Option(help="Bundled name, folder or models:/ address.")] = "qm9-deep",
    target: Annotated[list[str] | None, typer.Option(help="gap=6500 or mu=1:3, in units of `ead models`.")] = None,
    space: Annotated[Path | None, typer.Option(help="YAML with lists of choices per sampler key.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise and of the search.")] = 0,
    cpus_per_trial: Annotated[int, typer.Option(min=1, help="CPUs and torch threads of a trial.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep in --out.")] = False,
) -> None:
    """Find the asynchronous schedule that gives the most stable molecules."""
    accept_addresses()
    settings = Settings.from_environment()
    expect_cluster(settings)
    targets = parse_targets(target or [])
    campaign = Campaign(load_checkpoint(checkpoint), seed, 0, samples, cpus_per_trial, targets)
    choices = check_space(read_mapping(space, "lists of choices per sampler key") if space else SPACE, campaign)
    question = {
        "checkpoint": campaign.checkpoint.name,
        "samples": samples,
        "seed": seed,
        "cpus_per_trial": cpus_per_trial,
        "space": choices,
        "fingerprint": campaign.fingerprint,
        **({"targets": targets.to_json()} if targets else {}),
    }
    path = settings.output_folder(out)
    with only_sweep(path):
        folder = SweepFolder(path, question, resume)
        with ray_session(settings):
            require_cpus(cpus_per_trial, "--cpus-per-trial")
            tracker = SweepTracker(settings, folder.parent_run, f"sweep {campaign.checkpoint.name}", question)
            folder.remember_run(tracker.parent_id)
            console = SweepConsole(folder, tracker, settings, list(choices), trials)
            with console.closing():
                run(campaign, choices, folder, console, trials)


def run(
    campaign: Campaign, choices: dict[str, list[Any]], folder: SweepFolder, console: SweepConsole, trials: int
) -> None:
    """The shared prefix, the trials that are left, and the summary."""
    with console.bar("shared synchronous prefix", campaign.samples) as progress:
        buckets = shared_prefix(campaign, branch_indices(campaign, choices), folder.path / "prefix", progress)
    baseline, _ = measure(run_point(campaign, buckets, SYNCHRONOUS))
    console.start()
    search = Search(choices, identity, RANKED_BY, campaign.seed, campaign.threads, folder.path)
    errors = search.run(
        tune.with_parameters(objective, campaign=campaign, buckets=buckets, baseline=baseline),
        reference_points(choices),
        done=[({key: row[key] for key in choices}, row[RANKED_BY]) for row in folder.rows],
        trials=trials - len(folder.rows),
        finished=console.finished,
    )
    console.summary(errors, campaign)


if __name__ == "__main__":
    with report_user_errors("sweep"):
        app()
