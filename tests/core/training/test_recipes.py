"""Every recipe of the project trains and does what it is for, in a small form on chains of its elements."""

from pathlib import Path

import numpy as np
import pytest

from ead_core.checkpoints.checkpoint import load_checkpoint, new_denoiser
from ead_core.config import load_config
from ead_core.data.dataset import Statistics
from ead_core.data.formats import read_molecules
from ead_core.data.store import MoleculeSet, save_npz

FOLDER = Path(__file__).parents[3] / "configs"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SMALL = (
    *("network.hidden_features=8", "network.layers=1", "data.split=seeded"),
    *("training.steps=2", "training.batch_size=4", "training.threads=1"),
)
OF_KIND = {
    "egnn": (),
    "egnn_rbf": ("network.edge_features=4", "network.vectors=2"),
    "egnn_vector": ("network.edge_features=4", "network.vectors=2"),
    "dit": ("network.edge_features=4", "network.heads=2", "network.frame_features=8", "network.frame_layers=1"),
}
GENERATOR = ("diffusion.steps=20", "diffusion.interval=10", "sampler.steps=4", "training.evaluate_molecules=2")
LABELS = {"alpha": 75.0, "gap": 0.25, "homo": -0.24, "lumo": 0.01, "mu": 2.7, "Cv": 25.0}
ORGANIC, DRUGS = (1, 6, 7, 8), (1, 6, 7, 8, 9, 15, 16, 17, 35, 53)


@pytest.fixture
def small(tmp_path):
    """Writes the data of a recipe, and says what makes the recipe small."""

    def small(recipe):
        own, generator = load_config(FOLDER / f"{recipe}.yaml"), np.random.default_rng(0)
        sizes = [5, 6, 7, 8] * 40
        charges = [generator.choice(DRUGS if recipe == "drugs" else ORGANIC, size=size) for size in sizes]
        positions = [np.stack([1.3 * np.arange(n), np.arange(n) % 2, generator.normal(size=n)], axis=1) for n in sizes]
        labels = {label: centre * generator.uniform(0.9, 1.1, size=160) for label, centre in LABELS.items()}
        save_npz(MoleculeSet.from_lists(charges, positions, labels), tmp_path / own.data.path)
        generator_s = GENERATOR if own.training.objective != "predict" else ()
        without = [f"{key}=null" for key in ("training.initial", "conditioning.predictor") if own.flat()[key]]
        if own.training.objective == "distil":
            without = ["training.initial=teacher"]
        return [*SMALL, *OF_KIND[own.network.kind], *generator_s, *without]

    return small


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_and_its_model_does_what_it_is_for(recipe, small, ead, tmp_path):
    own = load_config(FOLDER / f"{recipe}.yaml")
    if own.training.objective == "distil":
        assert ead("train", FOLDER / "qm9_flagship.yaml", "--out", "teacher", *small("qm9_flagship"))[0] == 0
    code, _, error = ead("train", FOLDER / f"{recipe}.yaml", "--out", "run", *small(recipe))
    assert code == 0, error
    use = ("sample", "run", "--num", "3")
    if own.training.objective == "predict":
        use = ("predict", own.data.path, "--predictor", "run")
    elif own.sampler.property_guidance:
        use = (*use, "sampler.property_guidance=0")
    code, _, error = ead(*use, "--out", "made.npz")
    assert code == 0, error
    assert len(read_molecules(tmp_path / "made.npz").molecules) == (160 if "predict" in use else 3)


@pytest.mark.parametrize(("recipe", "elements", "largest", "millions"), [("qm9", 5, 29, 5.3), ("drugs", 16, 181, 2.4)])
def test_the_networks_of_the_paper_have_its_sizes(recipe, elements, largest, millions):
    """EDM's: 256 features, and nine and four layers."""
    statistics = Statistics(tuple(range(1, elements + 1)), {largest: 1}, 1, recipe, "0")
    network = new_denoiser(load_config(FOLDER / f"{recipe}.yaml"), statistics)
    assert round(sum(weights.numel() for weights in network.parameters()) / 1e6, 1) == millions


def test_the_paper_s_network_learns_with_causal_messages(small, ead):
    code, _, error = ead("train", FOLDER / "qm9.yaml", "--out", "run", *small("qm9"), "network.messages=causal")
    assert code == 0, error
    assert load_checkpoint("run").config.network.messages == "causal"
