"""Everything runs on a GPU, shown without one: tensors that say they are elsewhere and hold their numbers on the CPU.

PyTorch's fake tensors have no numbers, and a build without CUDA cannot make them for it. Here every operation is
computed on the CPU, but operands on two devices are an error, as they are on a GPU, and reading a number back, for
which a GPU's queue runs dry, is counted.
"""

from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from ead_core.checkpoints.checkpoint import load_checkpoint, new_predictor
from ead_core.data.batching import TrainingBatches
from ead_core.data.dataset import compute_statistics
from ead_core.data.labels import labels_of
from ead_core.data.targets import Targets
from ead_core.diffusion.policies import POLICIES
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.criteria import Acceptance
from ead_core.networks.backbones import BACKBONES
from ead_core.prediction.judge import predict
from ead_core.sampling import delivery, repair, repair_rounds
from ead_core.sampling.engine import Engine
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.order import Order
from ead_core.sampling.requests import Request, sampler_config
from ead_core.training.parallel import Workers
from ead_core.training.trainer import Trainer

STEPS = 5
THERE = torch.device("meta")  # the one device besides the CPU that every build of PyTorch has
aten = torch.ops.aten
MAY_MIX = {aten._to_copy.default, aten.copy_.default, aten.index.Tensor}  # indices may be on the host
WAITS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.is_nonzero.default, aten.equal.default}
QUICK = {"policy": "synchronous", "steps": 4, "repair_level": 0.5}


class Elsewhere(Tensor):
    """A tensor that says it is on another device."""

    @staticmethod
    def __new__(cls, here):
        made = Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=THERE,
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        raise AssertionError(f"{operation} outside of the device")

    def tolist(self):
        return self.cpu().tolist()

    def numpy(self):
        raise TypeError("a tensor of another device must be copied to the host first")


def here(value):
    return value.here if isinstance(value, Elsewhere) else value


class Device(TorchDispatchMode):
    """Another device for the length of a block; `waits` counts, by operation, how often the host waited for it."""

    def __init__(self):
        super().__init__()
        self.waits = Counter()

    @classmethod
    def _should_skip_dynamo(cls):
        """Else PyTorch's compiler is imported, which takes seconds, and told at every operation to stay away."""
        return False

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        there = {id(tensor.here): tensor for tensor in tensors if isinstance(tensor, Elsewhere)}
        asked = kwargs.get("device")
        made_there = bool(there) if asked is None else torch.device(asked) == THERE
        if (
            there
            and operation not in MAY_MIX
            and any(tensor.dim() for tensor in tensors if not isinstance(tensor, Elsewhere))
        ):
            raise RuntimeError(f"{operation}: operands on two devices")
        if there and (operation in WAITS or not made_there or self._masks(operation, args)):
            self.waits[str(operation)] += 1
        if asked is not None:
            kwargs["device"] = torch.device("cpu")
        result = operation(*tree_map(here, args), **tree_map(here, kwargs))
        if not made_there:
            return result

        def arrived(value):
            return there[id(value)] if id(value) in there else Elsewhere(value)

        return tree_map(lambda value: arrived(value) if isinstance(value, Tensor) else value, result)

    @staticmethod
    def _masks(operation, args):
        """Whether it picks by a boolean mask, which needs a count."""
        return operation is aten.index.Tensor and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )


class HostGenerator(torch.Generator):
    """Random numbers, whose device is not looked at."""

    def __new__(cls, device=None):
        return super().__new__(cls)


@pytest.fixture
def device(monkeypatch):
    """The device, entered; what depends on its kind but has nothing to do with where tensors are is left out."""
    for name in ("tensor", "as_tensor"):  # make theirs out of the mode's sight
        make = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda data, device=None, make=make, **how: make(data, **how).to(device))
    monkeypatch.setattr(
        import_module("torch.optim.optimizer"), "_get_fused_kernels_supported_devices", lambda: [THERE.type]
    )
    monkeypatch.setattr(torch, "Generator", HostGenerator)
    monkeypatch.setattr(torch, "autocast", lambda *settings, **others: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *kind: False)
    with Device() as entered:
        yield entered


@pytest.fixture
def sent(device):
    """A function that puts a checkpoint on the device."""

    def send(folder):
        checkpoint = load_checkpoint(folder)
        return replace(checkpoint, denoiser=checkpoint.denoiser.to(THERE))

    return send


def made(checkpoint, device, num=3, fragment=None, targets=None, **settings):
    """Molecules of the engine, and how often the host waited in steps without arrival or departure."""
    engine = Engine(checkpoint, 8, 1.0)
    engine.submit(
        Request(
            num,
            sampler_config(checkpoint, {"steps": STEPS, **settings}),
            1,
            0,
            (6,),
            fragment=fragment,
            targets=targets,
        )
    )
    plain = Counter()
    while engine.busy:
        arranges = engine._quiet == 0 or engine._arrived
        before = device.waits.copy()
        with torch.no_grad():
            done = Engine.step.__wrapped__(engine)  # inference mode takes no tensors of a kind of their own
        for molecules in done.values():
            return molecules, plain
        if not arranges:
            plain += device.waits - before
    raise AssertionError("no molecules")


def test_the_device_notices_what_it_should(device):
    there = torch.ones(3, device=THERE)
    assert (there + 1).device == (there * torch.tensor(2.0)).device == THERE
    with pytest.raises(RuntimeError, match="operands on two devices"):
        there + torch.ones(3)
    with pytest.raises(TypeError, match="copied to the host"):
        there.numpy()
    assert not device.waits
    assert there.cpu().numpy().tolist() == there.tolist() == [1, 1, 1]
    assert float(there.sum()) == len(there[there > 0]) == 3
    assert sum(device.waits.values()) == 4


FRAMES = {
    "network.kind": "dit",
    "network.symmetrise": "learned",
    "network.frame_features": 8,
    "network.frame_layers": 1,
}


@pytest.mark.parametrize(
    "network", [*({"network.kind": kind} for kind in BACKBONES), FRAMES], ids=lambda n: "-".join(map(str, n.values()))
)
def test_a_training_step(device, make_config, molecules, statistics, network):
    config = make_config({**network, "training.optimizer": "muon", "training.fragments": 1.0})
    trainer = Trainer.create(config, statistics, Workers(0, 1, THERE))
    batches = TrainingBatches(molecules, trainer.atom_types, 4, 0)
    for step in range(2):
        trainer.advance(batches.batch(step).to(THERE))
    assert {parameter.device for parameter in trainer.network.parameters()} == {THERE}
    assert trainer.window.drain()["loss"] > 0


def test_plain_training_steps_do_not_wait(device, make_config, molecules, statistics):
    trainer = Trainer.create(make_config(), statistics, Workers(0, 1, THERE))
    batches = TrainingBatches(molecules, trainer.atom_types, 4, 0)
    trainer.advance(batches.batch(0).to(THERE))
    device.waits.clear()
    trainer.advance(batches.batch(1).to(THERE))
    assert device.waits == {}


@pytest.mark.parametrize("policy", POLICIES)
def test_sampling_with_every_policy(device, sent, untrained, policy):
    molecules, waits = made(sent(untrained), device, policy=policy)
    assert molecules.num_atoms.tolist() == [6, 6, 6]
    assert waits == {}


def test_random_frames(device, sent, make_checkpoint):
    molecules, waits = made(sent(make_checkpoint(FRAMES)), device)
    assert molecules.num_atoms.tolist() == [6, 6, 6]
    assert waits == {}


def test_fragments(device, sent, make_checkpoint, molecules):
    checkpoint = sent(make_checkpoint({"training.fragments": 0.5}))
    fragment = Fragment(molecules.charges[:2], molecules.positions[:2])
    completed, waits = made(checkpoint, device, fragment=fragment)
    assert completed.num_atoms.tolist() == [6, 6, 6]
    assert waits == {}


@pytest.fixture
def plain_steps(monkeypatch):
    """Inference mode takes no tensors of a kind of their own."""
    monkeypatch.setattr(Engine, "step", Engine.step.__wrapped__)
    with torch.no_grad():
        yield


@pytest.mark.usefixtures("plain_steps")
@pytest.mark.parametrize("extent", ["whole", "local"])
def test_repair(sent, make_checkpoint, molecules, monkeypatch, extent):
    monkeypatch.setattr(repair, "defective_atoms", lambda charges, *_: np.arange(len(charges)) < 1)
    checkpoint = sent(make_checkpoint({"training.fragments": 0.5}))
    settings = sampler_config(checkpoint, {**QUICK, "repair_extent": extent})
    everyone = np.ones(3, dtype=bool)
    found = repair_rounds.repair.__wrapped__(
        checkpoint, molecules.select(range(3)), settings, lambda made: everyone, everyone
    )
    assert found.mended.all()
    assert [bool(free.all()) for free in found.freed] == [extent == "whole"] * 3


@pytest.mark.usefixtures("plain_steps", "measured_here")
def test_deliveries_with_repair(sent, make_checkpoint, monkeypatch):
    def judged(chunk, acceptance):
        return [Verdict("on the right" * bool(x > 0), None) for x in firsts(chunk.molecules)]

    def firsts(molecules):
        return molecules.positions[molecules.offsets[:-1], 0]

    monkeypatch.setattr(delivery, "judge", judged)
    checkpoint = sent(make_checkpoint())
    request = Request(1, sampler_config(checkpoint, {**QUICK, "repair_level": 1.0}), 5, 0, (6,))
    made, ledger = delivery.deliver(checkpoint, request, Order(Acceptance.parse("valid"), until=8))
    assert (firsts(made) <= 0).all()
    assert len(made) == 8
    assert ledger.repaired > 0


def test_guidance_waits_to_learn_who_is_guided(device, sent, conditional):
    checkpoint = sent(conditional)
    targets = Targets.of({"gap": 5500, "mu": (1, 3)})
    molecules, waits = made(checkpoint, device, targets=targets, policy="synchronous", guidance=2.0)
    assert molecules.num_atoms.tolist() == [6, 6, 6]
    assert waits.keys() == {"aten.nonzero.default"}
    assert waits.total() <= STEPS


def test_the_judge(device, make_config, labelled):
    config = make_config({"training.objective": "predict", "conditioning.properties": ["alpha", "mu"]})
    labels = labels_of(labelled, config.conditioning, 0)
    statistics = compute_statistics(labelled, name="", sha256="", labels=labels)
    predictor = new_predictor(config, statistics).eval().to(THERE)
    with torch.no_grad():
        found = predict.__wrapped__(predictor, config, statistics, labelled.select(range(5)))
    assert {name: len(values) for name, values in found.items()} == {"alpha": 5, "mu": 5}
