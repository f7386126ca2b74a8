"""A network's engine at one molecule size: for `molecule_size.py`, which also starts this file for peak memory.

    python benchmarks/molecule_size_worker.py NETWORK ATOMS BUDGET

prints the bytes per molecule by which this fresh process grows while a network call is filled to the budget.
"""

import json
import re
import sys
from pathlib import Path

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint, new_denoiser
from ead_core.common.cpu import tune_cpu
from ead_core.config import Config
from ead_core.networks.memory import call_bytes, molecules_per_call
from ead_core.sampling.engine import Engine
from ead_core.sampling.requests import Request, sampler_config

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = {"egnn": "qm9.yaml", "egnn_rbf": "qm9_small.yaml", "egnn_vector": "qm9_small.yaml"}


def untrained(kind: str) -> Checkpoint:
    """A network with fresh weights at the size of its recipe."""
    config = Config.load(CONFIGS / RECIPES[kind], [f"network.kind={kind}"])
    statistics = load_checkpoint("qm9-small").statistics
    return Checkpoint(kind, config, statistics, new_denoiser(config, statistics).eval().requires_grad_(False))


def engine_of(checkpoint: Checkpoint, atoms: int, num: int, batch_size: int = 64, budget: float = 2.0) -> Engine:
    """An engine with `num` molecules of exactly `atoms` atoms to make."""
    engine = Engine(checkpoint, batch_size, budget)
    engine.submit(Request(num, sampler_config(checkpoint, {"memory_budget": budget}), sizes=(atoms,)))
    return engine


def peak(kind: str, atoms: int, budget: float) -> dict[str, float]:
    """Planned and measured bytes per molecule, and the share of the budget that the process grew by."""
    tune_cpu()
    checkpoint = untrained(kind)
    engine_of(checkpoint, 8, 2).step()  # warm-up: threads, kernels
    most = molecules_per_call(checkpoint.denoiser, atoms, budget)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = memory("VmRSS")
    engine_of(checkpoint, atoms, most + 1, most + 1, budget).step()
    grown = memory("VmHWM") - before
    return {
        "planned": call_bytes(checkpoint.denoiser, atoms),
        "measured": grown / most,
        "share": grown / 2**30 / budget,
    }


def memory(name: str) -> int:
    """A line of this process's status in bytes; `ru_maxrss` would begin with the parent's."""
    [kilobytes] = re.findall(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return 1024 * int(kilobytes)


if __name__ == "__main__":
    print(json.dumps(peak(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
