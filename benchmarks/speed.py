"""How fast the core is beside EDM's way of computing, on the same machine in the same minutes.

    python benchmarks/speed.py [--rounds 5] [--sizes small,full] [--out bench.json]

Three processes, one computing as EDM does (edge lists, padding, default allocator) and two as we do, in float32 and
with bfloat16 products, work in turns on the same 1,024 QM9-sized molecules. A ratio is that of their seconds per
molecule and network step within a round; the median and the range over the rounds are reported. Peak memory is what a
process needed beyond its model.
The last row is the engine's throughput under requests that come one after the other (staggered.py); on a GPU the ways
of computing there follow (speed_gpu.py).
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import torch
from good_molecule_cost import CALLS

from ead_core.common.cpu import hardware

WORKER = Path(__file__).with_name("speed_worker.py")
TASKS = ("sampling", "training")
GIB = 2**30
# What users reckon with, from seconds per molecule and step.
PLAIN = {
    "sampling": ("seconds_per_sample", "s per sample at T = 1000", lambda seconds: CALLS * seconds),
    "training": ("molecules_per_second", "molecules/s", lambda seconds: 1 / seconds),
}


def main():
    options = arguments()
    made_on = f"{hardware()}, torch {torch.__version__}"
    print(made_on)
    print(f"{'':<22}{'EDM':>12}{'ours':>12}{'ratio':>8}{'range':>14}{'memory':>16}{'network':>9}   ours")
    report = {"hardware": made_on, "rounds": options.rounds}
    for task in TASKS:
        for size in options.sizes.split(","):
            report |= compare(task, size, options.rounds)
            save(report, options.out)  # what is measured stays
    for program in ("staggered.py", *(["speed_gpu.py"] if torch.cuda.is_available() else [])):
        report |= further(program, options.rounds)
        save(report, options.out)


def save(report, path):
    path.write_text(json.dumps(report, indent=1) + "\n")


def further(program, rounds):
    """The figures of another program of this folder, which prints its table and, as the last line, JSON."""
    command = [sys.executable, str(WORKER.with_name(program)), "--rounds", str(rounds)]
    *lines, figures = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    print(*lines, sep="\n", flush=True)
    return json.loads(figures)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="small,full", help="small (64 × 4), full (256 × 9)")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    return parser.parse_args()


def compare(task, size, rounds):
    """Flat figures of two rows, which are printed: those of float32, and with `.bf16` those of bfloat16 products."""
    sides = [start("reference", task, size), *(start("ours", task, size, precision) for precision in ("fp32", "bf16"))]
    reference, *ours = zip(*alternate(sides, rounds), strict=True)
    return {
        key: value
        for name, turns in zip((f"{task}.{size}", f"{task}.{size}.bf16"), ours, strict=True)
        for key, value in row(name, reference, turns).items()
    }


def row(name, theirs, ours):
    """Flat figures of one side beside the reference, both with a measurement per round."""
    seconds = [[turn["seconds"] for turn in side] for side in (theirs, ours)]
    plain, unit, convert = PLAIN[name.split(".")[0]]
    figures = {
        "ratio": [a / b for a, b in zip(*seconds, strict=True)],
        "reference_seconds": seconds[0],
        "seconds": seconds[1],
        "memory_ratio": [a["memory"] / b["memory"] for a, b in zip(theirs, ours, strict=True)],
        "memory_bytes": [turn["memory"] for turn in ours],
        plain: [convert(value) for value in seconds[1]],
    }
    if "network_share" in ours[0]:
        figures["network_share"] = [turn["network_share"] for turn in ours]
    result = {f"{name}.{key}": interval(values) for key, values in figures.items()}
    ratio, middle = result[f"{name}.ratio"], [1000 * statistics.median(side) for side in seconds]
    share = f"{100 * result[f'{name}.network_share']['value']:.1f} %" if "network_share" in figures else ""
    print(
        f"{name.replace('.', ' '):<22}{middle[0]:>9.2f} ms{middle[1]:>9.2f} ms{ratio['value']:>7.1f}×"
        f"{ratio['low']:>7.1f}–{ratio['high']:.1f}"
        f"{theirs[-1]['memory'] / GIB:>9.2f}/{ours[-1]['memory'] / GIB:.2f} GiB{share:>9}"
        f"   {statistics.median(figures[plain]):.3g} {unit}",
        flush=True,
    )
    return result


def start(role, task, size, precision="fp32"):
    command = [sys.executable, str(WORKER), role, task, size, precision]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def turn(process):
    process.stdin.write("go\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def alternate(processes, rounds):
    """The figures of each process in each round, after one round of warm-up (allocators, kernels); then they end."""
    _, *turns = [[turn(process) for process in processes] for _ in range(1 + rounds)]
    stop(processes)
    return turns


def stop(processes):
    for process in processes:
        process.stdin.close()
        process.wait()


def interval(values):
    return {"value": statistics.median(values), "low": min(values), "high": max(values)}


if __name__ == "__main__":
    main()
