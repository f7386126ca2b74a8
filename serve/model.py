"""The model behind the service: requests of different clients share network calls."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ray import serve

from ead_core.cpu import tune_cpu
from ead_core.data.store import MoleculeSet
from ead_core.diffusion.engine import Request, sample_together
from ead_core.training.checkpoint import load_checkpoint
from serve.settings import ServeSettings

GATHER_SECONDS = 0.05  # small beside the seconds of a batch, long enough for clients that start together

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Made:
    """The answer to one request.

    Attributes:
        molecules: with the properties `id` and `nfe`. Times are left out, since they differ between equal requests.
        companions: how many requests were in the batch, this one included.
    """

    molecules: MoleculeSet
    companions: int


def count_molecules(requests: Sequence[Request]) -> int:
    """The size of a batch as Ray Serve should see it."""
    return sum(request.num for request in requests)


class Sampling:
    """Gathers requests into batches and samples them in a thread of its own, so that health checks get through.

    Args:
        settings: of the service, with the checkpoint located.
    """

    def __init__(self, settings: ServeSettings) -> None:
        tune_cpu(settings.threads)
        self._checkpoint = load_checkpoint(settings.checkpoint)
        self._checkpoint.denoiser.to("cuda" if settings.num_gpus else "cpu")
        self._worker = ThreadPoolExecutor(1)
        self._free = asyncio.Event()
        self._free.set()
        self._batch.set_max_batch_size(settings.batch_molecules)  # type: ignore[attr-defined]

    async def generate(self, request: Request) -> Made | None:
        """The molecules of a request that the border has admitted, or None after a failure, which is logged."""
        # Ray Serve closes a batch after GATHER_SECONDS even if it cannot run yet. A batch takes much longer than
        # that, so whoever comes meanwhile waits here and all of them share the next one.
        await self._free.wait()
        return await self._batch(request)

    @serve.batch(batch_wait_timeout_s=GATHER_SECONDS, batch_size_fn=count_molecules)
    async def _batch(self, requests: list[Request]) -> list[Made | None]:
        self._free.clear()
        try:
            loop = asyncio.get_running_loop()
            sets = await loop.run_in_executor(self._worker, self.sample, requests)
            return [Made(molecules, len(requests)) for molecules in sets]
        except Exception:
            # As a value, not an exception: Ray Serve would write the traceback once more for every caller.
            logger.exception("A batch of %d requests failed.", len(requests))
            return [None] * len(requests)
        finally:
            self._free.set()

    def sample(self, requests: list[Request]) -> list[MoleculeSet]:
        """A set per request, all of them made together."""
        return [_lasting(molecules) for molecules in sample_together(self._checkpoint, requests)]


def _lasting(molecules: MoleculeSet) -> MoleculeSet:
    properties = {name: molecules.properties[name] for name in ("id", "nfe")}
    return MoleculeSet(molecules.num_atoms, molecules.charges, molecules.positions, properties)
