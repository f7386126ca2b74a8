"""Sweep the sampling of a trained checkpoint: `python tune/sweep_async_ratio.py`.

Ray Tune runs the trials, Optuna proposes them, MLflow records them. Nothing is retrained, all trials use the same
noise, and the synchronous way to each branch level is computed once. Without options it is the founding experiment:
how large the asynchronous part should be, and when an atom has settled. With RAY_ADDRESS set the same script runs on
that cluster.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from ead_platform.cluster.session import expect_cluster, ray_session, require_cpus
from ead_platform.cluster.settings import Settings
from ead_platform.registry.addresses import accept_addresses
from ead_platform.sweep.checked_space import load_space, reference_points
from ead_platform.sweep.measures import measure
from ead_platform.sweep.objectives import DEFAULT, Goals
from ead_platform.sweep.presets import preset_folder
from ead_platform.sweep.records import SweepFolder, only_sweep
from ead_platform.sweep.report import Plan, SweepConsole
from ead_platform.sweep.search import Search, recorded
from ead_platform.sweep.searcher import Algorithm
from ead_platform.sweep.study import SYNCHRONOUS, Campaign, branch_indices, identity, run_point, shared_prefix
from ead_platform.sweep.tracking import SweepTracker
from ray import tune

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.common.cpu import tune_cpu
from ead_core.data.targets import parse_targets
from ead_core.errors import report_user_errors

SPACES = Path(__file__).resolve().parents[1] / "configs" / "sweeps"
FOUNDING = SPACES / "async_ratio.yaml"
app = typer.Typer(pretty_exceptions_enable=False)


def objective(
    point: dict[str, Any], campaign: Campaign, buckets: list[Any], baseline: Any, parts: tuple[str, ...], observe: Any
) -> dict[str, float]:
    """Generate the campaign's molecules with one setting and measure their quality and cost."""
    tune_cpu(campaign.threads)
    _, metrics = measure(run_point(campaign, buckets, point, observe), baseline, parts)
    return metrics


@app.command()
def sweep(
    trials: Annotated[int, typer.Option(min=2, help="Settings to try, the two reference points included.")] = 8,
    samples: Annotated[int, typer.Option(min=2, help="Molecules per setting, and again to confirm the best.")] = 128,
    out: Annotated[Path, typer.Option(help="Folder for results; must be empty without --resume.")] = Path("runs/sweep"),
    checkpoint: Annotated[str, typer.Option(help="Bundled name, folder or models:/ address.")] = "qm9-deep",
    target: Annotated[list[str] | None, typer.Option(help="gap=6500 or mu=1:3, in units of `ead models`.")] = None,
    space: Annotated[
        Path, typer.Option(help="YAML of what each sampler key may be.", show_default="configs/sweeps/async_ratio.yaml")
    ] = FOUNDING,
    objectives: Annotated[str, typer.Option(help="strictly_valid:max,calls_per_delivered:min, and so on.")] = DEFAULT,
    constraint: Annotated[list[str] | None, typer.Option(help="validity>=0.85; a setting must keep it.")] = None,
    parts: Annotated[str | None, typer.Option(help="Of the card, as in ead evaluate, to be measured, too.")] = None,
    search: Annotated[Algorithm, typer.Option(help="What proposes settings.")] = "tpe",
    trial_minutes: Annotated[float | None, typer.Option(min=1e-6, help="After which a trial is given up.")] = None,
    save_presets: Annotated[Path | None, typer.Option(help="Folder of the checkpoint, to get its presets.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise and of the search.")] = 0,
    cpus_per_trial: Annotated[int, typer.Option(min=1, help="CPUs and torch threads of a trial.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep in --out.")] = False,
) -> None:
    """Find the settings of the sampler that give the best molecules for their cost."""
    accept_addresses()
    settings = Settings.from_environment()
    expect_cluster(settings)
    targets = parse_targets(target or [])
    campaign = Campaign(load_checkpoint(checkpoint), seed, 0, samples, cpus_per_trial, targets)
    points = load_space(space, campaign)
    presets = preset_folder(save_presets, campaign.checkpoint.fingerprint()) if save_presets else None
    goals = Goals.parse(objectives, constraint or [], parts)
    command = shlex.join(["python", *(word for word in sys.argv if word != "--resume")])
    plan = Plan(points, goals, trials, command, presets)
    question = {
        "checkpoint": campaign.checkpoint.name,
        "samples": samples,
        "seed": seed,
        "cpus_per_trial": cpus_per_trial,
        "space": points.to_json(),
        "fingerprint": campaign.fingerprint,
        **({"targets": targets.to_json()} if targets else {}),
        **goals.to_json(),
        **({"search": search} if search != "tpe" else {}),
    }
    path = settings.output_folder(out)
    with only_sweep(path):
        folder = SweepFolder(path, question, resume, points, goals)
        with ray_session(settings):
            require_cpus(cpus_per_trial, "--cpus-per-trial")
            tracker = SweepTracker(settings, folder.parent_run, f"sweep {campaign.checkpoint.name}", question)
            folder.remember_run(tracker.parent_id)
            console = SweepConsole(folder, tracker, settings, plan)
            with console.closing():
                run(campaign, plan, folder, console, search, trial_minutes)


def run(
    campaign: Campaign,
    plan: Plan,
    folder: SweepFolder,
    console: SweepConsole,
    algorithm: Algorithm,
    minutes: float | None,
) -> None:
    """The shared prefix, the trials that are left, and the summary."""
    goals, space = plan.goals, plan.space
    with console.bar("shared synchronous prefix", campaign.samples) as progress:
        buckets = shared_prefix(campaign, branch_indices(campaign, space), folder.path / "prefix", progress)
    baseline, _ = measure(run_point(campaign, buckets, SYNCHRONOUS), None, goals.parts)
    console.start()
    search = Search(space, goals, identity, campaign.refusal, algorithm, campaign.seed, campaign.threads, folder.path)
    search.run(
        tune.with_parameters(
            recorded(objective, goals, minutes),
            campaign=campaign,
            buckets=buckets,
            baseline=baseline,
            parts=goals.parts,
        ),
        reference_points(space),
        done=folder.rows,
        trials=plan.trials - folder.counted,
        reporting=console,
    )
    console.summary(campaign)


if __name__ == "__main__":
    with report_user_errors("sweep"):
        app()
