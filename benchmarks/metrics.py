"""Molecules per second of the metrics: plain loops per molecule against the vectorised code, side by side.

    python benchmarks/metrics.py --data qm9.npz [--molecules 1000] [--rounds 5] [--workers 1]

Both get the same molecules in turns and must give the same answers; medians are compared. With one process
the clock is its CPU time, so that a busy machine does not count; with more it is the time on the wall. The
plain form is `reference_metrics.py`, which is already faster than EDM's published code.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from reference_metrics import protocol, stable_atoms, valid_smiles

from ead_core.data.store import MoleculeSet, load_npz
from ead_core.evaluation.protocols import SHARES
from ead_core.evaluation.published import evaluate_published
from ead_core.evaluation.smiles import smiles_of
from ead_core.evaluation.stability import stability

NOISE = 0.03  # Å; generated molecules have all outcomes, the data only one


def main():
    options = arguments()
    molecules = shaken(load_npz(options.data), options.molecules)
    plain = [molecules.molecule(i) for i in range(len(molecules))]
    workers = options.workers
    tasks = {
        "stability": (
            lambda: [sum(stable_atoms(*molecule)) for molecule in plain],
            lambda: list(stability(molecules).stable_atoms),
        ),
        "SMILES (RDKit)": (
            lambda: [valid_smiles(*molecule) for molecule in plain],
            lambda: smiles_of(molecules, workers),
        ),
        "whole protocol": (
            lambda: figures(protocol(plain, set())),
            lambda: figures(evaluate_published(molecules, set(), workers=workers).card.to_json()),
        ),
    }
    print(f"{len(molecules)} molecules, median of {options.rounds} rounds, {workers} process(es)")
    print(f"{'':<16}{'plain':>10}{'ours':>12}{'ratio':>9}")
    clock = time.process_time if workers == 1 else time.perf_counter
    for name, pair in tasks.items():
        slow, fast = (len(molecules) / seconds for seconds in race(*pair, options.rounds, clock))
        print(f"{name:<16}{slow:>8.0f}/s{fast:>10.0f}/s{fast / slow:>8.1f}×")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="canonical store of H, C, N, O, F molecules")
    parser.add_argument("--molecules", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    return parser.parse_args()


def shaken(data, count):
    """A random choice of the data with noise."""
    rng = np.random.default_rng(0)
    chosen = data.select(rng.permutation(len(data))[:count])
    noise = NOISE * rng.normal(size=chosen.positions.shape)
    return MoleculeSet(chosen.num_atoms, chosen.charges, chosen.positions + noise)


def figures(document):
    return [round(document[name], 12) for name in SHARES]


def race(reference, ours, rounds, clock):
    """Median seconds of both, in turns; their answers must agree."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        answers = []
        for task, seconds in zip((reference, ours), times, strict=True):
            start = clock()
            answers.append(task())
            seconds.append(clock() - start)
        if answers[0] != answers[1]:
            raise SystemExit("the two disagree")
    return map(statistics.median, times)


if __name__ == "__main__":
    main()
