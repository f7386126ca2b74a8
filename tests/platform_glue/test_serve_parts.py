"""The service without a cluster: what is documented, what is admitted, what is answered."""

import asyncio
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
import torch
import yaml
from fastapi import FastAPI
from pydantic import ValidationError
from rdkit import Chem

from ead_core.checkpoints.checkpoint import PRETRAINED, load_checkpoint
from ead_core.config import SamplerConfig
from ead_core.data import priors
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import Targets
from ead_core.data.tensors import size_mask
from ead_core.diffusion.policy import Adaptive
from ead_core.errors import CheckpointError, ConfigError
from ead_core.sampling.branching import BranchPlan
from ead_core.sampling.build import build_process
from ead_core.sampling.generation import complete, fulfil, sample
from ead_core.sampling.requests import Request, prepare
from ead_core.sampling.state import initial_state
from serve.__main__ import KEEP_ALIVE_SECONDS, _jobs_wait
from serve.answers import as_json, as_text, diverged
from serve.app import api
from serve.document import tailored
from serve.limits import Border, RefusalError, worst_calls
from serve.model import _lasting
from serve.models import describe, models
from serve.problems import explain_problems
from serve.proxies import ENVIRONMENT
from serve.replies import FAILED
from serve.schema import MoleculesRequest
from serve.settings import ServeSettings

ROOT = Path(__file__).parents[2]
LIMITS = {"max_molecules": 8, "batch_molecules": 16, "max_network_calls": 400}
SYNCHRONOUS = {"sampler.policy": "synchronous"}


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint):
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="module")
def border(tiny, tiny_checkpoint):
    return Border(tiny, ServeSettings(checkpoint=str(tiny_checkpoint), **LIMITS))


@pytest.fixture(scope="module")
def document():
    return api.openapi()


def wanted(**body):
    return MoleculesRequest.model_validate(body)


# --- the OpenAPI document


def test_every_sampler_key_of_a_recipe_is_documented_but_those_of_the_machine(document):
    entries = document["components"]["schemas"]["SamplerSettings"]["properties"]
    machine = {"batch_size", "memory_budget", "precision"}
    assert set(entries) == {f"sampler.{key}" for key in SamplerConfig.model_fields.keys() - machine}
    assert all(entry["description"] and "default" not in entry for entry in entries.values())
    assert entries["sampler.async_ratio"] | {"minimum": 0, "maximum": 1} == entries["sampler.async_ratio"]


def test_the_documented_examples_are_accepted(border):
    for example in MoleculesRequest.model_json_schema()["examples"]:
        assert wanted(**example).model_dump(by_alias=True, exclude_unset=True) == example


def test_the_document_names_every_kind_of_answer(document):
    answers = document["paths"]["/v1/molecules"]["post"]["responses"]
    assert {"200", "422", "500", "503"} <= set(answers)
    kinds = {"application/json", "chemical/x-mdl-sdfile", "chemical/x-xyz", "chemical/x-daylight-smiles"}
    assert set(answers["200"]["content"]) == kinds
    assert set(document["paths"]) == {
        *("/v1/molecules", "/v1/predict", "/v1/evaluate", "/v1/estimate"),
        *("/v1/jobs", "/v1/jobs/{job}", "/v1/jobs/{job}/molecules"),
        *("/v1/model", "/v1/models", "/v1/health/live", "/v1/health/ready"),
    }


# --- the settings of the service


def test_the_config_file_has_the_defaults():
    config = yaml.safe_load((ROOT / "serve" / "config.yaml").read_text())
    (application,) = config["applications"]
    assert application["args"] == ServeSettings().model_dump()
    assert application["import_path"] == "serve.app:build"
    assert config["http_options"]["host"] == "127.0.0.1"
    assert config["controller_options"]["runtime_env"]["env_vars"] == ENVIRONMENT
    assert config["http_options"]["keep_alive_timeout_s"] == KEEP_ALIVE_SECONDS


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"chekpoint": "x"}, "did you mean checkpoint?"),
        ({"threads": "0"}, "threads: must be greater than or equal to 1"),
        ({"batch_molecules": "0"}, "batch_molecules: must be greater than or equal to 1"),
        ({"replicas": "many"}, "replicas: must be a valid integer"),
    ],
)
def test_a_mistake_in_the_settings_is_one_sentence(given, sentence):
    with pytest.raises(click.ClickException) as raised:
        ServeSettings.model_validate(given)
    assert sentence in raised.value.message
    assert "\n" not in raised.value.message


def test_serve_run_prints_a_mistake_without_a_traceback():
    command = [sys.executable, "-m", "ray.serve.scripts", "run", "serve.app:build", "checkpoint=nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Error: 'nowhere' is neither a checkpoint directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("replicas", "cpus", "waits"), [(1, 2, False), (2, 2, True), (1, 1, True)])
def test_a_service_without_a_cpu_for_jobs_says_so(replicas, cpus, waits):
    told = _jobs_wait(ServeSettings(replicas=replicas), cpus)
    assert bool(told) == waits
    assert not waits or told == f"jobs will wait: the replicas take {replicas} of {cpus} CPUs, and a job needs one."


def test_a_checkpoint_folder_is_made_absolute_and_a_bundled_name_is_kept(tiny_checkpoint, monkeypatch):
    monkeypatch.chdir(tiny_checkpoint.parent)
    assert ServeSettings(checkpoint=tiny_checkpoint.name).located().checkpoint == str(tiny_checkpoint)
    assert ServeSettings(checkpoint="qm9-small").located().checkpoint == "qm9-small"
    with pytest.raises(CheckpointError, match="neither a checkpoint directory"):
        ServeSettings(checkpoint="nowhere").located()


def test_a_checkpoint_whose_own_settings_exceed_the_limits_is_not_served(tiny):
    with pytest.raises(ConfigError, match=r"must be at least 121.*not 100"):
        Border(tiny, ServeSettings(max_network_calls=100))


# --- the border


def test_an_admitted_request_is_the_engines(border, tiny):
    request = border.admit(wanted(num=3, seed=5, sizes=[4, 6], sampler={"sampler.async_ratio": 0.1}))
    settings = tiny.config.sampler.model_copy(update={"async_ratio": 0.1, "batch_size": 16})
    assert request == Request(3, settings, seed=5, sizes=(4, 6))


def test_an_admitted_range_is_the_engines(border):
    assert border.admit(wanted(size_range={"smallest": 5, "largest": 9})).sizes == priors.SizeRange(5, 9)


@pytest.mark.parametrize(
    ("body", "place", "accepted"),
    [
        ({"num": 0}, ("num",), "between 1 and 8"),
        ({"num": 9}, ("num",), "between 1 and 8"),
        ({"sizes": []}, ("sizes",), "between 1 and 8 sizes"),
        ({"sizes": [4] * 9}, ("sizes",), "between 1 and 8 sizes"),
        ({"sizes": [4, 3]}, ("sizes", 1), "between 4 and 6 atoms"),
        ({"sizes": [7]}, ("sizes", 0), "between 4 and 6 atoms"),
        (
            {"size_range": {"smallest": 7, "largest": 9}, "sizes": None},
            ("size_range",),
            "must include a size of training",
        ),
        ({"size_range": {"smallest": 4, "largest": 6}, "sizes": [4]}, ("size_range",), "left out where sizes are"),
        ({"sampler": {"sampler.steps": 41}}, ("sampler", "sampler.steps"), "at most the 40 levels"),
        ({"sampler": {"sampler.steps": 2}}, ("sampler", "sampler.steps"), "use more steps"),
        ({"sampler": {"sampler.interval": 17}}, ("sampler", "sampler.interval"), "twice the training interval (8)"),
        (
            {"sampler": {"sampler.policy": "synchronous", "sampler.max_pauses": 3}},
            ("sampler", "sampler.max_pauses"),
            "has no effect with sampler.policy=synchronous; it needs sampler.policy=adaptive or random.",
        ),
        (
            {"sampler": {"sampler.repair_attempts": 2}},
            ("sampler", "sampler.repair_attempts"),
            "is of repairs of what is not accepted, and here all molecules are",
        ),
        ({"sampler": {"sampler.policy": "manual", "sampler.lag": 99}}, ("sampler", "sampler.lag"), "at most 8"),
        (
            {"sampler": {"sampler.max_pauses": 50}},
            ("sampler",),
            "441 network calls with these settings, and at most 400",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_by_field_and_range(border, body, place, accepted):
    body = {"sizes": [6], **body}
    with pytest.raises(RefusalError) as raised:
        border.admit(wanted(**body))
    assert raised.value.location == ("body", *place)
    assert accepted in str(raised.value)


def test_no_number_that_is_admitted_overflows_a_tensor(border, tiny):
    """Such a request would fail in its batch, together with those of others."""
    largest = 10_000
    for sampler in ({"policy": "manual", "lag": largest}, {"policy": "manual", "group_size": largest}):
        request = border.admit(wanted(num=1, sizes=[4], sampler={f"sampler.{k}": v for k, v in sampler.items()}))
        assert len(fulfil(tiny, request)) == 1
    with pytest.raises(ValueError, match="less than or equal to 10000"):
        wanted(sampler={"sampler.lag": 10**30})


class Stubborn(Adaptive):
    """An adaptive policy that never sees a velocity fall."""

    def wants_to_advance(self, now):
        return torch.zeros_like(now.mask)


@pytest.mark.parametrize("settings", [{}, {"steps": 20, "async_ratio": 0.7, "max_pauses": 3}])
def test_the_limit_counts_the_calls_of_a_molecule_that_pauses_whenever_it_may(tiny, settings):
    process = build_process(tiny, tiny.config.sampler.model_copy(update=settings), 6)
    process = replace(process, policy=Stubborn(**vars(process.policy)))
    state = initial_state(torch.zeros(2).long(), torch.arange(2), size_mask([6, 4]), 7, process)
    assert complete(tiny, state, process).properties["nfe"].max() == worst_calls(process, 6)


def test_a_preset_comes_before_the_checkpoints_settings_and_after_the_clients(border):
    request = border.admit(wanted(num=1, preset="fast", sampler={"sampler.steps": 7}))
    assert (request.sampler.policy, request.sampler.steps) == ("synchronous", 7)
    with pytest.raises(ValidationError, match="'fast', 'balanced' or 'best'"):
        wanted(preset="quick")


def test_windows_of_levels_come_as_lists(border):
    own = {"sampler.temperature": 0.5, "sampler.corrector": 1, "sampler.parity_restarts": 1}
    windows = {f"sampler.{part}_levels": [0.1, 0.3] for part in ("temperature", "corrector", "parity")}
    sampler = border.admit(wanted(num=1, sampler={**own, **windows})).sampler
    assert {sampler.temperature_levels, sampler.corrector_levels, sampler.parity_levels} == {(0.1, 0.3)}


def test_a_costly_corrector_is_named(border):
    with pytest.raises(RefusalError, match=r"lower sampler\.corrector, sampler\.max_pauses, "):
        border.admit(wanted(num=1, sampler={"sampler.corrector": 20, "sampler.corrector_levels": [0, 1]}))


@pytest.mark.parametrize(
    ("limit", "place", "sentence"),
    [
        ({"max_request_calls": 300}, "num", "ask for at most 2 with these settings, or lower sampler.max_pauses"),
        ({"max_network_calls": 121, "max_request_calls": 121}, "num", "ask for at most 1 with these settings"),
    ],
)
def test_the_calls_of_all_molecules_of_a_request_are_bounded(tiny, tiny_checkpoint, limit, place, sentence):
    border = Border(tiny, ServeSettings(checkpoint=str(tiny_checkpoint), **{**LIMITS, **limit}))
    with pytest.raises(RefusalError) as raised:
        border.admit(wanted(num=8))
    assert raised.value.location == ("body", place)
    assert sentence in str(raised.value)
    most = int(str(raised.value).split("at most ")[1].split()[0])
    assert border.admit(wanted(num=most, sizes=[6])).num == most


@pytest.mark.parametrize(
    "settings",
    [
        {"policy": "synchronous"},
        {"policy": "manual", "group_size": 1},
        {"policy": "synchronous", "corrector": 0.7, "corrector_levels": (0.1, 0.6), "temperature": 0.5},
    ],
)
def test_the_limit_counts_the_calls_of_fixed_schedules(tiny, settings):
    process = build_process(tiny, tiny.config.sampler.model_copy(update=settings), 6)
    assert set(sample(tiny, 2, sizes=[6], **settings).properties["nfe"]) == {worst_calls(process, 6)}


def test_the_limit_counts_the_calls_of_a_formula(border):
    formula = {"atoms_H": 2, "atoms_C": 2, "atoms_O": 1}
    settings = {"sampler.formula_restarts": 0, **SYNCHRONOUS}
    request = border.admit(wanted(num=2, targets=formula, sampler=settings))
    prepared = prepare(border.checkpoint, request)
    assert set(fulfil(border.checkpoint, prepared).properties["nfe"]) == {worst_calls(prepared.process, 5)}
    plain = prepare(border.checkpoint, replace(request, targets=None)).process
    assert worst_calls(prepared.process, 5) > worst_calls(plain, 5)


# --- targets


@pytest.fixture(scope="module")
def asked(conditional_checkpoint):
    """The border of a model that is conditioned on the gap and the number of carbons."""
    settings = ServeSettings(checkpoint=str(conditional_checkpoint), **LIMITS)
    return Border(load_checkpoint(conditional_checkpoint), settings)


def test_admitted_targets_are_the_engines(asked):
    request = asked.admit(wanted(num=2, targets={"gap": 6500, "atoms_C": [1, 2]}))
    assert request.targets == Targets.of({"gap": 6500, "atoms_C": (1, 2)})
    assert asked.admit(wanted(targets={})).targets is None


@pytest.mark.parametrize(
    ("body", "place", "accepted"),
    [
        ({"targets": {"gpa": 1}}, ("targets", "gpa"), "accepted are gap, atoms_C."),
        ({"targets": {"atoms_C": 1.5}}, ("targets", "atoms_C"), "must be a number of atoms, not 1.5."),
        ({"targets": {"atoms_C": 3}, "sizes": [4, 4]}, None, ""),
        (
            {"targets": {"atoms_C": 5}, "sizes": [4]},
            ("targets",),
            "ask for 5 atoms by element, but the size is",
        ),
        ({"targets": {"atoms_C": 30}}, ("targets",), "must bring at most 6 atoms, as in training, not 30."),
        (
            {"targets": {"gap": 1}, "sampler": {"sampler.guidance": 1, "sampler.max_pauses": 30}},
            ("sampler",),
            "562 network calls with these settings, and at most 400 are served; lower sampler.guidance, sampler.max",
        ),
        ({"sampler": {"sampler.guidance": 1, "sampler.max_pauses": 30}}, None, ""),
    ],
)
def test_targets_that_cannot_be_served_are_refused_by_field(asked, body, place, accepted):
    if place is None:
        asked.admit(wanted(**body))
        return
    with pytest.raises(RefusalError) as raised:
        asked.admit(wanted(**body))
    assert raised.value.location == ("body", *place)
    assert accepted in str(raised.value)


def test_a_model_without_properties_takes_no_targets_and_no_guidance(border):
    with pytest.raises(RefusalError, match="takes no targets") as raised:
        border.admit(wanted(targets={"gap": 1}))
    assert raised.value.location == ("body", "targets")
    with pytest.raises(RefusalError, match=r"sampler\.guidance=1 needs a model that was trained with") as raised:
        border.admit(wanted(sampler={"sampler.guidance": 1}))
    assert raised.value.location == ("body", "sampler", "sampler.guidance")


@pytest.mark.parametrize("wish", ["1", None, True, [1], [1, 2, 3], [2, 1], math.nan, math.inf, {"low": 1}])
def test_a_wish_that_is_no_number_is_refused_in_its_place(wish):
    with pytest.raises(ValidationError) as raised:
        wanted(targets={"mu": 1, "gap": wish})
    (error,) = raised.value.errors()
    assert error["loc"] == ("targets", "gap")
    assert error["msg"] == "Value error, must be a number or [low, high] with low at most high"


def test_the_document_of_a_model_with_equal_levels_has_no_keys_of_other_policies(border, document):
    config = border.checkpoint.config.override({"diffusion.interval": 0, **SYNCHRONOUS})
    equal = Border(replace(border.checkpoint, config=config), border.settings)
    schemas = tailored(document, equal, equal)["components"]["schemas"]
    offered = schemas["SamplerSettings"]["properties"]
    assert offered["sampler.policy"]["enum"] == ["synchronous"]
    families = (
        "temperature",
        "start",
        "corrector",
        "parity",
        "composition",
        "formula",
        "repair",
    )  # of the sampler, whatever the policy
    others = {key for key in offered if not key.removeprefix("sampler.").startswith(families)}
    assert others == {"sampler.policy", "sampler.solver", "sampler.steps", "sampler.grid"}
    assert all("sampler" not in example for example in schemas["MoleculesRequest"]["examples"])
    left_out = document["components"]["schemas"]["SamplerSettings"]["properties"].keys() - offered.keys()
    defaults = SamplerConfig().model_dump(mode="json")
    for key in left_out - {"sampler.guidance", "sampler.property_guidance", "sampler.branches"}:
        with pytest.raises(RefusalError, match=f"{key} has no effect with"):
            equal.admit(wanted(sampler={key: defaults[key.removeprefix("sampler.")]}))


def test_the_document_says_what_a_wish_is(document):
    field = document["components"]["schemas"]["MoleculesRequest"]["properties"]["targets"]
    pair = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    assert field["anyOf"][0]["additionalProperties"] == {"anyOf": [{"type": "number"}, pair]}


def test_the_limit_counts_the_calls_of_guidance(asked):
    request = asked.admit(wanted(num=2, targets={"gap": 6000}, sampler={"sampler.guidance": 1, **SYNCHRONOUS}))
    process = build_process(asked.checkpoint, request.sampler, 6)
    assert set(fulfil(asked.checkpoint, request).properties["nfe"]) == {worst_calls(process, 6, guided=True)} == {82}
    assert worst_calls(process, 6) == 41


@pytest.mark.parametrize("guidance", [0, 1])
def test_the_limit_counts_the_calls_of_branches(asked, guidance):
    settings = {"sampler.branches": 4, "sampler.guidance": guidance, **SYNCHRONOUS}
    request = asked.admit(wanted(num=2, targets={"atoms_C": 2}, sampler=settings))
    process = build_process(asked.checkpoint, request.sampler, 6)
    plan = BranchPlan.of(request.sampler, process)
    worst, plain = (worst_calls(process, 6, each, bool(guidance)) for each in (plan, None))
    assert set(fulfil(asked.checkpoint, request).properties["nfe"]) == {worst}
    assert plain < worst < 4 * plain
    with pytest.raises(RefusalError, match=r"lower sampler\.branches, "):
        asked.admit(wanted(num=2, targets={"atoms_C": 2}, sampler={**settings, "sampler.branches": 1000}))


def test_branches_need_targets_and_a_selector_of_the_service(asked):
    settings = {"sampler.branches": 4, **SYNCHRONOUS}
    for targets, sentence in (
        (None, "nearest to its targets"),
        ({"gap": 6000}, "gap must be predicted, and no bundled"),
    ):
        with pytest.raises(RefusalError, match=sentence):
            asked.admit(wanted(num=2, targets=targets, sampler=settings))


@pytest.mark.parametrize("levels", [(0.0, 0.5), (0.25, 0.5), (0.6, 1.0), (0.01, 0.02)])
@pytest.mark.parametrize("policy", ["synchronous", "manual", "adaptive", "random"])
def test_the_limit_counts_second_calls_within_the_levels_of_guidance_alone(asked, levels, policy):
    settings = {"policy": policy, "guidance": 1.0, "guidance_levels": levels, "max_pauses": 3}
    config = asked.checkpoint.config.sampler.model_copy(update={**settings, "advance_rate": (0.2,)})
    process = build_process(asked.checkpoint, config, 6)
    made = fulfil(asked.checkpoint, Request(3, config, sizes=(6,), targets=Targets.of({"gap": 6000})))
    worst, unguided = worst_calls(process, 6, guided=True), worst_calls(process, 6)
    assert made.properties["nfe"].max() <= worst <= 2 * unguided
    assert worst < 2 * unguided
    if policy == "synchronous":
        assert set(made.properties["nfe"]) == {worst}


def test_the_description_says_what_can_be_asked(asked, border):
    assert [entry.model_dump(exclude={"histogram"}) for entry in describe(asked).properties] == [
        {"name": "gap", "unit": "meV", "smallest": 4000, "largest": 8000},
        {"name": "atoms_C", "unit": "atoms", "smallest": 1, "largest": 3},
    ]
    assert describe(border).properties == []


def test_molecules_are_answered_with_what_was_asked_and_a_warning(asked):
    wishes = {"gap": [8000, 8001], "atoms_C": 5}
    made = fulfil(asked.checkpoint, asked.admit(wanted(num=1, targets=wishes, sampler=SYNCHRONOUS)))
    (molecule,) = as_json(_lasting(made), "tiny").molecules
    assert molecule.targets == {"gap": made.properties["target_gap"][0], "atoms_C": 5}
    assert molecule.warning == "atoms_C=5 is outside the training range 1 to 3 atoms"
    plain = fulfil(asked.checkpoint, asked.admit(wanted(num=1, sampler=SYNCHRONOUS)))
    (molecule,) = as_json(_lasting(plain), "tiny").molecules
    assert (molecule.targets, molecule.warning) == ({}, None)


# --- the answers


@pytest.fixture
def two_molecules():
    """Methane, and five carbons on one spot, which are no molecule."""
    d = 0.629
    methane = [[0, 0, 0], [d, d, d], [d, -d, -d], [-d, d, -d], [-d, -d, d]]
    nowhere = np.zeros((5, 3))
    numbers = {"id": np.array([0, 1]), "nfe": np.array([41, 43])}
    return MoleculeSet.from_lists([np.array([6, 1, 1, 1, 1]), np.full(5, 6)], [np.array(methane), nowhere], numbers)


def test_json_has_everything_and_null_where_there_is_nothing(two_molecules):
    body = as_json(two_molecules, "tiny", missing=[7])
    good, bad = json.loads(body.model_dump_json())["molecules"]
    assert good["smiles"] == "C"
    assert good["elements"] == ["C", "H", "H", "H", "H"]
    assert good["positions"][1] == [0.629, 0.629, 0.629]
    assert (good["id"], good["nfe"], body.model) == (0, 41, "tiny")
    assert Chem.MolFromMolBlock(good["sdf"], removeHs=False).GetNumAtoms() == 5
    assert body.diverged == [7]
    assert bad["smiles"] is None
    assert good["sdf"] + bad["sdf"] == as_text(two_molecules, "sdf").decode()


def test_smiles_text_keeps_the_place_of_a_molecule_without_one(two_molecules):
    assert as_text(two_molecules, "smiles").decode() == "C\t0\n\t1\n"
    assert as_text(two_molecules, "xyz").decode().splitlines()[:2] == ["5", "id=0 nfe=41"]


def test_molecules_that_have_diverged_are_found(two_molecules):
    assert diverged(two_molecules).tolist() == [False, False]
    two_molecules.positions[7, 1] = np.inf
    two_molecules.positions[0, 2] = np.nan
    assert diverged(two_molecules).tolist() == [True, True]
    assert diverged(two_molecules.select([1])).tolist() == [True]


def test_the_description_shows_what_the_sampler_does_by_default(border):
    told = describe(border)
    assert told.elements == ["H", "C", "O"]
    assert told.parameters == sum(p.numel() for p in border.checkpoint.denoiser.parameters())
    assert (told.sizes.smallest, told.sizes.largest) == (4, 6)
    own = {**LIMITS, "max_waiting": 64, "max_request_calls": 100_000, "max_seconds": 600}
    assert own.items() <= told.limits.model_dump().items()
    assert told.limits.max_job_molecules == ServeSettings().max_job_molecules
    assert told.sampler["sampler.steps"] == 40
    assert told.sampler["sampler.interval"] == 8
    assert border.admit(wanted(sampler=told.sampler)).num == 4
    assert told.card == []


def test_the_description_of_the_bundled_model_has_its_card():
    told = describe(Border(load_checkpoint("qm9-small"), ServeSettings(checkpoint="qm9-small")))
    assert told.card[0]["setting"] == "synchronous"
    assert set(told.presets) == {"fast", "balanced", "best"}
    assert told.presets["fast"]["sampler.steps"] == 25
    assert (told.lineage.version, told.lineage.data, told.lineage.training_molecules) == (None, "qm9.npz", 96_000)
    assert told.card == json.loads((PRETRAINED / "qm9-small" / "quality.json").read_text())["rows"]


def test_the_models_are_listed_with_what_they_are_for(asked):
    first, *others = models(asked).models
    assert (first.role, first.properties) == ("generator", ["gap", "atoms_C"])
    assert {(entry.name, entry.role) for entry in others} == {("qm9-judge", "predictor"), ("qm9-selector", "predictor")}
    assert all("gap" in entry.properties for entry in others)


@pytest.mark.parametrize("card", ['{"protocols": {}}', "[]", "{", '{"rows": 3}'])
def test_a_card_of_another_kind_beside_the_model_is_no_hindrance(tiny_checkpoint, tmp_path, card):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "tiny")
    (folder / "card.json").write_text(card)
    assert describe(Border(load_checkpoint(folder), ServeSettings(checkpoint=str(folder)))).card == []


def test_a_failure_outside_the_model_is_a_sentence_too():
    broken = FastAPI()
    explain_problems(broken)

    @broken.get("/")
    def fail():
        raise ZeroDivisionError("secret")

    status, body = get(broken, "/")
    assert (status, json.loads(body)) == (500, {"detail": FAILED})


def get(app, path):
    """Status and body of a GET, without a server; what the app raises after answering is for a server's log."""
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "root_path": ""}
    sent = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)
