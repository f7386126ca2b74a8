"""Network steps on a GPU under several ways of computing, beside EDM's way on the same GPU.

    python benchmarks/speed_gpu.py [--rounds 5] [--sizes small,full] [--device cuda]     (started by speed.py on a GPU)

The same 64 molecules of 19 atoms for all, EDM's network. Sampling is a call without gradients, training one with its
backward pass; rounds alternate between the ways. Prints a table and, as the last line, JSON. `--device cpu` shows that
the program works; its figures mean nothing, since CPUs are measured by speed.py.
"""

import argparse
import json
import platform
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from reference_egnn import edge_list_egnn
from speed import interval
from speed_worker import BATCH, QM9, STEPS, recipe

from ead_core.checkpoints.checkpoint import load_checkpoint, new_denoiser
from ead_core.networks.inputs import DenoiserInput

ATOMS, PADDED = 19, 29  # EDM pads sampling to QM9's largest molecule
CALLS = 20  # per round


@dataclass(frozen=True)
class Way:
    """How a network is evaluated: float32 matrix precision, autocast type, mode of torch.compile."""

    matmul: str
    autocast: torch.dtype | None = None
    compiled: str | None = None


WAYS = {
    "fp32": Way("highest"),
    "tf32": Way("high"),
    "bf16": Way("high", torch.bfloat16),
    "bf16_compiled": Way("high", torch.bfloat16, "default"),
    "bf16_graph": Way("high", torch.bfloat16, "reduce-overhead"),  # CUDA graphs
}


class Ours:
    """The project's network under one way of computing."""

    def __init__(self, denoiser, way, device, batch=BATCH):
        self.way, self.device, self.batch = way, device, batch
        self.denoiser = denoiser
        self.call = torch.compile(denoiser, mode=way.compiled) if way.compiled else denoiser
        mask = torch.ones(batch, ATOMS, dtype=torch.bool, device=device)
        levels = torch.randint(0, STEPS + 1, mask.shape, device=device)
        self.inputs = DenoiserInput(torch.randn(batch, ATOMS, 9, device=device), levels, mask)

    def run(self, task):
        torch.set_float32_matmul_precision(self.way.matmul)
        cast = torch.autocast(self.device, self.way.autocast) if self.way.autocast else nullcontext()
        if task == "sampling":
            with torch.no_grad(), cast:
                self.call(self.inputs)
            return
        with cast:
            loss = (self.call(self.inputs).float() ** 2).mean()
        loss.backward()
        self.denoiser.zero_grad()


class Reference:
    """EDM's way: an edge list, padded in sampling, float32."""

    batch = BATCH

    def __init__(self, denoiser, layers, device):
        self.weights, self.layers, self.device = dict(denoiser.network.named_parameters()), layers, device

    def run(self, task):
        torch.set_float32_matmul_precision("highest")
        width = PADDED if task == "sampling" else ATOMS
        mask = (torch.arange(width, device=self.device) < ATOMS).expand(BATCH, width)
        z, times = torch.randn(BATCH, width, 9, device=self.device) * mask[..., None], mask.float() / 2
        with torch.set_grad_enabled(task == "training"):
            eps = edge_list_egnn(self.weights, z, times, mask, self.layers)
        if task == "training":
            (eps**2).mean().backward()
            for weight in self.weights.values():
                weight.grad = None


def seconds(side, task, device):
    """Per molecule and call."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    for _ in range(CALLS):
        side.run(task)
    wait()
    return (time.perf_counter() - start) / (CALLS * side.batch)


def compare(size, rounds, device):
    """Flat figures of all ways at one size, which are printed."""
    statistics = replace(load_checkpoint("qm9-small").statistics, atom_numbers=QM9)
    config = recipe(size, "fp32")
    denoiser = new_denoiser(config, statistics).to(device)
    sides: dict[str, Reference | Ours] = {"edm": Reference(denoiser, config.network.layers, device)}
    sides |= {name: Ours(denoiser, way, device) for name, way in WAYS.items()}
    figures = {}
    for task in ("sampling", "training"):
        for side in sides.values():
            seconds(side, task, device)  # warm-up: compilation, graphs
        turns = [{name: seconds(side, task, device) for name, side in sides.items()} for _ in range(rounds)]
        for name in sides:
            ratio = interval([turn["edm"] / turn[name] for turn in turns])
            taken = interval([turn[name] for turn in turns])
            figures[f"{device}.{task}.{size}.{name}.ratio"] = ratio
            figures[f"{device}.{task}.{size}.{name}.seconds"] = taken
            print(f"{task} {size:<6}{name:<16}{1e6 * taken['value']:>10.2f} µs{ratio['value']:>8.1f}×", flush=True)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="small,full", help="small (64 × 4), full (256 × 9)")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    print(f"{name}, torch {torch.__version__}")
    figures = {f"{options.device}.hardware": name}
    for size in options.sizes.split(","):
        figures |= compare(size, options.rounds, options.device)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
