"""How much faster or slower bf16 is than fp32, on the same machine in the same minutes.

    python benchmarks/precision_speed.py [--rounds 3] [--sizes small,full]

Three processes work in turns on the molecules of speed.py with EDM's network: fp32, bf16 as it is, and bf16 with the
edges computed by PyTorch instead of by the compiled operation, which rounds on CPUs with matrix tiles alone. A ratio is
that of the seconds of fp32 to those of bf16 within a round, above 1 where bf16 is faster; the median and the range over
the rounds are printed.
"""

import argparse
import os
import statistics

from speed import TASKS, alternate, hardware, interval, start

from ead_core.networks.native.library import VARIABLE

KINDS = {"fp32": ("fp32", "auto"), "bf16": ("bf16", "auto"), "bf16, edges too": ("bf16", "torch")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default="small,full", help="small (64 × 4), full (256 × 9)")
    options = parser.parse_args()
    print(hardware())
    for task in TASKS:
        for size in options.sizes.split(","):
            print(f"{task + ' ' + size:<18}", *compare(task, size, options.rounds), sep="  ", flush=True)


def compare(task, size, rounds):
    """A cell per kind: milliseconds per molecule and step; from the second on, the ratio to fp32 and its range."""
    workers = [worker(task, size, *kind) for kind in KINDS.values()]
    turns = [[figures["seconds"] for figures in row] for row in alternate(workers, rounds)]
    for name, seconds in zip(KINDS, zip(*turns, strict=True), strict=True):
        ratio = interval([first[0] / own for first, own in zip(turns, seconds, strict=True)])
        shown = "" if name == "fp32" else " {value:.2f}× ({low:.2f}–{high:.2f})".format(**ratio)
        yield f"{name}: {1000 * statistics.median(seconds):.2f} ms{shown}"


def worker(task, size, precision, kernel):
    os.environ[VARIABLE] = kernel  # inherited by the process
    return start("ours", task, size, precision)


if __name__ == "__main__":
    main()
