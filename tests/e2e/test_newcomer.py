"""What the README promises to a newcomer, from an empty folder; the way to a first own model in real processes."""

import json
import subprocess
from pathlib import Path

import pytest

from ead_core import evaluate, load_checkpoint, read_molecules, sample
from ead_core.checkpoints.checkpoint import PRETRAINED, WEIGHTS
from ead_core.evaluation.quality import load_quality

from ..conftest import CORE_COMMANDS

ROOT = Path(__file__).parents[2]
BUNDLED = "qm9-small"


@pytest.fixture
def ead_process(preloaded, tmp_path):
    """Run `ead` in a process of its own and in an empty folder; returns its standard output."""
    program = preloaded(CORE_COMMANDS) / "ead"

    def run(*arguments):
        command = [str(program), *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_three_lines_of_python():
    molecules = sample(load_checkpoint(BUNDLED), num=8, seed=0, sizes=[9], policy="synchronous", steps=100)
    card = evaluate(molecules, reference="qm9")
    assert card.attempts == 8
    assert card.sections["cost"]["nfe"].value == 101
    assert card.sections["published"]["atom_stability"].value > 0.5  # an untrained network stays below 0.1
    assert card.sections["strict"]["strict_validity"].value > 0.1


def test_the_bundled_checkpoint_is_small_and_carries_its_quality():
    assert (PRETRAINED / BUNDLED / WEIGHTS).stat().st_size < 8e6
    quality = load_quality(PRETRAINED / BUNDLED)
    settings = [row.setting for row in quality.rows]
    assert settings == ["synchronous", "adaptive, async_ratio 0.2", "adaptive, async_ratio 0.4"]
    for row in quality.rows:
        assert row.num_molecules >= 1000
        low, high = row.intervals["molecule_stability"]
        assert 0 <= low <= row.molecule_stability <= high <= 1
        assert row.nfe_per_molecule >= 1001
        assert row.seconds_per_molecule > 0


@pytest.mark.slow
def test_from_no_data_to_a_trained_model_and_its_molecules(ead_process, tmp_path):
    ead_process("data", "demo", "--out", "demo.npz", "--num", 40)
    assert "molecules" in ead_process("data", "info", "demo.npz")
    changes = (
        "training.steps=4",
        "training.evaluate_every=4",
        "training.evaluate_molecules=0",
        "diffusion.steps=100",
    )
    ead_process("train", ROOT / "configs" / "demo.yaml", *changes, "--out", "run")
    ead_process("sample", "run", "--num", 4, "--seed", 1, "--out", "molecules.sdf", "sampler.policy=synchronous")
    assert len(read_molecules(tmp_path / "molecules.sdf").molecules) == 4
    ead_process("evaluate", "molecules.sdf", "--train", "demo.npz", "--json", "card.json")
    card = json.loads((tmp_path / "card.json").read_text())
    assert {"atom_stability", "molecule_stability", "validity", "uniqueness", "novelty"} <= set(card)
    ead_process("draw", "molecules.sdf", "--out", "molecules.png")
    assert (tmp_path / "molecules.png").stat().st_size > 1000


def test_models_lists_the_bundled_checkpoint_with_its_quality(ead):
    code, listing, _ = ead("models")
    assert code == 0
    assert BUNDLED in listing
    assert "molecule stability" in listing


def test_wanted_properties_are_asked_for_and_judged(ead):
    quick = ("sampler.policy=synchronous", "sampler.steps=20", "sampler.grid=quadratic")
    code, _, told = ead("sample", "qm9-small-cond", "--num", 4, "--target", "gap=6500", "--out", "x.npz", *quick)
    assert code == 0, told
    code, told, _ = ead("evaluate", "x.npz", "--conditional", "--parts", "none", "--verdicts", "verdicts.csv")
    assert code == 0
    assert "gap" in told
