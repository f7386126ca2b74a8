"""The tutorial "molecules like mine": its commands in a small form, and what a user of `ead adapt` may do wrong."""

import re
import shlex
import signal
from pathlib import Path

import pytest

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.data.formats import read_molecules
from ead_core.data.structures import Candidate
from ead_core.training import adapted_card, companions, cores
from ead_core.training.fit import fit
from ead_core.training.progress import steps_done

from ..in_this_process import in_this_process

PAGE = (Path(__file__).parents[2] / "docs" / "tutorials" / "molecules-like-mine.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    ead (.*)$", PAGE, re.MULTILINE)
MINE = "CO methanol\nCS\nCCl\nC[NH3+]\nC1#CC1\n"
SMALL = "--checkpoint qm9-small --companions 2 --num 2 --workers 1 training.threads=1 training.batch_size=4"


@pytest.fixture
def at_work(ead, tmp_path, monkeypatch):
    """Run `ead` where `my_molecules.smi` is, with a short list of compounds in place of RDKit's."""
    listed = [Candidate(number, smiles) for number, smiles in enumerate(["C", "CCO", "CN", "CCS"], start=1)]
    monkeypatch.setattr(companions, "demo_candidates", lambda largest, elements: listed)
    monkeypatch.setattr(adapted_card, "PRESET", "fast")
    (tmp_path / "my_molecules.smi").write_text(MINE)
    with in_this_process():
        yield ead


def small(command, steps=2):
    """A command of the page with few molecules and steps."""
    short = re.sub(r"--num \d+|--companions \d+|--preset \w+|training\.(steps|patience|max_seconds)=\d+", "", command)
    if not short.startswith("adapt"):
        return shlex.split(f"{short} --num 2 sampler.policy=synchronous sampler.steps=8")
    return shlex.split(f"{short} {SMALL} training.steps={steps}")


def test_the_commands_of_the_page_in_short(at_work, tmp_path):
    assert [command.split()[0] for command in COMMANDS[:2]] == ["adapt", "sample"]
    code, table, told = at_work(*small(COMMANDS[0]))
    assert code == 0, told
    assert "2 of 5 molecules are left out, 3 stay" in told
    assert "3 molecules of H, C, O, S, Cl, 2 companions" in told
    assert "strictly valid" in table
    assert at_work(*small(COMMANDS[1]))[0] == 0
    assert len(read_molecules(tmp_path / "new.sdf").molecules) <= 2
    folder = tmp_path / "runs" / "mine"
    assert {path.name for path in folder.iterdir()} == {
        *("set", "model", "cards", "card.md", "molecules.png", "molecules.sdf"),
    }
    page = (folder / "card.md").read_text()
    assert "Learnt from 3 molecules and 2 companions" in page
    assert "](molecules.png)" in page
    model = load_checkpoint(folder / "model")
    assert model.atom_types.symbols == ("H", "C", "O", "S", "Cl")
    assert set(model.statistics.sizes) == {5, 6}  # of what is asked for, not of the companions


def test_the_same_command_goes_on_after_an_interruption_and_ends_once(at_work, tmp_path, monkeypatch):
    whole, model = cores.fit_on_cores, tmp_path / "runs" / "mine" / "model"

    def interrupted(config, session, directory, report):
        return fit(
            config.override({"training.evaluate_every": 1}),
            session.train,
            session.statistics,
            directory,
            report,
            lambda _, step: signal.raise_signal(signal.SIGINT) or {},
        )

    monkeypatch.setattr(cores, "fit_on_cores", interrupted)
    code, _, told = at_work(*small(COMMANDS[0]))
    assert code == 130
    assert "the same command goes on" in told
    assert steps_done(model) == 1
    monkeypatch.setattr(cores, "fit_on_cores", whole)
    code, table, _ = at_work(*small(COMMANDS[0]))
    assert code == 0
    assert steps_done(model) == 2
    monkeypatch.setattr(cores, "fit_on_cores", lambda *_: pytest.fail("trained again"))
    assert at_work(*small(COMMANDS[0]))[1] == table


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("nothing.smi", "data file nothing.smi does not exist."),
        ("my_molecules.smi training.nothing=1", "nothing"),
        ("my_molecules.smi --checkpoint qm9-cond", "qm9-cond is asked for alpha"),
        ("my_molecules.smi network.layers=2", "was trained with network.layers=6, not 2."),
        ("my_molecules.smi training.patience=2", "training.patience needs validation molecules"),
    ],
)
def test_a_mistake_is_one_sentence(at_work, arguments, sentence):
    base = "" if "--checkpoint" in arguments else "--checkpoint qm9-small"
    code, _, told = at_work(
        "adapt", *shlex.split(f"{arguments} {base} --companions 0 --workers 1 training.threads=1 --out x")
    )
    assert code == 2
    assert sentence in told.splitlines()[-1]
