"""Throughput of the engine under 64 requests at different stages, beside one batch of 64 that start together.

    python benchmarks/staggered.py [--rounds 5]

Both run the same molecules (QM9's sizes) with the bundled checkpoint and its adaptive schedule on 100 steps. Staggered
means 64 clients that each want one molecule after the other and have begun at evenly spaced times: the engine is full,
its molecules are at all stages, and somebody joins or leaves at nearly every step. The figure is molecules times
network calls per second; the ratio is taken between neighbouring rounds. The last line is JSON.
"""

import argparse
import json
import time
from abc import ABC, abstractmethod

import torch
from speed import interval

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.common.cpu import tune_cpu
from ead_core.data.priors import draw_sizes
from ead_core.sampling.engine import Engine
from ead_core.sampling.requests import Request, sampler_config

CLIENTS, STEPS = 64, 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    tune_cpu()
    checkpoint = load_checkpoint("qm9-small")
    staggered, together = Staggered(checkpoint), Together(checkpoint)
    together.round()  # warm-up
    figures = [(staggered.round(), together.round()) for _ in range(rounds)]
    ratio = interval([ours / theirs for ours, theirs in figures])
    value, low, high = (ratio[key] for key in ("value", "low", "high"))
    print(f"64 staggered requests: {value:.2f} ({low:.2f}–{high:.2f}) of the throughput of one batch")
    print(json.dumps({"engine.staggered_ratio": ratio}))


class Load(ABC):
    """Counts molecules in network calls."""

    @abstractmethod
    def work(self) -> None:
        """One round."""

    def __init__(self, checkpoint):
        self.settings = sampler_config(checkpoint, {"steps": STEPS})
        self.sizes = draw_sizes(checkpoint.statistics, 0, torch.arange(CLIENTS)).tolist()
        self.engine, self.calls = Engine(checkpoint, CLIENTS, self.settings.memory_budget), 0
        checkpoint.denoiser.register_forward_hook(self.count)

    def count(self, module, inputs, output):
        self.calls += len(inputs[0].z)

    def round(self):
        """Molecules times network calls per second."""
        self.calls, start = 0, time.perf_counter()
        self.work()
        return self.calls / (time.perf_counter() - start)


class Together(Load):
    def work(self):
        self.engine.submit(Request(CLIENTS, self.settings, sizes=tuple(self.sizes)))
        while self.engine.busy:
            self.engine.step()


class Staggered(Load):
    def __init__(self, checkpoint):
        super().__init__(checkpoint)
        self.served, self.client_of = 0, {}
        for client in range(CLIENTS):
            self.ask(client)
            for _ in range(2):  # a molecule needs about two steps per client
                self.step()

    def ask(self, client):
        request_id = self.engine.submit(Request(1, self.settings, seed=self.served, sizes=(self.sizes[client],)))
        self.client_of[request_id] = client

    def step(self):
        for request_id in self.engine.step():
            self.served += 1
            self.ask(self.client_of.pop(request_id))

    def work(self):
        until = self.served + CLIENTS
        while self.served < until:
            self.step()


if __name__ == "__main__":
    main()
