"""The card of a checkpoint: quality and cost of three schedules on the same molecules, and a picture of them.

    python benchmarks/measure_checkpoint.py ead_core/pretrained/qm9-small --train qm9.npz --picture molecules.png

The settings share the synchronous prefix, so their differences are paired and the whole costs little more than one.
"""

import json
import platform
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from ead_platform.cluster.session import ray_session
from ead_platform.cluster.settings import Settings
from ead_platform.sweep.study import Campaign, measure, run_point_in_parallel, shared_prefix

from ead_core.checkpoints.checkpoint import CARD, find_checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.files import write_aside
from ead_core.data.dataset import split_indices
from ead_core.data.formats import read_molecules
from ead_core.errors import report_user_errors
from ead_core.evaluation.published import published_card, training_smiles
from ead_core.pictures.molecules import draw_molecules

SETTINGS: dict[str, dict[str, Any]] = {
    "synchronous": {"sampler.async_ratio": 0.0},
    "adaptive, async_ratio 0.2": {"sampler.async_ratio": 0.2},
    "adaptive, async_ratio 0.4": {"sampler.async_ratio": 0.4},
}
FIXED = {"sampler.history_window": 2, "sampler.pause_mode": "repeat"}


def main(
    checkpoint: Path,
    num: Annotated[int, typer.Option(help="Molecules per setting.")] = 1000,
    seed: Annotated[int, typer.Option(help="Key of all noise.")] = 0,
    train: Annotated[Path | None, typer.Option(help="The checkpoint's data file, for novelty.")] = None,
    work: Annotated[Path, typer.Option(help="Keeps the prefix for an interrupted run.")] = Path("runs/card"),
    picture: Annotated[Path | None, typer.Option(help="Draw twelve molecules of the adaptive schedule.")] = None,
) -> None:
    """Write card.json into the checkpoint's folder."""
    model = load_checkpoint(checkpoint)
    campaign = Campaign(model, seed, 0, num, threads=1)
    known = _training_smiles(train, model.config.data.split_seed) if train else None
    indices = {campaign.branch_index(point) for point in SETTINGS.values()}
    rows, baseline = [], None
    with ray_session(Settings.from_environment()):
        with progress_bar("shared synchronous prefix", num) as progress:
            buckets = shared_prefix(campaign, indices, work / "prefix", progress)
        for setting, point in SETTINGS.items():
            overrides = {**point, **FIXED}
            with progress_bar(setting, num) as progress:
                molecules = run_point_in_parallel(campaign, buckets, overrides, progress)
            card, metrics = measure(molecules, baseline)
            baseline = baseline or card
            paired = {key: value for key, value in metrics.items() if "difference" in key or "p_value" in key}
            figures = published_card(molecules, known).to_json()
            rows.append({"setting": setting, "overrides": overrides, **figures, **paired})
            typer.echo(f"\n{setting}\n{card.table()}")
            if picture and "0.2" in setting:
                draw_molecules(molecules.select(range(12)), picture)
    with write_aside(find_checkpoint(checkpoint) / CARD) as aside:
        aside.write_text(json.dumps(_document(model.name, seed, rows), indent=1) + "\n")


def _training_smiles(path: Path, split_seed: int) -> frozenset[str]:
    molecules = read_molecules(path).molecules
    return training_smiles(molecules.select(split_indices(molecules, "auto", split_seed).train))


def _document(name: str, seed: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "checkpoint": name,
        "protocol": "EDM bond tables and RDKit sanitisation; denominators are attempts; 95 % intervals",
        "seed": seed,
        "seconds_are": f"of one core ({platform.machine()}), torch {torch.__version__}, batches of up to 64",
        "command": f"python benchmarks/measure_checkpoint.py {name} --num {rows[0]['num_molecules']} --seed {seed}",
        "rows": rows,
    }


if __name__ == "__main__":
    with report_user_errors("measure_checkpoint"):
        typer.run(main)
