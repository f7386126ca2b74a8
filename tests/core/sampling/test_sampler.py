"""The loop equals EDM's where it must, is equivariant as a whole, and keeps every promise on the way."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from ead_core.common.noise import Stream, normal
from ead_core.data.tensors import size_mask
from ead_core.diffusion.policy import Adaptive, Manual, Synchronous
from ead_core.errors import DataError
from ead_core.networks.inputs import DenoiserInput
from ead_core.sampling import sampler
from ead_core.sampling import state as states_module
from ead_core.sampling.prefix import load_branches, run_prefix, save_branches
from ead_core.sampling.sampler import decode, predict, step, trajectory
from ead_core.sampling.state import initial_state

CHANNELS = 8
STEPS = 30
SEED = 7
ADAPTIVE = Adaptive(start=15, window=2, clamp=167, max_pauses=10)  # five steps of 1000 levels / 30


class Stubborn(Adaptive):
    """An adaptive policy whose test never passes."""

    def wants_to_advance(self, now):
        return torch.zeros_like(now.mask)


class Content(Adaptive):
    """An adaptive policy whose test always passes."""

    def wants_to_advance(self, now):
        return torch.ones_like(now.mask)


def start(process, sizes=(6, 4), ids=None, dtype=torch.float64):
    ids = torch.arange(len(sizes)) if ids is None else torch.as_tensor(ids)
    return initial_state(torch.full_like(ids, SEED), ids, size_mask(sizes), CHANNELS, process, dtype)


def last(states):
    for state in states:
        final = state
    return final


def positions_of(end, process):
    return decode(end, predict(end, process), process)[0]


def edm_style(process, ids, n):
    """EDM's ancestral sampler for one molecule size, written from its description: scalar level, one loop."""
    f, top = process.schedule, process.schedule.steps
    alpha, sigma = f.alpha(torch.arange(top + 1)), f.sigma(torch.arange(top + 1))
    mask = torch.ones(len(ids), n, dtype=torch.bool)

    def noise(iteration, stream, channels=CHANNELS):
        draws = normal(SEED, ids, iteration, stream, (n, channels), torch.float64)
        draws[..., :3] -= draws[..., :3].mean(1, keepdim=True)
        return draws

    z = noise(0, Stream.PRIOR)
    for t in range(top, 0, -1):
        s = t - 1
        eps = process.denoiser(DenoiserInput(z, torch.full((len(ids), n), t), mask))
        alpha_ts = alpha[t] / alpha[s]
        sigma2_ts = 1 - alpha_ts**2
        z = z / alpha_ts - sigma2_ts / (alpha_ts * sigma[t]) * eps
        z = z + sigma2_ts.sqrt() * sigma[s] / sigma[t] * noise(top - t, Stream.STEP)
        z[..., :3] -= z[..., :3].mean(1, keepdim=True)
    eps = process.denoiser(DenoiserInput(z, torch.zeros(len(ids), n, dtype=torch.long), mask))
    x = (z - sigma[0] * eps)[..., :3] / alpha[0] + sigma[0] / alpha[0] * noise(0, Stream.DECODE, 3)
    return x, z


def test_synchronous_sampling_is_edm(make_process, denoiser):
    """With every level of T = 100; the denoiser is that of T = 1000, whose every tenth level is the same."""
    process = make_process(
        steps=100, levels=100, function=lambda inputs: denoiser(replace(inputs, levels=10 * inputs.levels))
    )
    ids = torch.tensor([3, 11])
    end = last(trajectory(start(process, (5, 5), ids), process))
    positions, features = decode(end, predict(end, process), process)
    expected, z = edm_style(process, ids, 5)
    assert float((end.z - z).abs().max()) < 1e-5
    assert float((positions - expected).abs().max()) < 1e-5
    assert float(positions.abs().max()) > 0.5
    assert torch.equal(features, end.z[..., 3:])
    assert end.iterations.tolist() == [100, 100]


def test_async_ratio_zero_is_synchronous_to_the_bit(make_process):
    plain, adaptive = make_process(), make_process(Adaptive(start=0, window=2, clamp=1000, max_pauses=10))
    for a, b in zip(trajectory(start(plain), plain), trajectory(start(adaptive), adaptive), strict=True):
        assert torch.equal(a.z, b.z)
        assert torch.equal(a.grid_index, b.grid_index)


class ClampedBySteps(Adaptive):
    """The rule for the full grid, whose steps are levels: who would be further behind is forced."""

    def advance(self, now):
        moving = now.mask & (now.grid_index > 0)
        willing = (now.grid_index > self.start) | self.wants_to_advance(now) | (now.pauses >= self.max_pauses)
        after = torch.where(now.mask, now.grid_index - (moving & willing).long(), STEPS)
        return moving & (willing | (now.grid_index - after.amin(dim=1, keepdim=True) > self.clamp))


def test_on_the_full_grid_a_level_of_the_clamp_is_a_step(make_process):
    settings = {"start": STEPS - 1, "window": 2, "clamp": 2, "max_pauses": 5}
    by_levels, by_steps = (
        make_process(policy(**settings), levels=STEPS, steps=STEPS) for policy in (Adaptive, ClampedBySteps)
    )
    begin, spread = start(by_levels, (6, 4, 6)), 0
    for a, b in zip(trajectory(begin, by_levels), trajectory(begin, by_steps), strict=True):
        assert torch.equal(a.z, b.z)
        spread = max(spread, int(a.grid_index[0].amax() - a.grid_index[0].amin()))
    assert spread == 2


def test_a_policy_that_always_advances_costs_one_call_per_step(make_process):
    process = make_process(Content(start=STEPS, window=2, clamp=1000, max_pauses=10))
    assert int(last(trajectory(start(process), process)).iterations.max()) == STEPS


def test_a_policy_that_never_advances_ends_through_patience(make_process):
    process = make_process(Stubborn(start=20, window=2, clamp=1000, max_pauses=3), steps=20)
    assert int(last(trajectory(start(process), process)).iterations.max()) == 20 * 4


@pytest.mark.parametrize("mode", ["repeat", "renoise", "hold"])
@pytest.mark.parametrize("policy", [ADAPTIVE, Stubborn(10, 167, 7, 2), Manual(STEPS, 2, 3)], ids=type)
def test_promises_on_the_way(make_process, mode, policy):
    """Centre kept, spread below the clamp, levels never rise, clean atoms move only with their frame."""
    process = make_process(policy, pause_mode=mode)
    before = start(process)
    clamp = getattr(policy, "clamp", 200)  # the pyramid of 6 atoms is 6 steps wide
    spread = 0
    for now in trajectory(before, process):
        assert float(now.z[..., :3].sum(1).abs().max()) < 1e-9
        moved = before.grid_index - now.grid_index
        assert set(moved.unique().tolist()) <= {0, 1}
        for b in range(len(now.ids)):
            levels = process.grid[now.grid_index[b][now.mask[b]]]
            spread = max(spread, int(levels.max() - levels.min()))
            clean = (before.grid_index[b] == 0) & now.mask[b]
            x0, x1 = before.z[b, clean], now.z[b, clean]
            assert torch.allclose(torch.cdist(x0[:, :3], x0[:, :3]), torch.cdist(x1[:, :3], x1[:, :3]))
            assert torch.equal(x0[:, 3:], x1[:, 3:])
        before = now
    assert spread <= clamp
    assert spread > 0 or isinstance(policy, Stubborn)  # all stubborn atoms lose patience together
    assert int(now.grid_index.max()) == 0


def histories(process, state):
    return history_of(trajectory(state, process))


def history_of(states):
    return torch.stack([now.grid_index for now in states])


def test_rotating_all_noise_rotates_the_molecules_and_not_the_schedule(make_process, monkeypatch):
    process = make_process(ADAPTIVE)
    plain = list(trajectory(start(process), process))
    places = positions_of(plain[-1], process)
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]

    def rotated(*args):
        draws = normal(*args)
        return torch.cat([draws[..., :3] @ rotation.T, draws[..., 3:]], dim=-1)

    for module in (sampler, states_module):
        monkeypatch.setattr(module, "normal", rotated)
    turned = list(trajectory(start(process), process))
    assert torch.equal(history_of(turned), history_of(plain))
    assert torch.allclose(positions_of(turned[-1], process), places @ rotation.T, atol=1e-9)
    assert len(plain) > STEPS


def test_permuting_all_noise_permutes_molecules_and_schedule(make_process, monkeypatch):
    process = make_process(ADAPTIVE)
    plain_history = histories(process, start(process, (6,)))
    order = torch.randperm(6)
    for module in (sampler, states_module):
        monkeypatch.setattr(module, "normal", lambda *args: normal(*args)[:, order])
    assert torch.equal(histories(process, start(process, (6,))), plain_history[..., order])


@pytest.mark.parametrize("policy", [Synchronous(), Manual(STEPS, 2, 3)], ids=type)
def test_a_molecule_does_not_depend_on_its_neighbours(make_process, policy):
    process = make_process(policy)
    together = last(trajectory(start(process, (6, 4, 5), (10, 11, 12)), process))
    alone = last(trajectory(start(process, (4,), (11,)), process))
    assert torch.allclose(together.z[1, :4], alone.z[0], atol=1e-10)


def test_float32_histories_match_across_batches(make_process, record_property):
    """Rounding may flip a decision; at least 99 % of the level histories must not change."""
    process = make_process(replace(ADAPTIVE, start=30), steps=60)
    sizes, ids = (6, 7, 5, 6) * 25, range(100)
    together = start(process, sizes, list(ids), torch.float32)
    whole = histories(process, together)
    matches = 0
    for rows in torch.arange(100).split(25):
        part = histories(process, together.select(rows))
        matches += int((part == whole[: len(part), rows]).all(dim=2).all(dim=0).sum())
    record_property("float32_match_rate", matches / 100)
    assert matches >= 99


def test_branching_from_the_prefix_is_exact(make_process, tmp_path):
    synchronous, adaptive = make_process(), make_process(ADAPTIVE)
    branches = run_prefix(start(synchronous), synchronous, {0, 15, STEPS})
    assert sorted(branches) == [0, 15, STEPS]
    save_branches(tmp_path / "bucket.safetensors", branches)
    stored = load_branches(tmp_path / "bucket.safetensors")
    direct = last(trajectory(start(adaptive), adaptive))
    branched = last(trajectory(stored[15].state, adaptive))
    assert torch.equal(direct.z, branched.z)
    assert torch.equal(direct.iterations, branched.iterations)
    assert int(direct.iterations.max()) > STEPS
    assert torch.equal(stored[0].state.z, last(trajectory(start(synchronous), synchronous)).z)
    assert stored[0].seconds == branches[0].seconds > stored[15].seconds > 0


def test_a_prefix_of_another_version_is_refused(make_process, tmp_path):
    process, path = make_process(steps=2), tmp_path / "bucket.safetensors"
    save_branches(path, run_prefix(start(process), process, {1}))
    tensors = load_file(path)
    del tensors["1.prediction"]
    save_file(tensors, path, metadata={"1": "0.5"})
    with pytest.raises(DataError, match=r"bucket\.safetensors is of another version of this program; delete it\."):
        load_branches(path)
    save_file(tensors, path, metadata={"format": "ead-prefix-2", "seconds": "{}"})
    with pytest.raises(DataError, match=r"of version ead-prefix-2; this program reads ead-prefix-1; delete it\.$"):
        load_branches(path)
    save_file(tensors, path, metadata={"format": "ead-prefix-1", "seconds": "{"})
    with pytest.raises(DataError, match=r"is not a stored prefix \(seconds: .*\); delete it\.$"):
        load_branches(path)


def test_a_prefix_of_the_first_form_is_read(make_process, tmp_path):
    process, path = make_process(steps=2), tmp_path / "bucket.safetensors"
    branches = run_prefix(start(process), process, {1})
    save_branches(path, branches)
    save_file(load_file(path), path, metadata={"1": "0.5"})
    (index, branch), *others = load_branches(path).items()
    assert (index, branch.seconds, others) == (1, 0.5, [])
    assert torch.equal(branch.state.z, branches[1].state.z)


def test_one_step_costs_one_call(make_process, denoiser):
    calls = []

    def counting(inputs):
        calls.append(inputs.levels)
        return denoiser(inputs)

    process = make_process(ADAPTIVE, pause_mode="renoise", function=counting)
    step(start(process), process)
    assert len(calls) == 1
