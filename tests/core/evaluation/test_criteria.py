"""A criterion is a column of the evaluation under a name of its own."""

import numpy as np
import pytest

from ead_core.data.store import MoleculeSet
from ead_core.errors import ConfigError
from ead_core.evaluation.criteria import meets, parse_criteria


def test_each_criterion_has_its_own_protocol(make_set):
    """Benzene is real, but its bonds lie between those of the published table; two pieces are stable, but not one."""
    good = make_set("CCO", "c1ccccc1")
    water = np.array([8, 1, 1]), np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    pieces = np.tile(water[0], 2), np.concatenate([water[1], water[1] + 9])
    radical = np.array([8, 1]), water[1][:2]
    molecules = MoleculeSet.concatenate([good, MoleculeSet.from_lists(*map(list, zip(pieces, radical, strict=True)))])
    assert meets(molecules, ["valid"]).tolist() == [True, True, False, False]
    assert meets(molecules, ["stable"]).tolist() == [True, False, True, False]
    assert meets(molecules, ["valid", "stable"]).tolist() == [True, False, False, False]
    assert meets(molecules.select([]), ["valid"]).tolist() == []


def test_names_are_joined_by_and():
    assert parse_criteria("valid") == ("valid",)
    assert parse_criteria(" stable& valid") == ("stable", "valid")


@pytest.mark.parametrize("text", ["", "good", "valid, stable", "valid &"])
def test_another_name_is_refused(text):
    with pytest.raises(ConfigError, match=r"is no criterion; accepted are valid, stable, joined by &\.$"):
        parse_criteria(text)
