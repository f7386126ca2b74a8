"""`ead measure`: the quality and cost of a checkpoint, setting by setting, kept beside its weights."""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ead_core.cli.console import OVERWRITE, THREADS, progress_bar
from ead_core.config.presets import NAMES
from ead_core.errors import ConfigError

if TYPE_CHECKING:
    from ead_core.checkpoints.checkpoint import Checkpoint
    from ead_core.config import SamplerConfig
    from ead_core.data.store import MoleculeSet

SETTINGS: dict[str, dict[str, Any]] = {  # the first is the one that the others are compared with
    "synchronous": {"sampler.async_ratio": 0.0},
    "adaptive, async_ratio 0.2": {"sampler.async_ratio": 0.2},
    "adaptive, async_ratio 0.4": {"sampler.async_ratio": 0.4},
}
COMMON = {"sampler.policy": "adaptive", "sampler.history_window": 2, "sampler.pause_mode": "repeat"}
PROTOCOL = "EDM bond tables and RDKit sanitisation; denominators are attempts; 95 % intervals"
CHUNK = 256  # molecules that an interruption may cost


def measure(
    checkpoint: Annotated[str, typer.Argument(help="Bundled name, directory or address (models:/…).")],
    overrides: Annotated[list[str] | None, typer.Argument(help="sampler.KEY=VALUE … for all settings.")] = None,
    num: Annotated[int, typer.Option(min=2, help="Molecules per setting.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal molecules.")] = 0,
    presets: Annotated[bool, typer.Option("--presets", help="Measure the presets, too.")] = False,
    train: Annotated[Path | None, typer.Option(help="The checkpoint's data file, for novelty.")] = None,
    out: Annotated[Path | None, typer.Option(help="Output file; quality.json beside the weights if none.")] = None,
    threads: Annotated[int, typer.Option(min=1, help=THREADS)] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help=OVERWRITE)] = False,
) -> None:
    """Measure a checkpoint with three settings of the sampler, for `ead models`, `ead compare` and the service."""
    from ead_core.checkpoints.checkpoint import load_checkpoint
    from ead_core.common.cpu import tune_cpu
    from ead_core.common.files import check_not_lost, check_writable, user_cache
    from ead_core.config import parse_overrides, sampler_settings
    from ead_core.evaluation.published import evaluate_published
    from ead_core.evaluation.quality import Quality
    from ead_core.evaluation.quality_cards import measured_setting
    from ead_core.sampling.order import check_repairs
    from ead_core.sampling.requests import sampler_config

    target = out or _beside_weights(checkpoint)
    check_not_lost(target, overwrite)
    check_writable(target)
    own = parse_overrides(overrides or [])
    check_repairs(sampler_settings(own), accepts=False)
    tune_cpu(1)
    model = load_checkpoint(checkpoint)
    points = _points(model, own, presets)
    samplers = {setting: sampler_config(model, sampler_settings(point)) for setting, point in points.items()}
    known = _training_smiles(train, model.config.data.split_seed) if train else None
    work = user_cache() / "measure" / f"{model.fingerprint()}-{seed}"
    rows, first = [], None
    for setting, sampler in samplers.items():
        with progress_bar(setting, num) as progress:
            molecules = _molecules(model, sampler, num, seed, work, threads, progress)
        found = evaluate_published(molecules, known, name=setting)
        rows.append(measured_setting(setting, points[setting], found, first))
        first = first or found
        typer.echo(rows[-1].sentence())
    again = [*(overrides or []), *["--presets"] * presets, f"--num {num} --seed {seed}"]
    quality = Quality(
        checkpoint=model.name,
        protocol=PROTOCOL,
        seed=seed,
        seconds_are=_circumstances(model.config.sampler.batch_size),
        command=" ".join(["ead measure", model.name, *again]),
        rows=rows,
    )
    quality.save(target)
    shutil.rmtree(work, ignore_errors=True)
    typer.echo(f"quality → {target}", err=True)


def _points(model: "Checkpoint", own: Mapping[str, Any], presets: bool) -> dict[str, dict[str, Any]]:
    """The settings to be measured, by name: three of the schedule, and the presets if they are asked for."""
    from ead_core.sampling.presets import preset_settings, titled

    points = {setting: {**COMMON, **own, **point} for setting, point in SETTINGS.items()}
    if presets:
        points |= {titled(name): {**preset_settings(model, name), **own} for name in NAMES}
    return points


def _beside_weights(checkpoint: str) -> Path:
    from ead_core.checkpoints.addresses import scheme_of
    from ead_core.checkpoints.checkpoint import find_checkpoint
    from ead_core.evaluation.quality import QUALITY

    if scheme_of(checkpoint):
        raise ConfigError(f"{checkpoint} is kept in a registry; --out FILE says where its quality goes.")
    return find_checkpoint(checkpoint) / QUALITY


def _training_smiles(path: Path, split_seed: int) -> frozenset[str]:
    """SMILES of the training part of a data file, split as the checkpoint's training has split it."""
    from ead_core.data.dataset import split_indices
    from ead_core.data.formats import read_molecules
    from ead_core.evaluation.published import training_smiles

    molecules = read_molecules(path).molecules
    return training_smiles(molecules.select(split_indices(molecules, "auto", split_seed).train))


def _molecules(
    model: "Checkpoint",
    sampler: "SamplerConfig",
    num: int,
    seed: int,
    work: Path,
    threads: int,
    progress: Callable[[int], None],
) -> "MoleculeSet":
    """The molecules of one setting, in chunks that are kept until the checkpoint is measured."""
    from ead_core.data.store import MoleculeSet, load_npz, save_npz
    from ead_core.sampling.generation import fulfil
    from ead_core.sampling.requests import Request

    folder = work / _digest(sampler.model_dump(mode="json"))
    chunks = []
    for first in range(0, num, CHUNK):
        count = min(CHUNK, num - first)
        path = folder / f"{first:07d}-{count}.npz"
        if path.is_file():
            progress(count)
        else:
            save_npz(fulfil(model, Request(count, sampler, seed, first), progress, threads=threads), path)
        chunks.append(load_npz(path))
    return MoleculeSet.concatenate(chunks)


def _digest(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:16]


def _circumstances(batch_size: int) -> str:
    """What the seconds were measured on."""
    import torch

    from ead_core.common.cpu import hardware

    return f"of {hardware()}; torch {torch.__version__}, batches of up to {batch_size}"
