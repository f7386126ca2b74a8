"""One side of the speed comparison: a process that does a round of work whenever it reads a line.

    python benchmarks/speed_worker.py ROLE TASK SIZE PRECISION        (started by speed.py)

ROLE is `reference` (EDM's way of computing, default allocator and matmul) or `ours`; the molecules are the same 1,024
sizes drawn from QM9's histogram. Each round prints one line of JSON.
"""

import json
import resource
import sys
import time
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from reference_egnn import edge_list_egnn
from torch import nn

from ead_core.checkpoints.checkpoint import load_checkpoint, new_denoiser
from ead_core.common.cpu import tune_cpu
from ead_core.config import Config
from ead_core.data.batching import TrainingBatches, size_buckets
from ead_core.data.priors import draw_sizes
from ead_core.data.store import MoleculeSet
from ead_core.data.tensors import centre, size_mask
from ead_core.diffusion.grid import sampling_grid
from ead_core.diffusion.policy import Adaptive
from ead_core.diffusion.process import Process
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.networks.precision import with_precision
from ead_core.sampling.sampler import step
from ead_core.sampling.state import initial_state
from ead_core.training.parallel import Workers
from ead_core.training.trainer import Trainer

QM9 = (1, 6, 7, 8, 9)
MOLECULES, BATCH, LARGEST, STEPS = 1024, 64, 29, 1000
SIZES = {"small": (64, 4), "full": (256, 9)}
ROUNDS = {  # network steps per round of sampling, batches per round of training
    ("reference", "sampling", "small"): 4,
    ("reference", "sampling", "full"): 1,
    ("ours", "sampling", "small"): 2,
    ("ours", "sampling", "full"): 1,
    ("reference", "training", "small"): 4,
    ("reference", "training", "full"): 1,
    ("ours", "training", "small"): 16,
    ("ours", "training", "full"): 4,
}


def main(role, task, size, precision):
    if role == "ours":
        tune_cpu()
    statistics = replace(load_checkpoint("qm9-small").statistics, atom_numbers=QM9)
    sizes = draw_sizes(statistics, 0, torch.arange(MOLECULES))
    config = recipe(size, precision)
    torch.manual_seed(0)
    work: Any = {
        ("reference", "sampling"): ReferenceSampling,
        ("reference", "training"): ReferenceTraining,
        ("ours", "sampling"): OurSampling,
        ("ours", "training"): OurTraining,
    }[role, task](config, statistics, sizes, ROUNDS[role, task, size])
    before = peak_memory()
    for _ in sys.stdin:
        start, cpu_start = time.perf_counter(), time.process_time()
        figures = work.round()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        units, memory = figures.pop("units"), peak_memory() - before
        costs = {"seconds": seconds / units, "cpu_seconds": cpu_seconds / units, "memory": memory}
        print(json.dumps({**figures, **costs}), flush=True)


def recipe(size, precision):
    hidden, layers = SIZES[size]
    return Config(data={"path": "none"}).override(
        {
            "network.kind": "egnn",
            "network.hidden_features": hidden,
            "network.layers": layers,
            "training.batch_size": BATCH,
            "training.precision": precision,
            "sampler.precision": precision,
        }
    )


def peak_memory():
    """Bytes of the largest resident set so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class ReferenceSampling:
    """EDM's reverse step on batches of 64, always padded to 29 atoms."""

    def __init__(self, config, statistics, sizes, steps):
        denoiser = new_denoiser(config, statistics)
        self.weights, self.layers = cast(nn.Module, denoiser.network).state_dict(), config.network.layers
        self.schedule, self.steps = NoiseSchedule(STEPS), steps
        self.mask = size_mask(sizes[:BATCH], LARGEST)
        self.z = self.noise(6)

    def noise(self, features):
        noise = torch.randn(*self.mask.shape, 3 + features) * self.mask[..., None]
        return torch.cat([centre(noise[..., :3], self.mask), noise[..., 3:]], dim=-1)

    @torch.no_grad()
    def round(self):
        z = self.z
        for t in range(STEPS, STEPS - self.steps, -1):
            time_column = torch.full(self.mask.shape, t / STEPS)
            eps = edge_list_egnn(self.weights, z, time_column, self.mask, self.layers)
            move = self.schedule.reverse(torch.tensor(t), torch.tensor(t - 1))
            z = move.mean_z.float() * z - move.mean_eps.float() * eps + move.noise.float() * self.noise(6)
            z = torch.cat([centre(z[..., :3], self.mask), z[..., 3:]], dim=-1)
            assert float(z[..., :3].sum(1).abs().max()) < 1e-1  # as EDM checks at every step
        return {"units": BATCH * self.steps}


class OurSampling:
    """Our step in the asynchronous stage, on buckets of nearly equal size."""

    def __init__(self, config, statistics, sizes, steps):
        self.steps, self.inside = steps, 0.0
        denoiser = new_denoiser(config, statistics).eval().requires_grad_(False)
        self.denoiser = with_precision(denoiser, config.sampler.precision)
        policy = Adaptive(start=STEPS, window=2, clamp=29, max_pauses=10)
        schedule, grid = NoiseSchedule(STEPS), sampling_grid(STEPS, STEPS)
        self.process = Process(self.timed, schedule, grid, policy)
        self.states = []
        for rows in size_buckets(sizes, lambda atoms: BATCH):
            ids = torch.from_numpy(rows)
            state = initial_state(torch.zeros_like(ids), ids, size_mask(sizes[rows]), 9, self.process)
            self.states.append(state)

    def timed(self, inputs):
        start = time.perf_counter()
        eps = self.denoiser(inputs)
        self.inside += time.perf_counter() - start
        return eps

    @torch.inference_mode()
    def round(self):
        self.inside, start = 0.0, time.perf_counter()
        for first in self.states:
            state = first
            for _ in range(self.steps):
                state = step(state, self.process)
        share = self.inside / (time.perf_counter() - start)
        return {"units": MOLECULES * self.steps, "network_share": share}


class ReferenceTraining:
    """EDM's training step on shuffled batches of 64, padded to the largest of the batch."""

    def __init__(self, config, statistics, sizes, batches):
        denoiser = new_denoiser(config, statistics)
        self.weights = dict(cast(nn.Module, denoiser.network).named_parameters())
        self.layers, self.batches = config.network.layers, batches
        parameters = list(self.weights.values())
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-4, amsgrad=True, weight_decay=1e-12)
        self.average = [p.detach().clone() for p in parameters]
        self.masks = [size_mask(sizes[i * BATCH : (i + 1) * BATCH]) for i in range(batches)]

    def round(self):
        for mask in self.masks:
            noise = torch.randn(*mask.shape, 9) * mask[..., None]
            target = torch.cat([centre(noise[..., :3], mask), noise[..., 3:]], dim=-1)
            time_column = torch.rand(len(mask), 1).expand(mask.shape)
            eps = edge_list_egnn(self.weights, target.clone(), time_column, mask, self.layers)
            loss = ((eps - target) ** 2).sum(dim=(1, 2)).mean() / (9 * mask.shape[1])
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
            self.optimizer.step()
            with torch.no_grad():
                for mean, weight in zip(self.average, self.weights.values(), strict=True):
                    mean.copy_(0.9999 * mean + 0.0001 * weight)
        return {"units": BATCH * self.batches}


class OurTraining:
    """Our training step on batches sorted by size; with few batches per round, evenly spaced over the sizes."""

    def __init__(self, config, statistics, sizes, batches):
        generator = np.random.default_rng(0)
        charges = [generator.choice(statistics.atom_numbers, size=n) for n in sizes]
        molecules = MoleculeSet.from_lists(charges, [generator.normal(size=(n, 3)) for n in sizes])
        self.trainer = Trainer.create(config, statistics, Workers.joined())
        plan = TrainingBatches(molecules, self.trainer.atom_types, BATCH, 0)
        ordered = sorted((plan.batch(i) for i in range(plan.per_epoch)), key=lambda batch: batch.mask.shape[1])
        spacing = plan.per_epoch // batches
        self.chosen = ordered[spacing // 2 :: spacing]

    def round(self):
        for batch in self.chosen:
            self.trainer.advance(batch)
        self.trainer.window.drain()
        return {"units": sum(len(batch.mask) for batch in self.chosen)}


if __name__ == "__main__":
    main(*sys.argv[1:])
