"""A conditional training: noise as without conditions, labels of its half, and a model that does as it is asked."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from ead_core.checkpoints.checkpoint import PRIOR, STATISTICS, load_checkpoint
from ead_core.data.batching import TrainingBatches
from ead_core.data.dataset import compute_statistics
from ead_core.data.labels import in_half, labels_of
from ead_core.data.store import MoleculeSet
from ead_core.diffusion.context import encode
from ead_core.errors import CheckpointError, DataError
from ead_core.sampling.generation import sample
from ead_core.training.fit import fit
from ead_core.training.parallel import Workers
from ead_core.training.quality import quality_check
from ead_core.training.trainer import Trainer

ALONE = Workers(0, 1, torch.device("cpu"))
TWO = {"conditioning.properties": ["alpha", "mu"]}


def statistics_of(config, molecules):
    labels = labels_of(molecules, config.conditioning, config.data.split_seed)
    return compute_statistics(molecules, name="", sha256="", labels=labels)


@pytest.fixture
def run(make_config, labelled, tmp_path):
    def run(changes=(), folder="run", molecules=labelled):
        config = make_config({**TWO, "training.steps": 2, **dict(changes)})
        return fit(config, molecules, statistics_of(config, molecules), tmp_path / folder)

    return run


def test_hiding_properties_leaves_the_noise_as_it_was(make_config, make_checkpoint, labelled):
    """From equal weights, the first step of a conditional run has the losses and levels of an unconditional one."""
    changes = {"diffusion.steps": 20, "diffusion.precision": 0.01, "training.initial": str(make_checkpoint())}
    results = []
    for properties in ([], ["alpha", "mu"]):
        config = make_config({**changes, "conditioning.properties": properties})
        trainer = Trainer.create(config, statistics_of(config, labelled), ALONE)
        context = encode({"alpha": labelled.properties["alpha"]}, statistics_of(config, labelled).properties, 240)
        batches = TrainingBatches(labelled, trainer.atom_types, 16, 0, context if properties else None)
        with torch.no_grad():
            results.append(trainer.losses(batches.batch(0), torch.arange(16)))
    assert torch.equal(results[0][1], results[1][1])
    assert torch.allclose(results[0][0], results[1][0], atol=1e-6)


def test_the_network_sees_labels_and_now_and_then_none(make_config, labelled, monkeypatch):
    config = make_config({**TWO, "conditioning.drop_all": 0.5, "conditioning.drop_each": 0.0})
    trainer, seen = Trainer.create(config, statistics_of(config, labelled), ALONE), []
    monkeypatch.setattr(trainer, "model", lambda inputs: seen.append(inputs.context) or trainer.network(inputs))
    context = encode(labels_of(labelled, config.conditioning, 0), statistics_of(config, labelled).properties, 240)
    batches = TrainingBatches(labelled, trainer.atom_types, 240, 0, context)
    trainer.losses(batches.batch(0), torch.arange(240))
    (told,) = seen
    assert 90 < int((told[:, 1] == 1).sum()) < 150
    assert 40 < int((told[:, 3] == 1).sum()) < 80  # mu is known of every other molecule
    sizes = batches.batch(0).mask.sum(dim=1)
    known = told[:, 1] == 1
    assert np.corrcoef(told[known, 0], sizes[known])[0, 1] > 0.95  # alpha goes with the size


def test_the_table_and_statistics_are_of_the_labels_that_the_run_may_see(run, labelled):
    checkpoint = load_checkpoint(run({"conditioning.half": "second", "conditioning.properties": ["alpha", "atoms_O"]}))
    mine = labelled.properties["alpha"][in_half(labelled, "second", 0)].astype(np.float32)
    known = checkpoint.prior.values[:, 0]
    assert sorted(known[~np.isnan(known)].tolist()) == sorted(mine.tolist())
    assert checkpoint.statistics.properties["alpha"].labels == len(mine)
    assert checkpoint.statistics.properties["atoms_O"].labels == 240


def test_a_conditional_checkpoint_has_a_table_and_an_unconditional_one_has_none(run, tmp_path):
    conditional = run()
    plain = run({"conditioning.properties": []}, "plain")
    assert (conditional / PRIOR).is_file()
    assert not (plain / PRIOR).exists()
    assert load_checkpoint(plain).prior is None
    assert "properties" not in json.loads((plain / STATISTICS).read_text())


def test_the_fingerprint_covers_properties_and_table(run):
    checkpoint = load_checkpoint(run())
    statistics, prior = checkpoint.statistics, checkpoint.prior
    shifted = {n: replace(seen, mean=seen.mean + 1) for n, seen in statistics.properties.items()}
    different = (
        checkpoint,
        replace(checkpoint, statistics=replace(statistics, properties=shifted)),
        replace(checkpoint, prior=replace(prior, sizes=prior.sizes + 1)),
    )
    assert len({one.fingerprint() for one in different}) == 3
    assert replace(checkpoint, name="other").fingerprint() == checkpoint.fingerprint()


def test_the_fingerprint_of_an_unconditional_checkpoint_is_what_it_always_was():
    """That of the bundled file with the fields of its time."""
    import hashlib

    checkpoint = load_checkpoint("qm9-small")
    first = ("kind", "hidden_features", "layers", "edge_features", "vectors", "messages")
    document = {
        "network": checkpoint.config.network.model_dump(include=set(first)),
        "diffusion": checkpoint.config.diffusion.model_dump(exclude={"schedule", "parametrisation"}),
        "elements": checkpoint.statistics.atom_numbers,
        "sizes": sorted(checkpoint.statistics.sizes.items()),
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name, weight in sorted(checkpoint.denoiser.state_dict().items()):
        digest.update(name.encode() + weight.numpy().tobytes())
    assert checkpoint.fingerprint() == digest.hexdigest()[:16]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / PRIOR).unlink(), "prior.safetensors cannot be read"),
        (lambda folder: (folder / PRIOR).write_text("garbage"), "prior.safetensors cannot be read"),
        (
            lambda folder: (folder / STATISTICS).write_text((folder / STATISTICS).read_text().replace('"mu"', '"gap"')),
            "conditioning.properties of config.yaml are not those of stats.json (alpha, gap)",
        ),
    ],
    ids=["missing", "garbage", "other properties"],
)
def test_an_incomplete_conditional_checkpoint_is_one_sentence(run, damage, sentence):
    folder = run()
    damage(folder)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(folder)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"conditioning.properties": ["alpha"]}, "holds a run with conditioning.properties=('alpha', 'mu'), not"),
        ({"conditioning.half": "first"}, "holds a run with conditioning.half=all, not first;"),
    ],
)
def test_a_run_on_other_labels_is_not_continued(run, changes, sentence):
    run()
    with pytest.raises(CheckpointError, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        run(changes)


def test_a_run_continues_with_its_table(run, tmp_path):
    straight = run({"training.steps": 4}, "straight")
    shutil.copytree(run({"training.steps": 2}, "short"), tmp_path / "copy")
    resumed = run({"training.steps": 4}, "copy")
    assert load_checkpoint(resumed).fingerprint() == load_checkpoint(straight).fingerprint()


def test_statistics_without_the_labels_are_refused(make_config, labelled, tmp_path):
    statistics = compute_statistics(labelled, name="", sha256="")
    with pytest.raises(DataError, match="the statistics are not of the recipe's properties"):
        fit(make_config(TWO), labelled, statistics, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_quality_check_asks_for_nothing(make_config, labelled):
    config = make_config({**TWO, "training.evaluate_molecules": 2, "sampler.guidance": 2.0})
    trainer = Trainer.create(config, statistics_of(config, labelled), ALONE)
    assert quality_check(config, statistics_of(config, labelled), None)(trainer.network, 1).keys() == {
        "atom_stability",
        "molecule_stability",
    }


def test_a_model_does_as_it_is_asked(make_config, tmp_path):
    """Two atoms are carbon or oxygen as a property of theirs says, and all the more with guidance."""
    generator, kinds = np.random.default_rng(0), np.repeat([0.0, 1.0], 24)
    positions = [np.array([[0, 0, 0], [1.4, 0, 0]]) + 0.03 * generator.normal(size=(2, 3)) for _ in kinds]
    pairs = MoleculeSet.from_lists([np.full(2, 8 if kind else 6) for kind in kinds], positions, {"kind": kinds})
    config = make_config(
        {
            "network.hidden_features": 16,
            "network.edge_features": 16,
            "diffusion.steps": 20,
            "diffusion.precision": 0.01,
            "diffusion.interval": 2,
            "training.batch_size": 24,
            "training.steps": 80,
            "training.learning_rate": 0.02,
            "training.ema_decay": 0.9,
            "conditioning.properties": "kind",
            "conditioning.drop_all": 0.2,
        }
    )
    checkpoint = load_checkpoint(fit(config, pairs, statistics_of(config, pairs), tmp_path / "run"))

    def oxygen(kind, guidance):
        made = sample(checkpoint, 16, targets={"kind": kind}, policy="synchronous", guidance=guidance)
        return (made.charges == 8).mean()

    assert oxygen(1, 1.0) - oxygen(0, 1.0) > 0.8
    assert oxygen(1, 1.0) - oxygen(0, 1.0) >= oxygen(1, 0.0) - oxygen(0, 0.0) > 0.4
