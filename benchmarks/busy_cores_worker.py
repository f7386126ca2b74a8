"""A turn of sampling for busy_cores.py: prints molecules per second, once all streams are ready.

python benchmarks/busy_cores_worker.py CHECKPOINT NUM STREAMS THREADS
"""

import sys
import time

import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.common.cpu import tune_cpu
from ead_core.sampling.pieces import cut
from ead_core.sampling.requests import Request, prepare, sampler_config
from ead_core.sampling.streams import PIECES, Streams

SIZE = 18  # atoms, about the mean of QM9; of all molecules, so that all rows make the same calls
FEW = {"policy": "synchronous", "steps": 50, "grid": "quadratic", "solver": "dpmpp_2m_sde"}


def main() -> None:
    """One turn."""
    name, (num, count, threads) = sys.argv[1], map(int, sys.argv[2:])
    tune_cpu(threads)
    torch.set_num_threads(threads)
    model = load_checkpoint(name)
    settings = sampler_config(model, FEW)
    warm, work = (prepare(model, Request(n, settings, sizes=(SIZE,))) for n in (2, num))
    with Streams(model, settings, count) as streams:
        for piece in cut(warm, 2):  # compiles, where nothing has been compiled yet
            streams.submit(piece)
        while streams.busy or not streams.ready:
            streams.step()
        start = time.perf_counter()
        for piece in cut(work, settings.batch_size // PIECES):
            streams.submit(piece)
        while streams.busy:
            streams.step()
        print(num / (time.perf_counter() - start))


if __name__ == "__main__":
    main()
