"""Molecules with targets: told and guided alone as in company, at the price of the calls that they need."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.formats import read_molecules, write_molecules
from ead_core.data.targets import Targets
from ead_core.data.tensors import size_mask
from ead_core.errors import ConfigError
from ead_core.networks.inputs import DenoiserInput
from ead_core.networks.memory import GIB, call_bytes
from ead_core.sampling.build import build_process
from ead_core.sampling.engine import Engine
from ead_core.sampling.generation import complete, fulfil, sample
from ead_core.sampling.prefix import load_branches, run_prefix, save_branches
from ead_core.sampling.requests import Request, prepare, sampler_config
from ead_core.sampling.sampler import predict, trajectory
from ead_core.sampling.state import initial_state, join

STEPS = 20
GAP = Targets.of({"gap": 5500, "mu": (1, 3)})
ALPHA = Targets.of({"alpha": 30})


@pytest.fixture
def checkpoint(conditional):
    """Untrained, in float64 so that no decision depends on the batch; its context matters."""
    loaded = load_checkpoint(conditional)
    loaded.denoiser.network.embed.weight[:, -10:] += 0.3 * torch.randn(8, 10)
    loaded.denoiser.double()
    return loaded


@pytest.fixture
def calls(checkpoint):
    """Each network call so far: how many molecules, and of how many of them something is known."""
    seen = []

    def watch(module, inputs, output):
        context = inputs[0].context
        seen.append((len(inputs[0].z), 0 if context is None else int((context[:, 1::2] > 0).any(dim=1).sum())))

    checkpoint.denoiser.register_forward_hook(watch)
    return seen


def request(checkpoint, targets=None, num=2, seed=1, sizes=None, **settings):
    return Request(num, sampler_config(checkpoint, {"policy": "synchronous", **settings}), seed, 0, sizes, targets)


def run(engine):
    done = {}
    while engine.busy:
        done |= engine.step()
    return done


def state_of(checkpoint, asked):
    """The first states of a request's molecules, of one size, without the engine."""
    prepared = prepare(checkpoint, asked)
    process, start = prepared.process, prepared.start
    channels = 3 + checkpoint.atom_types.num_features
    seeds = torch.full_like(asked.ids, asked.seed)
    mask = size_mask(start.sizes)
    return initial_state(seeds, asked.ids, mask, channels, process, torch.float64, start.context), process


def test_a_guided_prediction_is_the_formula_of_two_calls(checkpoint):
    state, process = state_of(checkpoint, request(checkpoint, GAP, sizes=(6,), guidance=1.5))
    inputs = state.z, process.grid[state.grid_index], state.mask
    told, free = checkpoint.denoiser(DenoiserInput(*inputs, state.context)), checkpoint.denoiser(DenoiserInput(*inputs))
    assert torch.allclose(predict(state, process), 2.5 * told - 1.5 * free, atol=1e-12)
    assert float((told - free).abs().max()) > 1e-3
    assert torch.equal(predict(state, replace(process, guidance=0.0)), told)


def test_guidance_is_at_work_for_atoms_within_its_levels(checkpoint):
    state, process = state_of(
        checkpoint, request(checkpoint, GAP, sizes=(6,), guidance=1.5, guidance_levels=(0.2, 0.6))
    )
    state = replace(state, grid_index=torch.tensor([[0, 1, 2, 3, 4, 5]] * 2) * (len(process.grid) - 1) // 5)
    levels = process.grid[state.grid_index]
    told, free = (
        checkpoint.denoiser(DenoiserInput(state.z, levels, state.mask, state.context)),
        checkpoint.denoiser(DenoiserInput(state.z, levels, state.mask)),
    )
    eps, steps = predict(state, process), checkpoint.config.diffusion.steps
    inside = [0.2 * steps <= level <= 0.6 * steps for level in levels[0].tolist()]
    assert 0 < sum(inside) < 6
    for atom, guided in enumerate(inside):
        expected = 2.5 * told[:, atom] - 1.5 * free[:, atom] if guided else told[:, atom]
        assert torch.allclose(eps[:, atom], expected, atol=1e-12)


@pytest.mark.parametrize("guidance", [0.0, 2.0])
@pytest.mark.parametrize("levels", [(0.0, 1.0), (0.2, 0.5)])
def test_the_engine_goes_the_way_of_the_loop(checkpoint, guidance, levels):
    asked = request(checkpoint, GAP, sizes=(6,), guidance=guidance)
    asked = replace(asked, sampler=asked.sampler.model_copy(update={"guidance_levels": levels}))
    state, process = state_of(checkpoint, asked)
    *_, last = trajectory(state, process)
    made, resumed = fulfil(checkpoint, asked), complete(checkpoint, last, process)
    assert np.allclose(made.positions, resumed.positions, atol=1e-5)
    assert made.properties["nfe"].tolist() == resumed.properties["nfe"].tolist()


def test_targets_and_guidance_change_molecules(checkpoint):
    made = [fulfil(checkpoint, request(checkpoint, targets, sizes=(6,))) for targets in (None, GAP, ALPHA)]
    made.append(fulfil(checkpoint, request(checkpoint, GAP, sizes=(6,), guidance=3.0)))
    for index, one in enumerate(made):
        for other in made[:index]:
            assert np.abs(one.positions - other.positions).max() > 1e-3


def test_second_calls_are_made_for_those_who_need_them_and_count(checkpoint, calls):
    """Three requests of one size share the first call; of the second, only the guided with targets."""
    engine = Engine(checkpoint, 64, 1.0)
    asked = [
        request(checkpoint, GAP, sizes=(6,), guidance=2.0),
        request(checkpoint, None, num=3, sizes=(6,), guidance=2.0),
        request(checkpoint, ALPHA, num=4, sizes=(6,)),
    ]
    request_ids = [engine.submit(one) for one in asked]
    done = run(engine)
    assert calls == [(9, 6), (2, 0)] * (STEPS + 1)
    nfe = [set(done[request_id].properties["nfe"].tolist()) for request_id in request_ids]
    assert nfe == [{2 * STEPS + 2}, {STEPS + 1}, {STEPS + 1}]


def test_second_calls_are_made_only_where_an_atom_is_within_the_levels(checkpoint, calls):
    """Of 20 steps from T = 40, those at 10 … 20 are within: 6 of them. Both requests are at different ones."""
    engine = Engine(checkpoint, 64, 1.0)
    asked = request(checkpoint, GAP, sizes=(6,), guidance=2.0, guidance_levels=(0.25, 0.5))
    request_ids = [engine.submit(asked)]
    for _ in range(3):
        engine.step()
    request_ids.append(engine.submit(asked))
    done = run(engine)
    assert [done[request_id].properties["nfe"].tolist() for request_id in request_ids] == [[STEPS + 7] * 2] * 2
    assert sum(made for made, told in calls if not told) == 2 * 2 * 6
    assert calls.count((2, 0)) == 2 * 3  # three steps in which the other is beyond, before and after
    assert calls.count((4, 0)) == 3
    state, process = state_of(checkpoint, asked)
    *_, last = trajectory(state, process)
    assert (last.calls.tolist(), last.iterations.tolist()) == ([STEPS + 6] * 2, [STEPS] * 2)


def test_in_a_request_only_rows_with_targets_cost_twice(checkpoint, calls):
    nan = float("nan")
    rows = Targets(("gap",), (((6000, 6000),), ((nan, nan),)))
    made = fulfil(checkpoint, request(checkpoint, rows, num=4, sizes=(6,), guidance=1.0, batch_size=4))
    assert made.properties["nfe"].tolist() == [2 * STEPS + 2, STEPS + 1] * 2
    assert set(calls) == {(4, 2), (2, 0)}


def test_guidance_without_targets_changes_nothing(checkpoint, calls):
    plain, guided = (fulfil(checkpoint, request(checkpoint, sizes=(6,), guidance=w)) for w in (0.0, 5.0))
    assert np.array_equal(plain.positions, guided.positions)
    assert len(calls) == 2 * (STEPS + 1)
    assert list(guided.properties) == ["id", "nfe", "seconds"]


def test_requests_with_different_targets_made_together_are_those_made_alone(checkpoint):
    adaptive = {"policy": "adaptive", "async_ratio": 0.5, "steps": 10}
    formula = {"guidance": 2.0, "formula_restarts": 1, **adaptive}
    asked = [
        request(checkpoint, GAP, 2, guidance=2.0, **adaptive),
        request(checkpoint, GAP, 2, seed=2, guidance=1.0, steps=7),
        request(checkpoint, ALPHA, 2, sizes=(5, 9), **adaptive),
        request(checkpoint, None, 2, guidance=2.0, **adaptive),
        request(checkpoint, Targets.of({"atoms_C": 3, "atoms_O": 2}), 2, **formula),
    ]
    engine = Engine(checkpoint, 7, 1.0)
    request_ids = []
    for one in asked:
        request_ids.append(engine.submit(one))
        engine.step()
    done = run(engine)
    for one, request_id in zip(asked, request_ids, strict=True):
        alone, together = fulfil(checkpoint, one), done[request_id]
        assert np.array_equal(alone.num_atoms, together.num_atoms)
        assert np.allclose(alone.positions, together.positions, atol=1e-5)
        for name in alone.properties.keys() - {"seconds"}:
            assert np.array_equal(alone.properties[name], together.properties[name]), name


def test_a_second_call_holds_no_more_than_the_first(checkpoint, calls):
    engine = Engine(checkpoint, 64, 4.5 * call_bytes(checkpoint.denoiser, 9) / GIB)
    engine.submit(request(checkpoint, GAP, 6, sizes=(9,), guidance=1.0))
    engine.step()
    assert calls == [(4, 4), (4, 0), (2, 2), (2, 0)]


@pytest.mark.parametrize("width", [6, 10, 12])
def test_context_is_of_the_molecule_and_not_of_its_atoms(checkpoint, width):
    """Ten channels: a state of ten atoms must not be confused by that."""
    state, _ = state_of(checkpoint, request(checkpoint, GAP, sizes=(6,)))
    wide = state.resize(width)
    assert torch.equal(wide.context, state.context)
    assert wide.mask.shape == (2, width)
    assert torch.equal(join([state, state]).context, torch.cat([state.context] * 2))
    assert torch.equal(state.select(torch.tensor([1])).context, state.context[1:])


@pytest.mark.parametrize("targets", [None, GAP])
def test_a_stored_prefix_keeps_the_context(checkpoint, tmp_path, targets):
    state, process = state_of(checkpoint, request(checkpoint, targets, sizes=(6,), guidance=1.0))
    state = state if targets else replace(state, context=state.context[:, :0])
    save_branches(tmp_path / "b.safetensors", run_prefix(state, process, {0, 7}))
    branches = load_branches(tmp_path / "b.safetensors")
    assert torch.equal(branches[7].state.context, state.context)
    *_, last = trajectory(branches[7].state, process)
    assert torch.equal(last.z, branches[0].state.z)


def test_an_unconditional_model_cannot_be_guided(make_checkpoint):
    checkpoint = load_checkpoint(make_checkpoint())
    with pytest.raises(ConfigError) as error:
        build_process(checkpoint, sampler_config(checkpoint, {"guidance": 2}), 5)
    assert str(error.value) == (
        "sampler.guidance=2 needs a model that was trained with properties (conditioning.properties), which checkpoint "
        "was not; leave it at 0."
    )
    with pytest.raises(ConfigError, match=r"sampler\.guidance: must be less than or equal to 20, not 21"):
        sampler_config(checkpoint, {"guidance": 21})


def test_molecules_carry_what_was_asked_of_them(checkpoint):
    nan = float("nan")
    rows = Targets(("alpha", "gap"), (((30, 30), (nan, nan)), ((99, 99), (5000, 6000))))
    found = sample(checkpoint, 2, targets=rows, policy="synchronous").properties
    assert list(found) == ["id", "nfe", "seconds", "target_alpha", "target_gap", "warning"]
    assert found["target_alpha"].tolist() == [30, 99]
    assert np.isnan(found["target_gap"][0])
    assert 5000 <= found["target_gap"][1] <= 6000
    assert found["warning"][0] == ""
    assert found["warning"][1].startswith("alpha=99 is outside the training range 19")


@pytest.mark.parametrize("ending", [".npz", ".parquet", ".sdf", ".sdf.gz"])
def test_files_keep_what_was_asked(checkpoint, tmp_path, ending):
    made = sample(checkpoint, 2, targets=Targets(("alpha",), (((30, 30),), ((99.5, 99.5),))), policy="synchronous")
    write_molecules(made, tmp_path / f"m{ending}")
    read = read_molecules(tmp_path / f"m{ending}").molecules.properties
    assert np.allclose(read["target_alpha"], [30, 99.5])
    pairs = zip(made.properties["warning"].tolist(), read["warning"].tolist(), strict=True)
    assert all(found.startswith(told) if ".sdf" in ending else found == told for told, found in pairs)


def test_xyz_says_what_was_asked_in_its_comments(checkpoint, tmp_path):
    made = sample(checkpoint, 1, targets={"alpha": 99.5}, policy="synchronous", sizes=[2], beyond_training=True)
    write_molecules(made, tmp_path / "m.xyz")
    comment = (tmp_path / "m.xyz").read_text(encoding="utf-8").splitlines()[1]
    assert "target_alpha=99.5" in comment
    assert f'warning="{made.properties["warning"][0]}"' in comment
