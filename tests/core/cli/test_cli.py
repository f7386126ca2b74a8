"""The program as a user meets it: train, resume, sample, trace, evaluate; and every mistake in one sentence."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from ead_core import __version__
from ead_core.checkpoints.checkpoint import PRETRAINED, load_checkpoint
from ead_core.common.cpu import hardware
from ead_core.config import SamplerConfig
from ead_core.config.presets import NAMES
from ead_core.data.formats import read_molecules
from ead_core.data.store import MoleculeSet, load_npz, npz_about, save_npz
from ead_core.evaluation.quality import load_quality
from ead_core.sampling import delivery
from ead_core.sampling.delivery import Delivery
from ead_core.sampling.generation import fulfil
from ead_core.sampling.ledger import Ledger

from ...in_this_process import in_this_process

CARD_KEYS = {
    "schema_version",
    "num_molecules",
    "num_skipped",
    "atom_stability",
    "molecule_stability",
    "validity",
    "uniqueness",
    "validity_x_uniqueness",
    "novelty",
    "intervals",
    "nfe_per_molecule",
    "seconds_per_molecule",
}

# With 20 levels, of which molecules pass 11, no preset has more steps:
_SETTINGS = "policy=synchronous solver=dpmpp_2m_sde grid=quadratic steps=11 start=0.55 temperature=0.25"
PRESETS_AS_LISTED = "".join(f"  {f'preset {name}':<28} {_SETTINGS}\n" for name in NAMES)


@pytest.fixture
def recipe(make_config, molecules, tmp_path):
    """A run of six steps with its data beside it."""
    save_npz(molecules, tmp_path / "chains.npz")
    config = make_config(
        {
            "diffusion.steps": 10,
            "training.steps": 6,
            "training.evaluate_every": 3,
            "training.evaluate_molecules": 2,
            "training.threads": 1,
        }
    )
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return tmp_path / "recipe.yaml"


def test_train_sample_evaluate(ead, recipe, tmp_path, monkeypatch):
    code, _, told = ead("train", recipe, "--out", "run")
    assert code == 0
    assert "20 training molecules of C, O" in told
    assert "run holds the checkpoint at step 6 of 6." in told
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "molecule_stability" in row] == [3, 6]
    assert rows[-2]["loss"] > 0  # reported before the evaluation at the same step

    code, _, told = ead("sample", "run", "--num", 3, "--out", "x.npz", "--sizes", "4,6", "sampler.policy=synchronous")
    assert code == 0
    assert "3 molecules → x.npz (11 network calls" in told
    assert load_npz(tmp_path / "x.npz").num_atoms.tolist() == [4, 6, 4]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with in_this_process():
        code, table, _ = ead("evaluate", "x.npz", "--json", "card.json", "--workers", 1)
    assert code == 0
    assert "molecule stability" in table
    card = json.loads((tmp_path / "card.json").read_text())
    assert card.keys() > CARD_KEYS
    assert card["num_molecules"] == 3
    assert card["nfe_per_molecule"] == 11
    assert card["about"]["hardware"] == [hardware()]
    assert f"made on {hardware()}" in table
    assert card["novelty"] is None

    with in_this_process():
        ead("evaluate", "x.npz", "--train", "chains.npz", "--json", "card.json", "--workers", 1, "--parts", "none")
    card = json.loads((tmp_path / "card.json").read_text())
    assert 0 <= card["novelty"] <= 1


def test_the_same_command_continues_a_run(ead, recipe, tmp_path):
    _, _, told = ead("train", recipe, "--out", "run", "training.max_seconds=1e-9", "training.steps=5")
    assert "run holds the checkpoint at step 1 of 5." in told
    assert "The same command continues it." in told
    _, _, told = ead("train", recipe, "--out", "run", "training.steps=5")
    assert "run holds the checkpoint at step 5 of 5." in told
    assert "continues it" not in told
    assert load_checkpoint(tmp_path / "run").config.training.steps == 5
    code, _, told = ead("train", recipe, "--out", "run", "training.steps=5")
    assert code == 0
    assert "run holds the checkpoint at step 5 of 5." in told
    assert "continues it" not in told


def test_a_fragment_is_completed_where_it_is(ead, make_checkpoint, tmp_path):
    (tmp_path / "part.xyz").write_text("2\n\nC 5.0 0.0 0.0\nO 5.0 1.2 0.0\n")
    command = ("--num", 2, "--fragment", "part.xyz", "--sizes", "4-5", "--out", "whole.npz", "--overwrite")
    code, _, told = ead("sample", make_checkpoint({"training.fragments": 0.2}), *command)
    assert (code, "2 molecules → whole.npz" in told) == (0, True)
    for index in range(2):
        charges, positions = load_npz(tmp_path / "whole.npz").molecule(index)
        assert charges[:2].tolist() == [6, 8]
        assert positions[:2].ravel().tolist() == pytest.approx([5, 0, 0, 5, 1.2, 0])

    code, _, told = ead("sample", make_checkpoint(name="whole-only"), *command)
    assert code == 2
    assert told.strip() == (
        "ead: whole-only was not trained to complete fragments; a recipe with training.fragments=0.2 and "
        "training.initial=whole-only teaches it."
    )


def test_equal_seeds_give_equal_files(ead, make_checkpoint, tmp_path):
    model = make_checkpoint()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        ead("sample", model, "--num", 2, "--seed", seed, "--sizes", 5, "--out", f"{name}.npz")
    a, b, c = (load_npz(tmp_path / f"{name}.npz").positions for name in "abc")
    assert (a == b).all()
    assert (a != c).any()


def test_a_recorded_run_is_shown_as_pictures_and_pages(ead, make_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("ead_core.cli.trace.FIRST", 1)
    model = make_checkpoint()
    for name, wanted in (("a", ()), ("b", ("--trace", "t.npz"))):
        few = ("--num", 2, "--sizes", 4, "sampler.steps=10")
        code, _, told = ead("sample", model, *few, "--out", f"{name}.npz", *wanted)
        assert code == 0
    code, _, kept = ead("sample", model, "--out", "c.npz", "--trace", "t.npz")
    assert (code, "t.npz exists and is kept; --overwrite replaces it" in kept) == (2, True)
    assert "trace → t.npz; `ead trace t.npz --out FOLDER` shows it" in told
    a, b = (load_npz(tmp_path / f"{name}.npz") for name in "ab")
    assert (a.positions == b.positions).all()
    assert ead("trace", "t.npz", "--out", "shown")[0] == 0
    shown = sorted(path.name for path in (tmp_path / "shown").iterdir())
    assert shown == ["levels-0.png", "trace-0.html"]
    assert ead("trace", "t.npz", "--out", "one", "--molecule", 1)[0] == 0
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["levels-1.png", "trace-1.html"]
    code, _, told = ead("trace", "t.npz", "--out", "one", "--molecule", 5)
    assert (code, told) == (2, "ead: the trace has no molecule 5; it holds 0–1.\n")


@pytest.mark.parametrize("name", ["quality.json", "card.json"])
def test_models_lists_what_is_bundled(ead, make_checkpoint, tmp_path, monkeypatch, name):
    make_checkpoint(name="small")
    stored = json.loads((PRETRAINED / "qm9-small" / "quality.json").read_text())
    figures = {"molecule_stability": 0.5, "intervals": {"molecule_stability": [0.4, 0.6]}, "nfe_per_molecule": 1234.4}
    stored["rows"][0].update(figures)
    (tmp_path / "small" / name).write_text(json.dumps(stored))
    monkeypatch.setattr("ead_core.checkpoints.checkpoint.PRETRAINED", tmp_path)
    code, listing, _ = ead("models")
    assert code == 0
    assert listing.splitlines()[0] == "small"
    assert "molecule stability 50.0 % (40.0–60.0), 1234 network calls" in listing


@pytest.mark.parametrize(
    "card", ['{"protocols": {}, "rows": null}', '{"name": "mine"}', "[]", '"rows"', "", "{", "\xff"]
)
def test_models_lists_a_checkpoint_beside_a_card_of_another_kind(ead, make_checkpoint, card):
    """`ead evaluate --out` into the folder writes such a card."""
    folder = make_checkpoint()
    (folder / "card.json").write_bytes(card.encode("latin-1"))
    code, listing, _ = ead("models", folder)
    assert code == 0
    assert listing == f"{folder}\n{PRESETS_AS_LISTED}"


@pytest.mark.usefixtures("measured_here")
def test_a_checkpoint_that_holds_an_evaluation_card_is_listed_measured_and_compared(ead, make_checkpoint):
    """One name once had two formats: the card of an evaluation made `ead models` end in a KeyError."""
    folder = make_checkpoint()
    assert ead("sample", folder, "--num", 3, "--sizes", 4, "--out", "x.npz")[0] == 0
    assert ead("evaluate", "x.npz", "--out", folder, "--parts", " published ", "--workers", 1)[0] == 0
    assert ead("models", folder)[:2] == (0, f"{folder}\n{PRESETS_AS_LISTED}")
    code, told, _ = ead("measure", folder, "--num", 3)
    assert code == 0
    assert [line.split()[0] for line in told.splitlines()] == ["synchronous", "adaptive,", "adaptive,"]
    assert ead("models", folder)[1].splitlines()[4:] == PRESETS_AS_LISTED.splitlines()
    assert "independent" not in "".join(ead("compare", folder)[1:])  # the molecules of the settings are the same
    code, listing, told = ead("compare", folder, folder / "card.json")
    assert (code, "independent" in listing) == (0, True)
    assert "as quality.json never has, so that they are not compared pair by pair; for that, make both sets by" in told
    code, _, told = ead("measure", folder, "--num", 3)
    assert (code, "quality.json exists and is kept" in told) == (2, True)


@pytest.mark.usefixtures("measured_here")
def test_names_that_are_not_utf8_are_printed_and_refused_where_they_cannot_be_written(ead, make_checkpoint, tmp_path):
    folder = make_checkpoint(name="model\udcff")
    assert ead("models", folder)[:2] == (0, f"{tmp_path}/model\\udcff\n{PRESETS_AS_LISTED}")
    code, _, told = ead("sample", folder, "--num", 3, "--sizes", 4, "--out", "made\udcfe.parquet")
    assert (code, (tmp_path / "made\udcfe.parquet").is_file()) == (0, True)
    (tmp_path / "a\udcff.xyz").write_text("2\n\nH 0 0 0\nH 0 0 0.74\n")
    assert ead("evaluate", "a\udcff.xyz", "--parts", "none", "--workers", 1)[0] == 0
    code, _, told = ead("evaluate", "a\udcff.xyz", "--parts", "none", "--workers", 1, "--out", "card\udcfe")
    assert code == 2
    assert told.startswith(f"ead: '{tmp_path}/card?/")
    assert told.endswith("' is not UTF-8, as this name must be; rename it.\n")


def test_a_preset_is_sampled_measured_and_listed_by_its_name(ead, make_checkpoint, tmp_path):
    folder = make_checkpoint()
    command = ("sample", folder, "--num", 2, "--sizes", 4, "--overwrite", "--preset")
    assert ead(*command, "fast", "--out", "fast.npz")[0] == 0
    assert ead(*command, "fast", "--out", "two.npz", "sampler.steps=2")[0] == 0
    calls = [load_npz(tmp_path / name).properties["nfe"].tolist() for name in ("fast.npz", "two.npz")]
    assert calls == [[12, 12], [3, 3]]
    code, _, told = ead(*command, "bast", "--out", "x.npz")
    assert (code, told) == (2, "ead: the preset must be fast, balanced or best, not 'bast'; did you mean fast?\n")

    assert ead("measure", folder, "--num", 2, "--presets")[0] == 0
    listing = ead("models", folder)[1].splitlines()[1:]
    assert [line.split("  ")[1] for line in listing[3:]] == [f"preset {name}" for name in NAMES]
    assert all("molecule stability" in line and "12 network calls" in line for line in listing[3:])
    assert load_quality(folder).command.startswith("ead measure checkpoint --presets --num 2")


def test_an_interrupted_measurement_goes_on(ead, make_checkpoint, tmp_path, monkeypatch):
    folder = make_checkpoint()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("ead_core.cli.measure.CHUNK", 2)
    asked = []

    def interrupted(model, request, progress, threads):
        asked.append(request.first)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return fulfil(model, request, progress, threads=threads)

    monkeypatch.setattr("ead_core.sampling.generation.fulfil", interrupted)
    assert ead("measure", folder, "--num", 5)[0] != 0
    assert ead("measure", folder, "--num", 5)[0] == 0
    assert asked == [0, 2, 4, 4, *[0, 2, 4] * 2]  # nothing is made twice
    assert load_quality(folder).rows[0].num_molecules == 5


def test_models_tells_what_can_be_asked_and_in_which_unit(ead, conditional):
    code, listing, _ = ead("models", conditional)
    lines = listing.splitlines()
    assert code == 0
    assert lines[1].split() == ["--target", "alpha", "training", "range", *lines[1].split()[4:]]
    assert lines[1].endswith(" bohr³ (240 molecules)")
    assert lines[2].endswith(" meV (240 molecules)")
    assert lines[3].split()[-3:] == ["D", "(120", "molecules)"]
    assert lines[4].split()[-3:] == ["atoms", "(240", "molecules)"]


def test_targets_are_asked_for_carried_and_warned_of(ead, conditional, tmp_path):
    model, fast = conditional, ("sampler.policy=synchronous", "sampler.guidance=1")
    code, _, told = ead("sample", model, "--num", 3, "--target", "alpha=30", "--target", "gap=5000:6000", *fast)
    assert (code, told.count("\n"), told.count("note: of 3 molecules")) == (0, 2, 1)
    assert "3 molecules → out.sdf (42 network calls" in told
    text = (tmp_path / "out.sdf").read_text()
    assert text.count("<target_alpha>") == text.count("<target_gap>") == 3

    (tmp_path / "t.csv").write_text("alpha,num_atoms\n30,\n,5\n99,\n88,\n")
    code, _, told = ead("sample", model, "--targets", "t.csv", "--composition", "C3O2", "--out", "m.npz", *fast)
    assert code == 0
    warning, done = told.splitlines()
    assert warning.startswith("warning: target alpha=99 is outside the training range ")
    assert warning.endswith(" bohr³ (2 of 4 rows).")
    assert done.startswith("4 molecules → m.npz")
    made = load_npz(tmp_path / "m.npz")
    assert made.num_atoms.tolist() == [5] * 4
    assert made.properties["target_atoms_C"].tolist() == [3] * 4
    assert [bool(text) for text in made.properties["warning"]] == [False, False, True, True]
    ead("sample", model, "--targets", "t.csv", "--num", 5, "--out", "m.npz", "--overwrite", *fast)
    assert load_npz(tmp_path / "m.npz").properties["target_alpha"][4] == 30  # rows are cycled


def test_a_table_says_how_many_molecules_each_row_gets_and_these_carry_its_key(ead, conditional, tmp_path):
    (tmp_path / "t.csv").write_text("alpha,count,key\n30,2,007\n40,,b\n")
    fast = ("sampler.policy=synchronous", "sampler.steps=4")
    for file in ("m.npz", "m.sdf"):
        code, _, told = ead("sample", conditional, "--targets", "t.csv", "--out", file, *fast)
        assert code == 0, told
        made = read_molecules(tmp_path / file).molecules.properties
        assert made["target_alpha"].tolist() == [30, 30, 40]
        assert made["key"].tolist() == ["007", "007", "b"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "--targets counted.csv --num 3",
            "--num cannot be combined with a table that has a column 'count', which says",
        ),
        ("--targets counted.csv --accept valid", "--accept cannot be combined with a table that has a column 'count',"),
        ("--target gpa=1", "conditional is not conditioned on 'gpa'; accepted are alpha, gap, mu, atoms_C, atoms_O."),
        ("--target gap=wide", "target gap must be a number or low:high, not 'wide'."),
        ("--target gap=2:1", "target gap must go from a low to a high number, not from 2 to 1."),
        ("--target gap", "target 'gap' must have the form property=value or property=low:high"),
        ("--targets no.csv", "table no.csv cannot be read (No such file or directory)."),
        ("--targets t.csv --target gap=1", "target gap is given by --target and by t.csv; give it once."),
        ("--composition C2N", "conditional does not know N; its elements are C, O."),
        ("--composition C3O2 --sizes 6", "the targets ask for 5 atoms by element, but the size is to be 6."),
        ("--targets sized.csv --sizes 6", "numbers of atoms are given twice, as sizes and in the column num_atoms of"),
        ("sampler.guidance=21", "sampler.guidance: must be less than or equal to 20, not 21."),
        (
            "sampler.guidance_levels=[0.4,0.1]",
            "sampler.guidance_levels: must be a lower and a higher share of T, not 0.4",
        ),
        ("sampler.guidance_levels=0.4", "sampler.guidance_levels: must be"),
        (
            "PLAIN --target gap=1",
            "plain was trained without properties (conditioning.properties), so",
        ),
        ("sampler.repair_attempts=2", "sampler.repair_attempts is of repairs of what is not accepted, and here all"),
        ("sampler.repair_level=0.2", "sampler.repair_level is of repairs of what is not accepted, and here all"),
        ("--num 1000000000000", "the number of molecules must be at most 10,000,000 at once, not 1,000,000,000,000"),
        ("PLAIN sampler.guidance=1", "sampler.guidance=1 needs a model that was trained with properties"),
        (
            "PLAIN sampler.property_guidance=1",
            "sampler.property_guidance=1 needs a model that was trained with properties",
        ),
    ],
)
def test_a_mistake_about_targets_is_one_line(ead, make_checkpoint, conditional, tmp_path, arguments, sentence):
    (tmp_path / "t.csv").write_text("gap\n5500\n")
    (tmp_path / "counted.csv").write_text("gap,count\n5500,2\n")
    (tmp_path / "sized.csv").write_text("num_atoms\n5\n")
    words = arguments.split()
    model = make_checkpoint(name="plain") if words[0] == "PLAIN" else conditional
    code, told, errors = ead("sample", model, *(word for word in words if word != "PLAIN"))
    assert (code, told, errors.count("\n")) == (2, "", 1), errors
    assert errors.startswith("ead: ")
    assert sentence in errors
    assert not (tmp_path / "out.sdf").exists()


def test_molecules_are_delivered_as_accepted(ead, make_checkpoint, tmp_path):
    make_checkpoint({"sampler.policy": "synchronous"}, "model")
    code, _, told = ead("sample", "model", "--accept", "finite & even_electrons", "--until", 5, "--out", "good.npz")
    assert (code, "5 attempts: 5 delivered;" in told, "5 molecules → good.npz" in told) == (0, True, True)
    made, ledger = load_npz(tmp_path / "good.npz"), json.loads(npz_about(tmp_path / "good.npz")["ledger"])
    assert made.properties["id"].tolist() == [0, 1, 2, 3, 4]
    assert (ledger["asked"], ledger["attempts"], ledger["delivered"], ledger["refused"]) == (5, 5, 5, {})

    few = ("--accept", "stable", "--until", 2, "--max-attempts", 3, "--out", "none.sdf")
    with in_this_process():
        code, _, told = ead("sample", "model", *few)
    assert (code, "refused: 3 not stable" in told) == (2, True)
    assert told.endswith("no molecule was accepted, so nothing is written.\n")
    assert not (tmp_path / "none.sdf").exists()


def test_fewer_than_asked_for_are_written_with_a_sentence(ead, make_checkpoint, monkeypatch, molecules):
    make_checkpoint({"sampler.policy": "synchronous"}, "model")
    ledger = Ledger(
        accept="valid", asked=30, attempts=99, delivered=24, refused={"not valid": 75}, calls=9, surplus=0,
        surplus_calls=0, seconds=1.0, stopped=False,
    )  # fmt: skip
    columns = {name: np.ones(24) for name in ("id", "nfe", "seconds")}
    made = MoleculeSet(molecules.num_atoms, molecules.charges, molecules.positions, columns)
    for stopped, exit_code in ((False, 1), (True, 130)):
        found = Delivery(made, ledger.model_copy(update={"stopped": stopped}))
        monkeypatch.setattr(delivery, "deliver", lambda *_, found=found: found)
        code, _, told = ead("sample", "model", "--accept", "valid", "--until", 30, "--out", "x.npz", "--overwrite")
        assert (code, "24 molecules → x.npz" in told) == (exit_code, True)
        assert ("only 24 of 30 molecules were accepted in 99 attempts." in told) != stopped


@pytest.mark.parametrize("command", ["evaluate", "relax --out x.sdf"])
@pytest.mark.parametrize("seconds", ["inf", "nan", "86401"])
def test_a_molecule_has_no_endless_time(ead, command, seconds):
    code, told, errors = ead(*command.split(), "given.npz", "--time-limit", seconds)
    assert (code, told, "--time-limit" in errors) == (2, "", True)


def test_sampling_has_one_thread_for_each_core(ead):
    ead("sample", "nowhere", "--threads", 2)
    assert torch.get_num_threads() == 1


def test_the_version_is_told(ead):
    assert ead("--version") == (0, f"ead {__version__}\n", "")


def test_the_help_of_sample_names_every_sampler_key(ead):
    _, told, _ = ead("sample", "--help")
    assert all(f"sampler.{key}=" in told.replace("\n", " ") for key in SamplerConfig.model_fields)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("sample nowhere", "'nowhere' is neither a checkpoint directory"),
        (
            "sample qm9-dep",
            "qm9-small-cond, qm9-small-variable); did you mean qm9-deep?",
        ),
        (
            "sample MODEL steps=5",
            "can be changed when sampling, not 'steps'; did you mean sampler.steps?",
        ),
        ("sample MODEL --accept pretty", "'pretty' is no criterion of acceptance; there are finite, even_electrons,"),
        ("sample MODEL --until 3", "--until needs --accept"),
        ("sample MODEL --accept valid --max-attempts 3", "max_attempts needs until"),
        ("sample MODEL --accept valid --until 3 --num 3", "--num cannot be combined with --until."),
        ("sample MODEL --accept valid --best-of 3", "--best-of cannot be combined with --accept."),
        ("sample MODEL --sizes 100", "so 100 atoms are refused; --beyond-training"),
        ("sample MODEL --out recipe.yaml.npz", "recipe.yaml.npz exists and is kept; --overwrite replaces it, or give"),
        ("relax chains.npz --out chains.npz", "chains.npz exists and is kept; --overwrite replaces it"),
        ("sample MODEL sampler.polcy=manual", "unknown configuration key 'sampler.polcy'; did you mean"),
        (
            "sample MODEL sampler.async_ratio=2",
            "sampler.async_ratio: must be less than or equal to 1, not 2.",
        ),
        ("sample MODEL sampler.async_ratio", "must have the form key=value"),
        (
            "sample MODEL network.layers=2",
            "only sampler.* keys can be changed when sampling, not 'network.layers'.",
        ),
        ("sample MODEL --out x.pdb", "x.pdb: the name must end in one of"),
        ("sample MODEL --out file/x.sdf", "cannot write file/x.sdf"),
        (
            "sample MODEL --sizes 5,six",
            "--sizes must be whole numbers separated by commas, or a range such as 15-20, not '5,six'.",
        ),
        ("sample MODEL --sizes 0", "sizes must be between 1 and 512 atoms, not [0]."),
        ("sample MODEL --num 0", "the number of molecules must be at least 1, not 0."),
        ("sample MODEL --seed -1", "seed must be between 0 and"),
        ("sample nowhere --trace t.pkl", "cannot write t.pkl: the name of a trace must end in .npz."),
        ("sample nowhere --trace file/t.npz", "cannot write file/t.npz"),
        ("sample MODEL --trace t.npz --num 65", "at most 64 molecules can be traced at once, not 65."),
        ("sample nowhere --trace t.npz --out t.npz", "--trace and --out must name different files."),
        ("trace nothing.npz --out shown", "trace nothing.npz does not exist."),
        ("trace chains.npz --out shown", "chains.npz is not a trace (format: Field required)"),
        ("trace chains.npz --out file", "cannot write file"),
        ("train nothing.yaml", "nothing.yaml cannot be read: No such file or directory."),
        ("train recipe.yaml data.path=no.npz", "data file no.npz does not exist"),
        ("train recipe.yaml data.path=recipe.yaml", "recipe.yaml is of an unknown kind"),
        ("train recipe.yaml trainig.steps=3", "unknown configuration key 'trainig.steps'"),
        ("train recipe.yaml data.split=published", "the published split needs QM9's"),
        ("train recipe.yaml --out file", "cannot write file"),
        ("train recipe.yaml --out .", "is not empty and holds no run to resume"),
        ("evaluate nothing.xyz", "nothing.xyz does not exist"),
        ("evaluate chains.npz --workers 1 --json file/card.json", "cannot write file/card.json"),
        ("evaluate chains.npz --parts energy", "--parts does not know 'energy'"),
        ("evaluate chains.npz --reference nowhere", "reference nowhere does not exist"),
        ("evaluate chains.npz --train nowhere", "nowhere does not exist"),
        ("evaluate chains.npz --out file", "cannot write file"),
        ("evaluate chains.npz recipe.yaml", "recipe.yaml is of an unknown kind"),
        ("evaluate chains.npz --json ./chains.npz", "--json must name another file than the molecules."),
        ("measure MODEL sampler.repair_attempts=2", "sampler.repair_attempts is of repairs of what is not accepted"),
        ("compare chains.npz chains.npz --out chains.npz", "cannot write chains.npz: the table must end in .md."),
        ("compare chains.npz", "at least two cards"),
        (
            "compare file.json other.json",
            "file.json is neither an evaluation card nor the measured quality of a checkpoint",
        ),
        ("relax chains.npz --out x.sdf --method pm3", "--method must be mmff or gfn2"),
        ("relax chains.npz --out x.doc", "cannot write x.doc"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(ead, recipe, make_checkpoint, tmp_path, arguments, sentence):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "recipe.yaml.npz").write_text("dear to me")
    model = make_checkpoint()
    code, told, errors = ead(*[model if word == "MODEL" else word for word in arguments.split()])
    lines = [line for line in errors.splitlines() if "training molecules of" not in line]
    assert (code, told, len(lines)) == (2, "", 1), errors
    assert lines[0].startswith("ead: ")
    assert sentence in lines[0]
    assert (tmp_path / "file").read_text() == "in the way"
    assert (tmp_path / "recipe.yaml.npz").read_text() == "dear to me"


def test_a_mistake_in_a_real_process(tmp_path):
    command = [sys.executable, "-m", "ead_core.cli", "data", "info", "nowhere.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ead: data file nowhere.npz does not exist")
    assert done.stderr.count("\n") == 1
