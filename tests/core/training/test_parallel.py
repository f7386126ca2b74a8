"""Two workers take the very steps of one: shares, agreements, and whole runs in double precision."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.errors import DataError
from ead_core.sampling.generation import sample
from ead_core.training.fit import fit
from ead_core.training.parallel import Workers
from ead_core.training.progress import PROGRESS, steps_done
from ead_core.training.quality import sample_together

CPU = torch.device("cpu")
RUNS = {
    "even": {"training.steps": 7},
    "uneven": {"training.steps": 6, "training.batch_size": 5},
    "idle": {"training.steps": 3, "training.batch_size": 1},
    "egnn": {"training.steps": 3, "network.kind": "egnn"},
    "muon": {"training.steps": 3, "training.optimizer": "muon"},
    "fragments": {"training.steps": 4, "training.fragments": 0.5},
    "watched": {"training.steps": 4, "training.evaluate_every": 2, "diffusion.steps": 10},
    "stopped": {"training.steps": 100_000, "training.max_seconds": 0.01},
}


def take_part(rank, molecules, statistics, configs, out):
    """What each process does: all of the runs, and then what one of them refuses."""
    torch.distributed.init_process_group("gloo", f"file://{out}/meeting", rank=rank, world_size=2)
    for name, config in configs.items():
        published, rows = [], []

        def check(network, step, config=config):
            made = sample_together(Checkpoint("", config, statistics, network), 5)
            return {"positions": made.positions.tolist()}

        evaluate = check if name == "watched" else None
        fit(config, molecules, statistics, out / f"{name}-{rank}", rows.append, evaluate, published.append)
        assert len(published) == 1
        (out / f"{name}-{rank}.json").write_text(json.dumps([row for row in rows if "positions" in row]))

    def prepare():
        if rank == 1:
            raise DataError("there is no data here.")

    with pytest.raises(DataError) as error:
        Workers.joined().together(prepare)
    (out / f"told-{rank}").write_text(str(error.value))
    assert Workers.joined().together(lambda: 10 * rank) == 10 * rank
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("batch", [1, 5, 8])
def test_the_average_of_the_shares_is_the_mean_of_the_batch(size, batch):
    losses = torch.rand(batch, dtype=torch.float64)
    shares = [Workers(rank, size, CPU).share(batch) for rank in range(size)]
    mean = sum(factor * losses[rows].sum() for rows, factor in shares) / size
    assert float(mean) == pytest.approx(float(losses.mean()), rel=1e-7)
    assert sorted(int(row) for rows, factor in shares if factor for row in rows) == list(range(batch))


def test_a_single_worker_has_its_own_way():
    alone = Workers.joined()
    assert (alone.rank, alone.size, alone.leads) == (0, 1, True)
    assert alone.agree(True, False) == [True, False]
    assert all(alone.meet(step) for step in range(5))


@pytest.fixture(scope="module")
def pair(make_config, molecules, statistics, tmp_path_factory, copies):
    """Folders of all RUNS, each made by two processes, which meet at a file: a free port may be taken meanwhile."""
    folder = tmp_path_factory.mktemp("pair")
    configs = {name: config(make_config, changes) for name, changes in RUNS.items()}
    shared = (molecules, statistics, configs, folder)
    processes = [copies.Process(target=take_part, args=(rank, *shared)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    for process in processes:
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0]
    return folder


def config(make_config, changes):
    return make_config({"training.precision": "fp64", "data.split": "seeded", **changes})


@pytest.mark.parametrize("name", ["even", "uneven", "idle", "egnn", "muon"])
def test_two_workers_take_the_steps_of_one(pair, make_config, molecules, statistics, tmp_path, name):
    alone = load_file(fit(config(make_config, RUNS[name]), molecules, statistics, tmp_path / "run") / PROGRESS)
    together = load_file(pair / f"{name}-0" / PROGRESS)
    assert alone.keys() == together.keys()
    for key, tensor in alone.items():
        assert together[key].dtype == tensor.dtype
        np.testing.assert_allclose(together[key], tensor, rtol=1e-9, atol=1e-11)
    assert not (pair / f"{name}-1").exists()


def test_workers_sample_together_what_one_samples_alone(pair, make_config, molecules, statistics, tmp_path):
    rows, settings = [], config(make_config, RUNS["watched"])

    def check(network, step):
        return {"positions": sample(Checkpoint("", settings, statistics, network), 5, policy="synchronous").positions}

    fit(settings, molecules, statistics, tmp_path / "run", rows.append, check)
    alone = [row for row in rows if "positions" in row]
    for rank in range(2):
        together = json.loads((pair / f"watched-{rank}.json").read_text())
        assert [row["step"] for row in together] == [row["step"] for row in alone] == [2, 4]
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(other["positions"], one["positions"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_parts_are_in_the_order_of_ranks_and_nearly_equal(size):
    parts = [Workers(rank, size, CPU).part(7) for rank in range(size)]
    assert [index for part in parts for index in part] == list(range(7))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_what_one_worker_refuses_all_refuse(pair):
    assert [(pair / f"told-{rank}").read_text() for rank in range(2)] == 2 * ["there is no data here."]


def test_workers_end_at_the_same_step(pair):
    """A time limit is reached by one worker first; had the other gone on, it would have waited for ever."""
    assert steps_done(pair / "stopped-0") % 10 == 0
    assert steps_done(pair / "stopped-0") > 0
