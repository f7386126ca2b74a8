"""What a shard says of each of its molecules: columns, nulls, and how others read them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from ead_platform.generation import passports
from ead_platform.generation import plan as planning
from ead_platform.generation.making import ShardMaker, with_keys
from ead_platform.generation.passports import Passports
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.shard_files import decode_shard, encode_shard
from ead_platform.generation.shard_index import PARQUET
from ead_platform.generation.shard_numbers import Task
from rdkit import Chem

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import Targets
from ead_core.data.wish_tables import WishTable
from ead_core.evaluation.acceptance import Verdict
from ead_core.evaluation.criteria import Acceptance
from ead_core.prediction.calibration import Errors, Widening
from ead_core.sampling.order import Order

from ..in_this_process import in_this_process

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "shards.md"
SAMPLER = SamplerConfig(policy="synchronous", steps=4, repair_attempts=0)
WATER = (np.array([8, 1, 1]), np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))
NOTHING = (np.array([8, 1, 1]), np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0]]))  # three atoms far apart


@pytest.fixture(scope="module", autouse=True)
def _in_this_process():
    with in_this_process():
        yield


@pytest.fixture
def plan(conditional_checkpoint, monkeypatch):
    """A selector that predicts the number of atoms, with an interval of ± 2 · 3."""
    errors = Errors(1, 1, 3, 1, 1, generated=Widening(2.0, (1.0, 3.0), "planted"))
    selector = SimpleNamespace(
        statistics=SimpleNamespace(properties={"gap": None, "mu": None}),
        calibration={"gap": errors},
        fingerprint="predictor",
        predictor=None,
        config=None,
    )
    found = lambda *about: {name: about[-1].num_atoms.astype(float) for name in ("gap", "mu")}  # noqa: E731
    monkeypatch.setattr(planning, "selector_of", lambda *_: selector)
    monkeypatch.setattr(passports, "predict", found)
    targets = Targets.of({"gap": 5000, "atoms_C": 2})
    return GenerationPlan(load_checkpoint(conditional_checkpoint), 5, 3, 7, None, SAMPLER, 1, 0, targets)


def made(plan, folder):
    for shard in plan.shards():
        content = ShardMaker(plan).make(Task(shard, True, False, ""), None).files[PARQUET]
        (folder / f"{shard.name}{PARQUET}").write_bytes(content)
    return folder


def completed(plan, *molecules):
    charges, positions = zip(*molecules, strict=True)
    own = {"id": np.arange(len(molecules)), "nfe": np.full(len(molecules), 5)}
    some = MoleculeSet.from_lists(list(charges), list(positions), own)
    keys = ["" if one is NOTHING else "KEY" for one in molecules]
    return Passports(plan).complete(with_keys(some, [Verdict("", key or None) for key in keys]))


def test_every_molecule_has_its_passport(plan, tmp_path):
    table = pd.read_parquet(made(plan, tmp_path))
    assert table["id"].tolist() == list(range(5))
    constant = {"seed": 7, "model": plan.checkpoint.name, "fingerprint": plan.checkpoint.fingerprint(), "repaired": 0}
    assert all(set(table[name]) == {value} for name, value in constant.items())
    assert table["checks"].isna().all(), "nothing was asked of them"
    assert (table["target_gap"] == 5000).all()
    assert (table["predicted_gap"] == table["elements"].map(len)).all()
    assert (table["predicted_gap_high"] - table["predicted_gap"] == 6).all()
    assert (table["predicted_gap"] - table["predicted_gap_low"] == 6).all()
    assert set(table["predicted_by"]) == {"predictor"}
    assert "predicted_mu" not in table
    assert plan.question()["selector"] == "predictor"


def test_the_molblock_is_the_perceived_molecule_and_null_where_there_is_none(plan, tmp_path):
    (tmp_path / "s.parquet").write_bytes(encode_shard(completed(plan, WATER, NOTHING), {}))
    table = pd.read_parquet(tmp_path / "s.parquet")
    mol = Chem.MolFromMolBlock(table["molblock"][0], removeHs=False)
    assert [atom.GetAtomicNum() for atom in mol.GetAtoms()] == [8, 1, 1]
    assert np.allclose(mol.GetConformer().GetPositions(), WATER[1], atol=1e-4)
    assert table["smiles"][0] == Chem.MolToSmiles(Chem.RemoveHs(mol)) == "O"
    assert table["inchikey"][0] == "KEY"
    assert table.loc[1, ["smiles", "inchikey", "molblock"]].isna().all()


@pytest.mark.parametrize("molecules", [(WATER, NOTHING), (NOTHING,)])
def test_a_shard_that_is_written_again_has_the_same_bytes(plan, molecules):
    """As the driver does when a molecule is left out."""
    content = encode_shard(completed(plan, *molecules), {"a": "b"})
    assert encode_shard(decode_shard(content), {"a": "b"}) == content


def test_shards_without_molecules_have_the_columns_of_the_others(plan, tmp_path):
    whole = completed(plan, WATER, NOTHING)
    schemas = []
    for part in (whole, whole.select([1]), Passports(plan).complete(with_keys(whole.select([]), []))):
        (tmp_path / "s.parquet").write_bytes(encode_shard(part, {}))
        schemas.append(pq.read_schema(tmp_path / "s.parquet").remove_metadata())
    assert schemas[1] == schemas[0]
    assert schemas[2].names == schemas[0].names
    assert schemas[2].field("molblock") == schemas[0].field("molblock")


def test_accepted_molecules_say_which_checks_they_have_passed(plan, tmp_path):
    order = Order(Acceptance.parse("finite & even_electrons"))
    table = pd.read_parquet(made(replace(plan, num=9, shard_size=9, targets=None, order=order), tmp_path))
    assert 0 < len(table) < 9
    assert set(table["checks"]) == {"finite & even_electrons"}
    assert not any(name.startswith(("predicted", "target")) for name in table)


def test_rows_of_a_table_have_as_many_molecules_as_they_ask_for_with_their_keys(plan, tmp_path):
    """Shards of three cut a row of four in two."""
    rows = WishTable(Targets.of_columns({"gap": [5000.0, 6000.0]}), (4, 1), ("a", "b"))
    table = pd.read_parquet(made(replace(plan, targets=rows.targets, table=rows), tmp_path))
    assert table["key"].tolist() == ["a"] * 4 + ["b"]
    assert table["target_gap"].tolist() == [5000] * 4 + [6000]


def examples():
    """The ways to read a folder that the page shows, by the library that they use."""
    blocks = [block.partition("```")[0] for block in PAGE.read_text().split("```python\n")[1:]]
    return {next(name for name in ("ead_core", "pyarrow", "ray") if name in block): block for block in blocks}


@pytest.fixture
def beside_molecules(plan, tmp_path, monkeypatch):
    """The examples' folder of shards is in the working folder."""
    folder = tmp_path / "molecules"
    folder.mkdir()
    made(plan, folder)
    (folder / "index.json").write_text("{}")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("beside_molecules")
@pytest.mark.parametrize("library", ["ead_core", "pyarrow"])
def test_a_folder_is_read_as_the_page_says(library):
    known = {}
    exec(examples()[library], known)
    assert len(known["table"]) == 5
    assert len(list(filter(None, examples()[library].splitlines()))) == 2


def test_the_page_explains_every_column(plan, tmp_path):
    page = PAGE.read_text()
    for name in pyarrow.dataset.dataset(made(plan, tmp_path)).schema.names:
        known = name.replace("gap", "…").replace("atoms_C", "…")
        assert f"`{known}`" in page, f"{name} is not explained"


@pytest.mark.ray
@pytest.mark.usefixtures("beside_molecules")
def test_ray_data_reads_a_folder_as_the_page_says(cluster):
    import ray

    ray.init(address=cluster, ignore_reinit_error=True)
    try:
        known = {}
        exec(examples()["ray"], known)
        assert known["table"].count() == 5
        assert sorted(known["table"].to_pandas()["id"]) == list(range(5))
    finally:
        ray.shutdown()
