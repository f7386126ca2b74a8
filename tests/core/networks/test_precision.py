"""bf16 rounds the network and nothing else; which precision a setting stands for."""

import pytest
import torch

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import NetworkConfig
from ead_core.data.batching import TrainingBatches
from ead_core.data.tensors import centre_state, size_mask
from ead_core.errors import ConfigError
from ead_core.networks import edges
from ead_core.networks.backbones import BACKBONES
from ead_core.networks.denoiser import build_denoiser
from ead_core.networks.edges import EdgeWeights, edge_network
from ead_core.networks.inputs import DenoiserInput
from ead_core.networks.native import library as native
from ead_core.networks.precision import choose, weight_type, with_precision
from ead_core.sampling.engine import Engine
from ead_core.sampling.generation import sample
from ead_core.sampling.requests import Request, sampler_config
from ead_core.training.parallel import Workers
from ead_core.training.trainer import Trainer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
ALONE = Workers(0, 1, CPU)
ROUNDING = 0.02  # relative; bfloat16 has 8 bits


@pytest.fixture(params=BACKBONES)
def denoiser(request):
    config = NetworkConfig(kind=request.param, hidden_features=32, layers=3, edge_features=16, vectors=4)
    network = build_denoiser(config, 6, 1000)
    for parameter in network.parameters():  # away from zero initialisation, where little is computed
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return network


def relative(a, b):
    return float((a - b).norm() / b.norm())


def prediction_and_gradient(denoiser, precision, inputs):
    denoiser.zero_grad()
    predicted = with_precision(denoiser, precision)(DenoiserInput(*inputs))
    predicted.square().sum().backward()
    gradients = [p.grad for p in denoiser.parameters() if p.grad is not None]
    assert {tensor.dtype for tensor in (predicted, *gradients, *denoiser.parameters())} == {torch.float32}
    return predicted.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def test_predictions_and_gradients_are_those_of_fp32_to_rounding(kernel, denoiser):
    mask = size_mask([7, 5, 1])
    inputs = centre_state(torch.randn(3, 7, 9), mask), torch.randint(0, 1001, (3, 7)), mask
    exact, rounded = (prediction_and_gradient(denoiser, precision, inputs) for precision in ("fp32", "bf16"))
    for ours, theirs in zip(rounded, exact, strict=True):
        assert 1e-4 < relative(ours, theirs) < ROUNDING
    assert float(rounded[0][..., :3].sum(dim=1).abs().max()) < 1e-4


@pytest.mark.parametrize("basis", [1, 16])
@pytest.mark.parametrize("gathers", [True, False])
def test_the_edge_operation_rounds_all_but_the_distances(monkeypatch, make_inputs, make_edges, gathers, basis):
    monkeypatch.setenv(native.VARIABLE, "torch")
    inputs, pairs = make_inputs((3, 6, 32, 2, basis, 5)), make_edges(3, 6) if gathers else None
    results = []
    for rounds in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=rounds):
            outputs = edge_network(*inputs[:3], EdgeWeights(*inputs[3:]), pairs)
        total = sum(output.float().square().sum() for output in outputs)
        results.append([*(output.detach() for output in outputs), *torch.autograd.grad(total, inputs)])
    assert {output.dtype for output in results[1][: 1 + gathers]} == {torch.bfloat16}
    assert {gradient.dtype for gradient in results[1][2:]} == {torch.float32}
    for ours, theirs in zip(results[1], results[0], strict=True):
        assert not theirs.numel() or relative(ours.float(), theirs) < ROUNDING


def test_under_autocast_the_compiled_operation_gets_float32_and_is_told_to_round(
    compiled, monkeypatch, make_inputs, make_edges
):
    seen = []
    monkeypatch.setenv(native.VARIABLE, "native")
    monkeypatch.setattr(edges, "native_edge_network", lambda learns, *others: seen.append(others) or (1, 2))
    inputs = [tensor.detach().bfloat16() for tensor in make_inputs((2, 4, 16, 2, 1, 1))]
    for rounds in (True, False):
        given = inputs if rounds else [tensor.float() for tensor in inputs]
        with torch.autocast("cpu", torch.bfloat16, enabled=rounds):
            edge_network(*given[:3], EdgeWeights(*given[3:]), make_edges(2, 4))
        half, _, *tensors = seen.pop()
        assert half == rounds
        assert {tensor.dtype for tensor in tensors} == {torch.float32}


class RoundedLinear(torch.autograd.Function):
    """x Wᵀ and its gradients, all factors rounded to bfloat16: what the compiled operation does where the CPU can."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return rounded(x) @ rounded(weight).T

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        flow = rounded(gradient).flatten(0, -2)
        return rounded(gradient) @ rounded(weight), flow.T @ rounded(x).flatten(0, -2)


def rounded(tensor):
    return tensor.bfloat16().to(tensor.dtype)


def by_hand(inputs, pairs):
    receiver, sender, distances, distance, second, second_bias, projection, projection_bias = inputs
    first = receiver[:, :, None] + sender[:, None] + distances @ distance.T
    message = torch.nn.functional.silu(RoundedLinear.apply(torch.nn.functional.silu(first), second) + second_bias)
    projections = message @ projection.T + projection_bias
    return projections, ((projections[..., :1].sigmoid() * pairs[..., None]) * message).sum(dim=2)


@pytest.mark.parametrize("sizes", [(2, 5, 16), (3, 9, 32), (2, 7, 48), (2, 11, 64), (1, 29, 256)], ids=str)
def test_the_compiled_operation_rounds_the_factors_of_its_second_layer_and_nothing_else(
    compiled, monkeypatch, make_inputs, make_edges, sizes
):
    monkeypatch.setenv(native.VARIABLE, "native")
    inputs, pairs = make_inputs((*sizes, 2, 1, 3)), make_edges(*sizes[:2])

    def compiled_in(rounds):
        with torch.autocast("cpu", torch.bfloat16, enabled=rounds):
            return edge_network(*inputs[:3], EdgeWeights(*inputs[3:]), pairs)

    def results(outputs):
        total = sum((output * torch.linspace(0.5, 1, output.shape[-1])).sum() for output in outputs)
        return [*(output.detach() for output in outputs), *torch.autograd.grad(total, inputs)]

    ours, exact = results(compiled_in(rounds=True)), results(compiled_in(rounds=False))
    if torch.equal(ours[0], exact[0]):
        pytest.skip("this CPU has no matrix tiles for bfloat16")
    for tensor, theirs, unrounded in zip(ours, results(by_hand(inputs, pairs)), exact, strict=True):
        assert relative(tensor, theirs) < 3e-4  # a number on the edge between two may be rounded the other way
        assert relative(tensor, unrounded) < ROUNDING


def test_auto_is_bf16_where_the_gpu_is_made_for_it(monkeypatch):
    for supported, chosen in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, s=supported: s)
        assert choose("auto", CUDA) == chosen
        assert choose("auto", CPU) == "fp32"
    assert [choose(precision, CUDA) for precision in ("fp32", "bf16", "fp64")] == ["fp32", "bf16", "fp64"]
    assert [weight_type(precision) for precision in ("auto", "bf16", "fp64")] == [
        torch.float32,
        torch.float32,
        torch.float64,
    ]


def test_fp32_and_float64_weights_are_called_as_they_are(denoiser):
    assert with_precision(denoiser, "fp32") is denoiser
    assert with_precision(denoiser.double(), "bf16") is denoiser


@pytest.mark.parametrize(
    ("key", "value", "known"),
    [("training", "fp16", "'auto', 'fp32', 'bf16' or 'fp64'"), ("sampler", "fp64", "'auto', 'fp32' or 'bf16'")],
)
def test_another_precision_is_one_sentence(make_config, key, value, known):
    with pytest.raises(ConfigError) as error:
        make_config({f"{key}.precision": value})
    assert str(error.value).startswith(f"{key}.precision: must be {known}, not '{value}'. Meaning: ")


@pytest.fixture
def checkpoint(make_checkpoint):
    return load_checkpoint(make_checkpoint())


def test_sampling_in_bf16_moves_float32_states_to_other_finite_molecules(checkpoint):
    exact, rounded = (sample(checkpoint, 6, sizes=[4, 6], precision=precision) for precision in ("fp32", "bf16"))
    assert torch.isfinite(torch.from_numpy(rounded.positions)).all()
    assert not (exact.positions == rounded.positions).all()
    engine = Engine(checkpoint, 2, 1.0, "bf16")
    engine.submit(Request(2, sampler_config(checkpoint, {}), sizes=(5,)))
    for _ in range(3):
        engine.step()
    states = [micro_batch.state for batch in engine._batches for micro_batch in batch]
    assert {tensor.dtype for state in states for tensor in (state.z, state.velocities)} == {torch.float32}


def test_the_engine_decides_whatever_a_request_says(checkpoint):
    engine = Engine(checkpoint, 2, 1.0, "bf16")
    request_id, done = engine.submit(Request(2, sampler_config(checkpoint, {"precision": "fp32"}), sizes=(5,))), {}
    while not done:
        done = engine.step()
    assert (done[request_id].positions == sample(checkpoint, 2, sizes=[5], precision="bf16").positions).all()


def test_training_in_bf16_lowers_the_loss_and_keeps_float32(make_config, molecules, statistics):
    changes = {"training.precision": "bf16", "training.learning_rate": 1e-2, "training.batch_size": 12}
    trainer = Trainer.create(make_config(changes), statistics, ALONE)
    batches = TrainingBatches(molecules, trainer.atom_types, 12, 0)
    losses = []
    for step in range(40):
        trainer.advance(batches.batch(step))
        losses.append(trainer.window.drain()["loss"])
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    kept = [*trainer.network.parameters(), *trainer.ema.weights.values(), *(t for _, t in trainer.optimizer.tensors())]
    assert {tensor.dtype for tensor in kept} == {torch.float32}
