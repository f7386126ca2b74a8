"""Training on Ray beside the plain loop: what one Ray Train worker costs, and what a second one gives.

    python benchmarks/training_scaling.py configs/qm9_small.yaml [--rounds 3] [--seconds 40] [key=value …]

In every round `ead train` and platform/jobs/train.py with one and with two workers train the recipe for so many
seconds each, a thread per process. A figure is molecules per second, the median of the reports but the first; ratios
are taken within a round, with their range.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from mlflow.tracking import MlflowClient
from speed import hardware, interval

from ead_core.cli.console import progress_bar
from ead_core.errors import report_user_errors

ROOT = Path(__file__).parents[1]
TRAIN = [sys.executable, str(ROOT / "platform" / "jobs" / "train.py")]


def plain(recipe: Path, overrides: list[str], folder: Path) -> float:
    """Molecules per second of `ead train`."""
    run([sys.executable, "-m", "ead_core.cli", "train", str(recipe), *overrides, "--out", str(folder / "plain")])
    rows = [json.loads(line) for line in (folder / "plain" / "metrics.jsonl").read_text().splitlines()]
    return median([row["molecules_per_second"] for row in rows if "molecules_per_second" in row])


def on_ray(recipe: Path, overrides: list[str], folder: Path, workers: int) -> float:
    """Molecules per second of a training on Ray."""
    store = f"sqlite:///{folder / f'{workers}.db'}"
    places = [f"platform.num_workers={workers}", f"platform.storage_path={folder}", f"platform.name=ray-{workers}"]
    run([*TRAIN, str(recipe), *overrides, *places], MLFLOW_TRACKING_URI=store)
    client = MlflowClient(store)
    [experiment] = client.search_experiments(filter_string="name = 'ead'")
    [found] = client.search_runs([experiment.experiment_id])
    return median([point.value for point in client.get_metric_history(found.info.run_id, "molecules_per_second")])


def run(command: list[str], **environment: str) -> None:
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)


def median(rates: list[float]) -> float:
    return statistics.median(rates[1:])


def main(
    recipe: Annotated[Path, typer.Argument(help="YAML recipe.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value …")] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(min=10, help="Of training per run.")] = 40,
) -> None:
    """Train in turns and print a table."""
    settings = ["training.threads=1", "training.evaluate_molecules=0", f"training.max_seconds={seconds}"]
    settings += overrides or []
    figures = []
    with progress_bar("rounds", rounds) as progress:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                alone = plain(recipe, settings, folder)
                figures.append((alone, on_ray(recipe, settings, folder, 1), on_ray(recipe, settings, folder, 2)))
            progress(1)
    print(hardware())
    print("| | molecules/s | beside `ead train` (range) |\n|---|---|---|")
    for name, rates in zip(("`ead train`", "one Ray worker", "two"), zip(*figures, strict=True), strict=True):
        ratio = interval([rate / row[0] for rate, row in zip(rates, figures, strict=True)])
        print(f"| {name} | {statistics.median(rates):.0f} | {{value:.2f}} ({{low:.2f}}–{{high:.2f}}) |".format(**ratio))


if __name__ == "__main__":
    with report_user_errors("training_scaling"):
        typer.run(main)
