"""Everything there is to know about this project on a GPU that nobody here has: one command, four minutes, one file.

    python benchmarks/gpu_check.py [--out gpu.json] [--small]

It runs the tests marked `gpu`; makes the same molecules on the GPU and on the CPU and compares them; measures network
calls by batch under every way of computing of speed_gpu.py, compiled and as CUDA graphs included; makes 10,000
molecules from beginning to end; and trains. `--small` runs all of it with little work, on a CPU if there is no GPU: it
shows that the program works, and its figures mean nothing.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from speed_gpu import ATOMS, QM9, WAYS, Ours, recipe, seconds

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint, new_denoiser
from ead_core.common.cpu import processor, tune_cpu
from ead_core.common.files import write_aside
from ead_core.data.batching import TrainingBatches
from ead_core.data.store import MoleculeSet
from ead_core.errors import report_user_errors
from ead_core.evaluation.stability import stability
from ead_core.sampling.generation import sample
from ead_core.training.parallel import Workers
from ead_core.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
MODEL = "qm9-deep"
SAME = 0.01  # Å; molecules whose atoms are all as near as this are the same


@dataclass(frozen=True)
class Amount:
    """How much of everything.

    Attributes:
        compared: molecules made on both devices.
        end_to_end: molecules made on the GPU alone.
        steps: of a synchronous sampler.
        batch: most molecules that are made at once.
        batches: molecules of a network call.
        compiled: the one of them for ways that compile, which takes half a minute each.
        ways: of computing, see speed_gpu.py.
        training: optimiser steps.
    """

    compared: int = 64
    end_to_end: int = 10_000
    steps: int = 50
    batch: int = 1024
    batches: tuple[int, ...] = (16, 64, 256, 1024)
    compiled: int = 256
    ways: tuple[str, ...] = tuple(WAYS)
    training: int = 200


SMALL = Amount(compared=2, end_to_end=3, steps=5, batches=(2,), ways=("fp32", "tf32"), training=3)


def tests() -> dict[str, Any]:
    """How the tests marked `gpu` end; without a GPU they are skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/core/test_gpu.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return {"exit_code": done.returncode, "output": done.stdout.splitlines()[-5:]}


def made(device: torch.device, num: int, amount: Amount) -> tuple[MoleculeSet, float]:
    """Molecules made on a device in float32, and the seconds that it took."""
    checkpoint = load_checkpoint(MODEL)
    checkpoint.denoiser.to(device)
    settings: dict[str, Any] = {"precision": "fp32", "steps": amount.steps, "batch_size": amount.batch}
    start = time.perf_counter()
    molecules = sample(checkpoint, num, seed=1, policy="synchronous", **settings)
    return molecules, time.perf_counter() - start


def molecules(device: torch.device, amount: Amount) -> dict[str, Any]:
    """The same requests on the CPU and on the device."""
    (here, _), (there, _) = (made(place, amount.compared, amount) for place in (torch.device("cpu"), device))
    same = [
        np.array_equal(mine.charges, theirs.charges) and np.abs(mine.positions - theirs.positions).max() < SAME
        for mine, theirs in ((here.select([row]), there.select([row])) for row in range(amount.compared))
    ]
    stable = {"cpu": stability(here).stable.mean(), device.type: stability(there).stable.mean()}
    return {"match_rate": float(np.mean(same)), "stable": {name: float(share) for name, share in stable.items()}}


def network_calls(device: torch.device, amount: Amount) -> dict[str, Any]:
    """Microseconds per molecule and call of EDM's full network, by task, way and batch."""
    statistics = replace(load_checkpoint(MODEL).statistics, atom_numbers=QM9)
    size = "small" if amount is SMALL else "full"
    denoiser = new_denoiser(recipe(size, "fp32"), statistics).to(device)
    figures: dict[str, Any] = {"network": size, "atoms": ATOMS}
    for way in amount.ways:
        for batch in (amount.compiled,) if WAYS[way].compiled else amount.batches:
            side = Ours(denoiser, WAYS[way], device.type, batch)
            for task in ("sampling", "training"):
                seconds(side, task, device.type)  # compiles
                figures[f"{task}.{way}.{batch}"] = 1e6 * seconds(side, task, device.type)
    return figures


def end_to_end(device: torch.device, amount: Amount) -> dict[str, Any]:
    """Molecules from a request to arrays on the host."""
    found, taken = made(device, amount.end_to_end, amount)
    return {"molecules": len(found), "seconds": taken, "stable": float(stability(found).stable.mean())}


def training(device: torch.device, amount: Amount) -> dict[str, Any]:
    """Molecules per second of optimiser steps on molecules of the model's own making."""
    checkpoint: Checkpoint = load_checkpoint(MODEL)
    examples, _ = made(device, amount.compared, amount)
    trainer = Trainer.create(checkpoint.config, checkpoint.statistics, Workers(0, 1, device))
    batches = TrainingBatches(examples, trainer.atom_types, checkpoint.config.training.batch_size, 0)
    trainer.advance(batches.batch(0).to(device))
    trainer.window.drain()
    start = time.perf_counter()
    for step in range(amount.training):
        trainer.advance(batches.batch(step).to(device))
    count, loss = trainer.window.molecules, trainer.window.drain()["loss"]  # which waits for the device
    return {"molecules_per_second": count / (time.perf_counter() - start), "loss": loss}


def main(
    out: Annotated[Path, typer.Option(help="JSON file.")] = Path("gpu.json"),
    small: Annotated[bool, typer.Option("--small", help="Little work, on a CPU if need be.")] = False,
) -> None:
    """Check and measure everything, and write one file; what has been measured stays if a later part fails."""
    if not (small or torch.cuda.is_available()):
        raise typer.BadParameter("there is no GPU here; --small shows on a CPU that the program works.")
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    tune_cpu()
    amount = SMALL if small else Amount()
    name = torch.cuda.get_device_name() if device.type == "cuda" else processor()
    report: dict[str, Any] = {"hardware": name, "torch": torch.__version__, "small": small, "tests": tests()}
    for part in (molecules, network_calls, end_to_end, training):
        start = time.perf_counter()
        report[part.__name__] = part(device, amount) | {"took": time.perf_counter() - start}
        with write_aside(out) as aside:
            aside.write_text(json.dumps(report, indent=1) + "\n")
        print(f"{part.__name__}: {json.dumps(report[part.__name__])}", flush=True)


if __name__ == "__main__":
    with report_user_errors("gpu_check"):
        typer.run(main)
