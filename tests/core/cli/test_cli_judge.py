"""Judges on the command line: trained by a recipe, choosing among candidates, and judging a file."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from ead_core.data.store import load_npz, npz_about, save_npz
from ead_core.sampling.choice import SELECTED_BY

QUICK = ("sampler.policy=synchronous", "sampler.steps=10")


@pytest.fixture
def recipe(make_config, labelled, tmp_path):
    save_npz(labelled, tmp_path / "chains.npz")
    changes = {
        "training.objective": "predict",
        "conditioning.properties": ["alpha", "gap"],
        "training.steps": 3,
        "training.threads": 1,
    }
    judge = make_config(changes).model_dump(mode="json", exclude={"diffusion"})  # a judge has no noise to set
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump(judge))


@pytest.mark.usefixtures("measured_here")
def test_train_choose_and_judge(ead, recipe, make_conditional, tmp_path):
    make_conditional({"conditioning.half": "second"}, "generator")
    for half, name in (("first", "judge"), ("second", "selector")):
        code, _, told = ead("train", "judge.yaml", "--out", name, f"conditioning.half={half}")
        assert (code, "holds the checkpoint at step 3 of 3" in told) == (0, True)

    listing = ead("models", "judge")[1].splitlines()
    assert listing[0] == "judge"
    assert [line.split()[:2] for line in listing[1:]] == [["judges", "alpha"], ["judges", "gap"]]
    assert "bohr³, 95 % intervals ±" in listing[1]

    wanted = ("--target", "alpha=30", "--target", "gap=7000:8000", "--sizes", "4,6", *QUICK)
    command = ("sample", "generator", "--num", 3, *wanted, "--best-of", 2, "--out", "x.npz", "--overwrite")
    code, _, told = ead(*command, "--selector", "selector")
    assert (code, "3 molecules → x.npz (22 network calls" in told) == (0, True)
    assert "per molecule); a selection, each the best of 2 candidates\n" in told
    kept = load_npz(tmp_path / "x.npz")
    assert kept.num_atoms.tolist() == [4, 6, 4]
    assert [(number // 2) for number in kept.properties["id"].tolist()] == [0, 1, 2]
    assert len(set(kept.properties[SELECTED_BY].tolist())) == 1

    code, shown, _ = ead(
        "evaluate",
        "x.npz",
        "--conditional",
        "--judge",
        "judge",
        "--verdicts",
        "v.csv",
        "--json",
        "c.json",
        "--workers",
        1,
    )
    assert code == 0
    assert "mean absolute deviation from what was asked" in shown
    assert "Note: 3 of 3 molecules were selected, each as the best of 2 candidates" in shown
    table = pd.read_csv(tmp_path / "v.csv")
    assert table.columns.tolist()[:5] == ["id", "target_alpha", "alpha", "alpha_low", "alpha_high"]
    figures = json.loads((tmp_path / "c.json").read_text())["conditional"]["properties"]
    assert figures["alpha"]["error"] == pytest.approx(np.abs(table["target_alpha"] - table["alpha"]).mean())

    halves = ("--best-of", 2, "sampler.branches=4", "sampler.branch_level=0.6", "sampler.pruning_levels=[0.3]")
    branched = ("sample", "generator", "--num", 3, *wanted, "--out", "b.npz", "--overwrite", *halves[2:])
    code, _, told = ead(*branched, "--selector", "selector")
    assert (code, "; a selection, each the best of 4 candidates\n" in told) == (0, True)
    made = load_npz(tmp_path / "b.npz")
    assert made.properties["best_of"].tolist() == [4] * 3
    assert made.properties[SELECTED_BY].tolist() == kept.properties[SELECTED_BY].tolist()
    code, _, told = ead(*branched, "--selector", "selector", *halves[:2])
    assert (code, "; a selection, each the best of 8 candidates\n" in told) == (0, True)
    both = load_npz(tmp_path / "b.npz").properties
    assert both["best_of"].tolist() == [8] * 3
    assert both["nfe"].sum() == 2 * made.properties["nfe"].sum()

    (tmp_path / "wanted.csv").write_text("alpha,gap,num_atoms\n30,7000:8000,4\n25,,\n,6000,6\n")
    match = ("sample", "generator", "--targets", "wanted.csv", "--match", "--accept", "finite", "--wishes", "w.csv")
    chosen = ("--selector", "selector", *QUICK, "--overwrite")
    code, _, told = ead(*match, *chosen, "--pool", 6, "--out", "m.npz")
    assert (code, "3 of 3 wishes got a molecule; distance from what was asked, by the selector: " in told) == (0, True)
    assert "12 attempts: 3 delivered" in told
    rows, matched = pd.read_csv(tmp_path / "w.csv"), load_npz(tmp_path / "m.npz")
    assert rows["id"].tolist() == matched.properties["id"].tolist()
    assert matched.num_atoms[[0, 2]].tolist() == [4, 6]
    assert rows[["target_alpha", "target_gap_low"]].fillna(0).values.tolist() == [[30, 7000], [25, 0], [0, 6000]]
    assert npz_about(tmp_path / "m.npz").keys() == {"ledger", "passport"}

    ranged = ("sample", "generator", "--target", "gap=-1e9:1e9", "--out", "r.npz", *chosen)
    code, _, told = ead(*ranged, "--accept", "finite & in_range", "--until", 3)
    assert (code, "valid and 3 of them predicted to be in range; of those delivered, about 3" in told) == (0, True)
    assert load_npz(tmp_path / "r.npz").properties[SELECTED_BY].tolist() == kept.properties[SELECTED_BY].tolist()

    counted = ("--target", "atoms_C=2", *QUICK, "--best-of", 3, "--out", "isomers.npz")
    code, _, told = ead("sample", "generator", "--num", 2, *counted)
    assert (code, "2 molecules → isomers.npz (33 network calls" in told) == (0, True)
    code, shown, _ = ead("evaluate", "isomers.npz", "--conditional", "--judge", "judge", "--parts", "none")
    assert (code, "with the elements asked for: " in shown) == (0, True)

    for arguments, sentence in (
        ((*command, "--selector", "judge"), "a selector must have the generator's half"),
        (command, "alpha must be predicted, and no bundled selector has learnt from the labels of generator; give a"),
        (
            (*command[:4], "--selector", "selector"),
            "--selector predicts for --best-of, --match, sampler.branches, sampler.property_guidance or",
        ),
        ((*command[:4], "--best-of", 2), "--best-of keeps what is nearest to its targets; give some with --target"),
        ((*command[:4], "sampler.branches=2"), "sampler.branches keeps what is nearest to its targets; give some with"),
        ((*branched, "--selector", "judge"), "a selector must have the generator's half"),
        ((*branched, "--selector", "selector", "--trace", "t.npz"), "--trace cannot be combined with sampler.branches"),
        (("evaluate", "x.npz", "--conditional", "--judge", "selector"), "were chosen by selector itself"),
        (("evaluate", "x.npz", "--conditional", "--judge", "generator"), "a judge is trained with"),
        (("sample", "judge"), "it generates nothing"),
        ((*match[:2], "--match"), "--match needs --targets, a table with a row per wish."),
        ((*match[:5], "--num", 3), "--num cannot be combined with --match."),
        ((*match[:5], "--until", 3), "--until cannot be combined with --match."),
        (
            (*match[:2], "--wishes", "w.csv"),
            "--wishes needs --match, which matches molecules with",
        ),
        ((*match, "--out", "n.npz"), "w.csv exists and is kept; --overwrite replaces it"),
        ((*match[:5], "--wishes", "n.parquet", "--out", "n.parquet"), "--wishes and --out must name different files."),
        ((*match[:5], "--wishes", "m.npz/w.csv", "--out", "n.npz"), "m.npz is not a folder that you may write to."),
        (("evaluate", "x.npz", "--verdicts", "n.csv"), "--verdicts needs --conditional, which judges the molecules."),
        (
            ("evaluate", "gone.npz", "--conditional", "--verdicts", "n.txt"),  # before anything is read
            "the table of molecules must end in .csv or .parquet.",
        ),
        ((*match[:5], "--wishes", "w.txt"), "the table of wishes must end in .csv or .parquet."),
        ((*match[:5], "--pool", 5, "--max-attempts", 4), "pool must be at most max_attempts, 4, not 5."),
        (
            (*ranged[:2], "--until", 3, "--target", "gap=9:8"),
            "target gap must go from a low to a high number, not",
        ),
        (
            (*ranged[:2], "--until", 3, "--target", "gap=9"),
            "--until needs --accept, which says what a delivered",
        ),
        ((*ranged[:2], "--accept", "in_range", "--num", 3), "in_range needs a range among the targets, e.g. gap=6000"),
    ):
        code, _, told = ead(*arguments)
        assert (code, sentence in told) == (2, True), told
        assert told.count("\n") == 1
