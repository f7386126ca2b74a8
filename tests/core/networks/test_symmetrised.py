"""Random frames make any backbone equivariant in law (SymDiff), unless they are composed as in the released code."""

import math
from pathlib import Path

import pytest
import torch

from ead_core.config import DiffusionConfig, NetworkConfig, load_config
from ead_core.data.tensors import centre, centre_state, size_mask
from ead_core.diffusion.corruption import corrupt
from ead_core.diffusion.gauge import GAUGES
from ead_core.diffusion.loss import noise_loss
from ead_core.diffusion.schedule import build_schedule
from ead_core.networks import symmetrised
from ead_core.networks.denoiser import build_denoiser
from ead_core.networks.inputs import DenoiserInput
from ead_core.networks.precision import with_precision
from ead_core.networks.symmetrised import haar, orthonormal

CONFIGS = Path(__file__).parents[3] / "configs"
FEATURES = 6
KINDS = ["dit", "egnn_vector"]
MASK = size_mask([7, 5, 1])


@pytest.fixture
def make_denoiser():
    """In double precision, with weights so far from their start that the frame depends much on the molecule."""

    def make(kind="dit", **settings):
        torch.manual_seed(0)
        sizes = {"hidden_features": 16, "layers": 2, "edge_features": 8, "vectors": 2}
        frames = {"frame_features": 16, "frame_layers": 2, "frame_heads": 2}
        config = NetworkConfig(kind=kind, **{"symmetrise": "learned", **sizes, **frames, **settings})
        denoiser = build_denoiser(config, FEATURES, 1000).double()
        for name, parameter in denoiser.named_parameters():
            parameter.data.add_((1.0 if "frames" in name else 0.3) * torch.randn_like(parameter))
        return denoiser.requires_grad_(False)

    return make


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(3, 7, 3 + FEATURES, generator=generator, dtype=torch.float64)
    levels = torch.randint(0, 1001, (3, 7), generator=generator)
    return DenoiserInput(centre_state(z, MASK), levels, MASK, draws=torch.rand(3, 6, generator=generator).double())


def turned(state, matrix):
    return torch.cat([state[..., :3] @ matrix, state[..., 3:]], dim=-1)


def changed(inputs, **changes):
    return DenoiserInput(**{**vars(inputs), **changes})


@pytest.fixture
def turn_frames(monkeypatch):
    """Makes all uniform frames G into Sᵀ G."""

    def turn(matrix):
        monkeypatch.setattr(symmetrised, "haar", lambda draws: matrix.mT @ haar(draws))

    return turn


def drawn(count, seed=0):
    return haar(torch.rand((count, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


@pytest.mark.parametrize(
    ("recipe", "changes", "millions"),
    [
        (
            "qm9_symdiff",
            [],
            31.05,
        ),  # 31.20 of the released code, which shares the Gaussians and splits tokens 184 : 200
        ("qm9_symdiff", ["network.symmetrise=haar"], 28.87),
        ("qm9_symdiff_small", [], 3.78),
    ],
)
def test_recipes_have_the_published_sizes(recipe, changes, millions):
    config = load_config(CONFIGS / f"{recipe}.yaml", changes)
    network = build_denoiser(config.network, FEATURES, 1000)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2) == millions


def test_uniform_frames_are_orthogonal_and_of_both_hands():
    """The moments of Haar's measure on O(3): E[G] = 0, E[G_ij²] = 1/3, E[G_ij⁴] = 1/5."""
    frames = drawn(20_000)
    assert torch.allclose(frames.mT @ frames, torch.eye(3, dtype=torch.float64).expand_as(frames), atol=1e-12)
    determinants = torch.linalg.det(frames)
    assert torch.allclose(determinants.abs(), torch.ones_like(determinants))
    assert abs(float(determinants.mean())) < 4 / math.sqrt(20_000)
    for power, value in ((1, 0), (2, 1 / 3), (3, 0), (4, 1 / 5)):
        assert torch.allclose((frames**power).mean(0), torch.full((3, 3), float(value)).double(), atol=0.02)


def test_orthonormal_is_the_q_of_qr_with_positive_diagonal():
    matrices = torch.randn(50, 3, 3, dtype=torch.float64)
    q, r = torch.linalg.qr(matrices)
    assert torch.allclose(orthonormal(matrices), q * r.diagonal(dim1=1, dim2=2).sign()[:, None, :], atol=1e-10)


def test_degenerate_matrices_have_frames_and_finite_gradients():
    """Nothing, parallel columns, a last column in the plane of the others, one tiny column, and one so large."""
    e1, e2, e3 = torch.eye(3)
    columns = [
        (0 * e1,) * 3,
        (e1, e1, e2),
        (e3, -2 * e3, e3),
        (e1, e2, e1 + e2),
        (1e-9 * e1, e2, e3),
        (1e9 * e1, e2, e3),
    ]
    matrices = torch.stack([torch.stack(three, dim=1) for three in columns]).requires_grad_()
    frames = orthonormal(matrices)
    assert frames.dtype == torch.float32
    assert torch.allclose(frames.mT @ frames, torch.eye(3).expand_as(frames), atol=1e-5)
    frames.pow(3).sum().backward()
    assert matrices.grad.isfinite().all()


def test_the_frame_depends_on_the_molecule_and_the_times_of_its_atoms(make_denoiser, inputs):
    """Else the tests below could not tell the orders of composition apart."""
    frames, x, time = make_denoiser().network.frames, inputs.z[..., :3], inputs.levels / 1000.0
    drawn_alike = inputs.draws[:1].expand(3, -1)
    found = frames(x, time.double(), MASK, drawn_alike)
    assert float((found[0] - found[1]).abs().max()) > 0.2
    assert float((found - frames(x, 1 - time.double(), MASK, drawn_alike)).abs().max()) > 0.05


@pytest.mark.parametrize(
    ("kind", "settings", "equivariant"),
    [
        ("dit", {"symmetrise": "haar"}, True),
        ("dit", {"compose": "corrected"}, True),
        ("dit", {"compose": "corrected", "modulation": "block"}, True),
        ("egnn_vector", {"compose": "corrected"}, True),
        ("dit", {"compose": "released"}, False),
    ],
    ids=["haar", "corrected", "block", "egnn_vector", "released"],
)
def test_turned_molecules_in_turned_frames_have_turned_predictions(
    make_denoiser, inputs, turn_frames, kind, settings, equivariant
):
    """Path by path: with Sᵀ G in place of G, the prediction of x S is that of x, times S; not in the released order."""
    denoiser, matrix = make_denoiser(kind, **settings), drawn(1, seed=5)
    inputs = changed(inputs, draws=inputs.draws[:, : denoiser.network.num_draws])
    before = denoiser(inputs)
    turn_frames(matrix)
    after = denoiser(changed(inputs, z=turned(inputs.z, matrix)))
    error = float((turned(before, matrix) - after).abs().max() / before.abs().max())
    assert error < 1e-5 if equivariant else error > 0.1


@pytest.mark.parametrize(("compose", "equivariant"), [("corrected", True), ("released", False)])
def test_turned_molecules_have_turned_predictions_on_average(make_denoiser, inputs, monkeypatch, compose, equivariant):
    """Means and second moments over 4,000 draws, in standard errors, with frames that depend much on the molecule."""
    count, matrix = 4000, drawn(1, seed=5)
    weights = torch.randn(5, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def seen(frames, x, time, mask, noise):
        return orthonormal((x + 0.3 * noise).mT @ weights)

    monkeypatch.setattr(symmetrised.LearnedFrames, "_answer", seen)
    denoiser, generator = make_denoiser(compose=compose, layers=1), torch.Generator().manual_seed(2)

    def moments(z):
        levels, mask = inputs.levels[1:2, :5].expand(count, -1), MASK[1:2, :5].expand(count, -1)
        draws = torch.rand((count, 6), generator=generator, dtype=torch.float64)
        return denoiser(DenoiserInput(z[1:2, :5].expand(count, -1, -1), levels, mask, draws=draws))

    plain, moved = turned(moments(inputs.z), matrix), moments(turned(inputs.z, matrix))
    both = torch.stack([plain, plain**2]), torch.stack([moved, moved**2])
    error = torch.sqrt(sum(each.var(dim=1) for each in both) / count)
    worst = float(((both[0].mean(dim=1) - both[1].mean(dim=1)).abs() / error).max())
    assert worst < 4.5 if equivariant else worst > 20


def test_without_frames_turned_molecules_have_other_predictions(make_denoiser, inputs):
    denoiser, matrix = make_denoiser(symmetrise="none"), drawn(1, seed=5)
    inputs = changed(inputs, draws=None)
    before, after = denoiser(inputs), denoiser(changed(inputs, z=turned(inputs.z, matrix)))
    assert float((turned(before, matrix) - after).abs().max() / before.abs().max()) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_atoms_means_nothing_if_their_noise_goes_with_them(make_denoiser, inputs, monkeypatch, kind):
    order, noise = torch.randperm(7), symmetrised.atom_noise
    whole = DenoiserInput(inputs.z[:1], inputs.levels[:1], MASK[:1], draws=inputs.draws[:1])
    denoiser = make_denoiser(kind)
    before = denoiser(whole)
    monkeypatch.setattr(symmetrised, "atom_noise", lambda draws, atoms: noise(draws, atoms)[:, order])
    after = denoiser(changed(whole, z=whole.z[:, order], levels=whole.levels[:, order]))
    assert torch.allclose(before[:, order], after, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_molecule_does_not_depend_on_its_batch_or_its_padding(make_denoiser, inputs, kind):
    denoiser, junk = make_denoiser(kind), inputs.z.clone()
    junk[~MASK] = 1e3
    alone = DenoiserInput(inputs.z[1:2, :5], inputs.levels[1:2, :5], MASK[1:2, :5], draws=inputs.draws[1:2])
    wide = denoiser(changed(inputs, z=junk))
    assert torch.allclose(wide[1, :5], denoiser(alone)[0], atol=1e-9)
    assert not wide[~MASK].any()


@pytest.mark.parametrize("kind", KINDS)
def test_where_a_molecule_is_means_nothing_and_predictions_are_centred(make_denoiser, inputs, kind):
    denoiser = make_denoiser(kind)
    predicted = denoiser(inputs)
    shift = torch.tensor([3.0, -1, 2, *[0] * FEATURES]) * MASK[..., None]
    assert torch.allclose(denoiser(changed(inputs, z=inputs.z + shift)), predicted, atol=1e-9)
    assert float(predicted[..., :3].sum(dim=1).abs().max()) < 1e-10


def test_the_loss_is_that_of_the_backbone_in_its_frame(make_denoiser):
    """‖ε − k(x Γ) Γᵀ‖ = ‖ε Γ − k(x Γ)‖, since Γ is orthogonal (SymDiff, its objective)."""
    denoiser = make_denoiser()
    schedule, generator = build_schedule(DiffusionConfig()), torch.Generator().manual_seed(3)
    gauge, levels = GAUGES["z"](schedule), torch.randint(0, 1001, (3, 7), generator=generator)
    state = centre_state(torch.randn(3, 7, 3 + FEATURES, dtype=torch.float64), MASK)
    noised = corrupt(state, levels, MASK, gauge, generator)
    draws, network, real = torch.rand(3, 6).double(), denoiser.network, MASK[..., None]
    whole = noise_loss(denoiser(DenoiserInput(noised.z, levels, MASK, draws=draws)), noised, MASK, torch.ones(3, 7))
    x, time = noised.z[..., :3], levels / 1000
    frame = network.frames(x, time.double(), MASK, draws)
    moved, features = network.backbone(x @ frame, noised.z[..., 3:], time.double(), MASK)
    squared = (noised.eps[..., :3] @ frame - centre(moved, MASK)).square().sum((1, 2))
    kept = (noised.eps[..., 3:] - features).square() * (levels > 0)[..., None] * real
    expected = (squared + kept.sum((1, 2))) / (2 * (3 + FEATURES) * MASK.sum(1))
    assert torch.allclose(whole, expected)


def test_in_bf16_frames_are_those_of_fp32(make_denoiser, inputs):
    denoiser, given = make_denoiser().float(), changed(inputs, z=inputs.z.float(), draws=inputs.draws.float())
    frames = []
    denoiser.network.frames.register_forward_hook(lambda module, inputs, output: frames.append(output))
    exact, rounded = (with_precision(denoiser, precision)(given) for precision in ("fp32", "bf16"))
    assert torch.equal(*frames)
    assert 1e-4 < float((exact - rounded).norm() / exact.norm()) < 0.03


def test_the_frame_learns():
    """Its weights get gradients through the turned coordinates; only the gates are zero at the start."""
    torch.manual_seed(0)
    sizes = {"hidden_features": 16, "layers": 1, "edge_features": 8, "frame_features": 16, "frame_layers": 1}
    denoiser = build_denoiser(NetworkConfig(kind="dit", symmetrise="learned", **sizes), FEATURES, 1000)
    torch.nn.init.normal_(denoiser.network.output_layer.weight)
    z = centre_state(torch.randn(3, 7, 3 + FEATURES), MASK)
    denoiser(DenoiserInput(z, torch.full((3, 7), 500), MASK, draws=torch.rand(3, 6))).square().sum().backward()
    gradients = {name: p.grad for name, p in denoiser.network.frames.named_parameters()}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert gradients["readout.2.weight"].any()
    assert gradients["blocks.shared.weight"].any()
