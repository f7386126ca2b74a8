"""`ead reproduce`: molecules are made again from their file alone, and what was changed in it is found."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.formats import read_molecules, write_molecules
from ead_core.data.parquet import parquet_entries, write_parquet
from ead_core.data.records import PASSPORT
from ead_core.data.sdf_writer import sdf_records
from ead_core.data.shard_folders import SHARD_ENTRY
from ead_core.data.store import load_npz, npz_about, save_npz
from ead_core.evaluation.acceptance import Verdict
from ead_core.sampling import delivery, reproduction
from ead_core.sampling.generation import fulfil
from ead_core.sampling.requests import Request, sampler_config

from ...in_this_process import in_this_process

QUICK = ("sampler.policy=synchronous", "sampler.steps=6")
FORMATS = (".sdf", ".sdf.gz", ".xyz", ".npz", ".parquet")


@pytest.fixture
def again(ead, untrained):
    """Reproduce a molecule of a file with the untrained model, or another; returns exit code, output and errors."""

    def again(file, number, model=untrained):
        return ead("reproduce", file, "--id", number, "--checkpoint", model)

    return again


@pytest.fixture
def sampled(ead, untrained):
    """Sample with the untrained model, or another, into a file of this name."""

    def sampled(out, *options, model=untrained):
        with in_this_process():
            code, _, told = ead("sample", model, *QUICK, "--out", out, *options)
        assert code == 0, told
        return out

    return sampled


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_carries_what_makes_a_molecule_again(again, sampled, ending):
    file = sampled(f"m{ending}", "--num", 5, "--seed", 7)
    code, told, _ = again(file, 3)
    assert (code, told.count("\n"), told.startswith(f"same: molecule 3 of {file}, ")) == (0, 2, True), told
    assert "made again by checkpoint with seed 7 in 7 network calls on cpu\n" in told
    assert PASSPORT not in read_molecules(file).molecules.properties


def test_a_moved_atom_and_another_element_are_found(again, sampled, tmp_path):
    file, path = sampled("m.npz", "--num", 3), tmp_path / "m.npz"
    molecules, about = load_npz(path), npz_about(path)
    place = molecules.offsets[1] + 2
    for off, code in ((0.5e-4, 0), (3e-4, 1)):
        positions = molecules.positions.copy()
        positions[place, 1] += off
        save_npz(replace(molecules, positions=positions), path, about)
        assert [again(file, number)[0] for number in range(3)] == [0, code, 0]
    code, told, _ = again(file, 1)
    assert told.startswith(f"different: molecule 1 of {file}, ")
    assert "a coordinate is 3.0e-04 Å off\n" in told
    charges = molecules.charges.copy()
    charges[place] = 14 - charges[place]  # carbon for oxygen
    save_npz(replace(molecules, charges=charges), path, about)
    code, told, _ = again(file, 1)
    assert (code, "it has other elements" in told) == (1, True)


@pytest.mark.parametrize(("key", "value"), [("seed", 8), ("steps", 7), ("temperature", 0.5)])
def test_another_seed_or_setting_in_the_passport_is_found(again, sampled, tmp_path, key, value):
    file = sampled("m.npz", "--num", 2, "--seed", 7)
    passport = json.loads(npz_about(tmp_path / file)[PASSPORT])
    (passport if key == "seed" else passport["sampler"])[key] = value
    save_npz(load_npz(file), file, {PASSPORT: json.dumps(passport)})
    assert again(file, 1)[0] == 1


def test_what_was_asked_of_it_is_asked_again(again, sampled, conditional, tmp_path):
    (tmp_path / "w.csv").write_text("alpha,gap,num_atoms\n30,7000:8000,4\n25:35,,\n,6000,6\n")
    file = sampled("m.sdf", "--targets", "w.csv", "--num", 6, "sampler.guidance=2", model=conditional)
    assert [again(file, number, model=conditional)[0] for number in (0, 4, 5)] == [0] * 3
    told = (tmp_path / file).read_text().split("$$$$\n")
    value = told[4].partition("<target_alpha>\n")[2].partition("\n")[0]
    told[4] = told[4].replace(f"<target_alpha>\n{value}\n", f"<target_alpha>\n{float(value) + 1}\n")
    (tmp_path / file).write_text("$$$$\n".join(told))
    assert [again(file, number, model=conditional)[0] for number in (1, 4)] == [0, 1]


@pytest.mark.parametrize(
    "options",
    [
        ("--target", "atoms_C=2", "--best-of", 3, "--num", 2),
        ("--target", "atoms_C=2", "sampler.branches=3", "sampler.branch_level=0.6", "--num", 2),
        ("--composition", "C3O2", "--num", 2, "sampler.formula_guidance=0"),
        ("--target", "atoms_C=1:2", "--until", 2, "--accept", "finite & in_range"),
    ],
    ids=["best of", "branches", "formula", "in range"],
)
def test_a_molecule_that_was_chosen_or_led_is_made_again(again, sampled, conditional, tmp_path, options):
    file = sampled("m.npz", *options, model=conditional)
    for number in load_npz(tmp_path / file).properties["id"].tolist():
        code, told, errors = again(file, number, model=conditional)
        assert code == 0, told + errors


def test_a_matched_molecule_is_made_for_the_wish_of_its_attempt(again, sampled, conditional, tmp_path):
    (tmp_path / "w.csv").write_text("atoms_C\n1:4\n2:4\n1:5\n")
    file = sampled(
        "m.npz", "--targets", "w.csv", "--match", "--accept", "finite", "--max-attempts", 12, model=conditional
    )
    molecules = load_npz(tmp_path / file)
    assert "made_for_atoms_C" in molecules.properties
    for number in molecules.properties["id"].tolist():
        assert again(file, number, model=conditional)[0] == 0
    own = {name: values for name, values in molecules.properties.items() if not name.startswith("made_for_")}
    save_npz(replace(molecules, properties=own), file, npz_about(file))
    code, _, told = again(file, molecules.properties["id"][0], model=conditional)
    assert (code, "the file does not say for which it was made" in told) == (2, True)


@pytest.mark.parametrize("extent", ["whole", "local"])
def test_a_repaired_molecule_is_repaired_again(again, sampled, make_checkpoint, monkeypatch, tmp_path, extent):
    model = make_checkpoint({"training.fragments": 0.2})

    def judged(chunk, acceptance):
        right = chunk.molecules.positions[chunk.molecules.offsets[:-1], 0] > 0
        return [Verdict("its first atom is on the right" if bad else "", None) for bad in right.tolist()]

    monkeypatch.setattr(delivery, "judge", judged)
    options = (f"sampler.repair_extent={extent}", "sampler.repair_attempts=3", "sampler.repair_level=1")
    file = sampled("m.sdf", "--accept", "finite", "--num", 8, *options, model=model)
    rounds = read_molecules(tmp_path / file).molecules.properties
    repaired = np.flatnonzero(rounds["repaired"])
    assert len(repaired) > 2
    last = repaired[np.argsort(rounds["repaired"][repaired])[-2:]]  # those that took the most rounds
    assert (rounds["repaired"][last] > 1).any()
    for number in rounds["id"][last].tolist():
        code, told, errors = again(file, number, model=model)
        assert code == 0, told + errors


def test_a_fragment_is_in_the_passport(again, sampled, make_checkpoint, tmp_path):
    model = make_checkpoint({"training.fragments": 0.2})
    (tmp_path / "part.xyz").write_text("2\n\nC 1 0 0\nO 2.2 0 0\n")
    file = sampled("m.xyz", "--num", 2, "--fragment", "part.xyz", "--sizes", "4-5", model=model)
    (tmp_path / "part.xyz").unlink()
    code, told, errors = again(file, 1, model=model)
    assert code == 0, told + errors


def test_a_model_that_decides_sizes_decides_them_again(again, sampled, make_checkpoint):
    model = make_checkpoint({"diffusion.size_mode": "dummy"})
    assert again(sampled("m.npz", "--num", 3, model=model), 2, model=model)[0] == 0


def test_a_shard_says_it_in_its_footer(again, untrained, tmp_path):
    model = load_checkpoint(untrained)
    config = sampler_config(model, {"policy": "synchronous", "steps": 6})
    settings = SamplerConfig.model_dump(config, mode="json", exclude={"temperature", "branches"})  # as older ones
    question = {
        "checkpoint": model.name, "fingerprint": model.fingerprint(), "seed": 4, "shard_size": 3, "sizes": [4, 5],
        "threads": 1, "device": "cpu", **{f"sampler.{key}": value for key, value in settings.items()},
    }  # fmt: skip
    made = fulfil(model, Request(3, config, 4, 3, (4, 5)))
    for more, code in (({}, 0), ({"seed": 5}, 1)):
        footer = {"version": 2, "question": question | more, "name": "shard-00001.parquet", "rows": 3}
        write_parquet(made, tmp_path / "shard-00001.parquet", {SHARD_ENTRY: json.dumps(footer)})
        assert [again("shard-00001.parquet", number)[0] for number in (3, 5)] == [code, code]


def test_an_answer_of_the_service_is_read(again, sampled, tmp_path):
    molecules = read_molecules(sampled("m.parquet", "--num", 2, "--seed", 3)).molecules
    symbols = {6: "C", 8: "O"}
    made = [
        {"id": number, "elements": [symbols[one] for one in molecule.charges], "sdf": record.text}
        | {"positions": molecule.positions.astype(float).round(6).tolist()}
        for number, (molecule, record) in enumerate(zip(molecules, sdf_records(molecules), strict=True))
    ]
    passport = json.loads(parquet_entries(tmp_path / "m.parquet")[PASSPORT])
    answer = tmp_path / "answer.json"
    answer.write_text(json.dumps({"molecules": made, "passport": passport}))
    assert again("answer.json", 1)[0] == 0
    made[1]["positions"][0][0] += 0.001
    answer.write_text(json.dumps({"molecules": made, "passport": passport}))
    assert [again("answer.json", number)[0] for number in (0, 1)] == [0, 1]
    answer.write_text(json.dumps({"molecules": made}))
    assert again("answer.json", 1)[0] == 2


def test_files_that_are_joined_keep_their_passports(again, sampled, tmp_path):
    texts = [(tmp_path / sampled(f"{seed}.sdf", "--num", 2, "--seed", seed)).read_text() for seed in (1, 2)]
    (tmp_path / "joined.sdf").write_text(texts[0].split("$$$$\n")[0] + "$$$$\n" + texts[1])
    assert [again("joined.sdf", number)[0] for number in (0, 1)] == [0, 0]


@pytest.mark.parametrize(
    ("off", "rounding", "code"), [(0.01, 0.02, 2), (0.01, 2e-4, 2), (0.01, 5e-5, 1), (0.5, 2e-4, 1), (5.0, 0.05, 2)]
)
def test_what_rounding_alone_may_have_done_is_no_verdict(again, sampled, monkeypatch, off, rounding, code):
    file, make = sampled("m.npz", "--num", 1), reproduction._make

    def shaken(*arguments, in_double=False):
        made = make(*arguments, in_double=in_double)
        return replace(made, positions=made.positions + off + rounding * in_double)

    monkeypatch.setattr(reproduction, "_make", shaken)
    found, told, errors = again(file, 0)
    assert (found, told == "", errors.count("\n")) == (code, code == 2, code == 2)
    assert errors.startswith("ead: nobody can tell whether the molecule is the same: ") == (code == 2)


def test_mistakes_are_one_sentence(again, ead, sampled, make_checkpoint, tmp_path):
    file = sampled("m.sdf", "--num", 2)
    other = make_checkpoint({"network.hidden_features": 16}, "other")
    write_molecules(read_molecules(file).molecules, tmp_path / "bare.parquet")
    (tmp_path / "made.smi").write_text("CO\t0\n")
    found = read_molecules(file).molecules
    broken = found.select([0])
    write_molecules(broken, tmp_path / "broken.sdf", {PASSPORT: "{"})
    write_molecules(broken, tmp_path / "later.npz", {PASSPORT: '{"version": 9}'})
    write_molecules(broken, tmp_path / "less.npz", {PASSPORT: '{"version": 1, "model": "m"}'})
    for outcome, sentence in (
        (again("none.sdf", 0), "none.sdf is no file."),
        (again(file, 2), "m.sdf holds no usable molecule with the id 2."),
        (again("bare.parquet", 0), "bare.parquet carries no passport, without which"),
        (again("made.smi", 0), "SMILES and the .sdf.gz of shards cannot."),
        (again("broken.sdf", 0), "broken.sdf carries a passport that is no JSON."),
        (again("later.npz", 0), "later.npz is a passport of version 9; this program reads 1."),
        (again("less.npz", 0), "less.npz is not a passport (fingerprint: Field required)."),
        (again(file, 0, model=other), "other has the fingerprint "),
        (ead("reproduce", file, "--id", 0), "checkpoint, which made the molecules, is not bundled; name it with --ch"),
    ):
        code, told, errors = outcome
        assert (code, told, errors.count("\n")) == (2, "", 1), errors
        assert sentence in errors
