"""The ways that are compared with a campaign: `engine`, `ray-data` and others, a program for each.

    python benchmarks/campaign_throughput_ways.py WAY CHECKPOINT SHARDS SIZE OUT [PRESET]    (of campaign_throughput.py)

`engine` samples in two processes of one thread each and writes nothing; it prints a line per shard. `engine-smiles`
finds the SMILES of the molecules, too, which a campaign writes. `ray-data` has two actors behind `map_batches` and lets
Ray Data write its rows, a file per shard; `ray-data-resumed` also keeps Ray Data's own record of the rows that are
written (`CheckpointConfig`, an alpha interface), by which it goes on.
"""

import functools
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.chemistry.identity import perceived_smiles
from ead_core.common.cpu import tune_cpu
from ead_core.data.store import MoleculeSet
from ead_core.sampling.generation import fulfil
from ead_core.sampling.requests import Request, sampler_config

WORKERS = 2


class Sampler:
    """Makes the molecules of a shard."""

    def __init__(self, name: str, size: int, preset: str | None) -> None:
        tune_cpu(1)
        self._checkpoint, self._size = load_checkpoint(name), size
        self._settings = sampler_config(self._checkpoint, {}, preset)

    def made(self, first: int) -> MoleculeSet:
        """The molecules of the shard that begins with an id."""
        return fulfil(self._checkpoint, Request(self._size, self._settings, 0, first))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """As Ray Data wants it: the columns that a campaign writes, of the ids in a batch."""
        molecules = self.made(int(batch["id"][0]))
        assert molecules.properties["id"].tolist() == batch["id"].tolist()
        each = [molecules.molecule(index) for index in range(len(molecules))]
        columns = {"elements": [atoms for atoms, _ in each], "positions": [places.ravel() for _, places in each]}
        rows = {name: _objects(values) for name, values in columns.items()}
        named = {name: molecules.properties[name] for name in ("id", "nfe")}
        return {**rows, **named, "smiles": np.array(perceived_smiles(molecules))}


def _objects(values: list[Any]) -> np.ndarray:
    """An array of arrays of different lengths."""
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


_sampler: Sampler


def _begin(*about: Any) -> None:
    global _sampler  # noqa: PLW0603 (of a process that has no other use)
    _sampler = Sampler(*about)


def _shard(first: int, smiles: bool) -> int:
    molecules = _sampler.made(first)
    return len(perceived_smiles(molecules) if smiles else molecules)


def engine(name: str, shards: int, size: int, out: Path, preset: str | None, smiles: bool = False) -> None:
    """The engine alone."""
    with ProcessPoolExecutor(WORKERS, get_context("spawn"), _begin, (name, size, preset)) as pool:
        for done in as_completed([pool.submit(_shard, size * number, smiles) for number in range(shards)]):
            print(f"shard of {done.result()}", flush=True)


def ray_data(name: str, shards: int, size: int, out: Path, preset: str | None, resumed: bool = False) -> None:
    """The same by Ray Data."""
    import ray
    from ray.data.checkpoint import CheckpointConfig

    ray.init(address="local", num_cpus=2 * WORKERS, include_dashboard=False, object_store_memory=400_000_000)
    if resumed:
        record = CheckpointConfig("id", str(out.with_name("record")), delete_checkpoint_on_success=False)
        ray.data.DataContext.get_current().checkpoint_config = record
    ids = ray.data.range(shards * size, override_num_blocks=shards)
    made = ids.map_batches(Sampler, fn_constructor_args=(name, size, preset), batch_size=size, concurrency=WORKERS)
    made.write_parquet(str(out))


WAYS: dict[str, Callable[..., None]] = {
    "engine": engine,
    "engine-smiles": functools.partial(engine, smiles=True),
    "ray-data": ray_data,
    "ray-data-resumed": functools.partial(ray_data, resumed=True),
}

if __name__ == "__main__":
    way, model, *counts, folder, wanted = [*sys.argv[1:], ""][:6]
    WAYS[way](model, *map(int, counts), Path(folder), wanted or None)
