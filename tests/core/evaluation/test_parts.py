"""What every part of the card keeps to; a new one is tested by being listed in `parts.PARTS`."""

import numpy as np
import pytest

from ead_core.errors import ConfigError
from ead_core.evaluation.card import TITLES
from ead_core.evaluation.chunk import Chunk, Measures
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.compare import FLAGS
from ead_core.evaluation.measure import measure_chunk
from ead_core.evaluation.part import Cost, Evidence
from ead_core.evaluation.parts import DEFAULT_PARTS, PARTS, chosen
from ead_core.evaluation.run import EvaluationPlan, settings_of
from ead_core.evaluation.table import SCHEMA, as_table


@pytest.fixture(params=PARTS.values(), ids=PARTS)
def part(request):
    try:
        request.param.check()
    except ConfigError:
        pytest.skip("its package is not installed")
    return request.param


@pytest.fixture(scope="module")
def molecules(make_set):
    return make_set("CCO", "c1ccncc1", "C1CC1")


def measured(part, molecules, sampled):
    chunk = Chunk(0, molecules, np.array(sampled))
    return measure_chunk(chunk, Measures(frozenset({part.name}), 60.0)), measure_chunk(
        chunk, Measures(frozenset(), 60.0)
    )


def test_its_names_are_its_own(part):
    assert PARTS[part.name] is part
    assert part.section in TITLES
    others = {name for other in PARTS.values() if other is not part for name in other.columns}
    assert not others & set(part.columns)
    assert set(part.columns) <= set(SCHEMA.names)
    assert set(part.shares) <= {name for name, kind in part.columns.items() if kind is bool} & set(FLAGS)


def test_it_fills_its_columns_and_no_others(part, molecules):
    found, without = measured(part, molecules, [True, True, True])
    for row, plain in zip(found.rows, without.rows, strict=True):
        own = {name: value for name, value in row.items() if name not in plain}
        assert own.keys() == part.columns.keys()
        assert all(isinstance(value, part.columns[name]) for name, value in own.items())


def test_its_cost_says_on_which_molecules_it_is_measured(part, molecules):
    found, without = measured(part, molecules, [False, True, False])
    own = [row.keys() - plain.keys() for row, plain in zip(found.rows, without.rows, strict=True)]
    if part.cost is Cost.SAMPLED:
        assert (own[0], own[1], own[2]) == (set(), set(part.columns), set())
    else:
        assert all(names == set(part.columns) for names in own)
    assert (part.measure is None) == (part.cost is Cost.WHOLE)


def test_its_rows_are_figures_whose_shares_carry_the_names_of_their_columns(part, molecules):
    found, _ = measured(part, molecules, [True, True, True])
    columns = Columns(as_table(found.rows))
    part.complete(found.tally, columns, lambda done: None)
    section = part.summarise(Evidence(columns, found.tally, found.tally))
    assert section
    assert set(part.shares) <= set(section)
    assert all(0 <= figure.known <= figure.of and np.isfinite(figure.value) for figure in section.values())


def test_the_order_of_the_card_is_that_of_the_table():
    names = ("fcd", "strain", "geometry")
    assert [part.name for part in chosen(names)] == ["geometry", "strain", "fcd"]
    assert [part.name for part in chosen(names, Cost.SAMPLED)] == ["strain"]
    assert DEFAULT_PARTS == ("geometry", "chemistry", "posebusters", "strain")


def test_rows_rest_on_neither_the_sample_nor_parts_that_do_not_measure_molecules():
    cheap, whole = (
        settings_of([], EvaluationPlan(parts, sample=7)) for parts in (("chemistry",), ("chemistry", "fcd"))
    )
    assert cheap == whole
    assert cheap["sample"] == 0
    assert settings_of([], EvaluationPlan(("strain",), sample=7))["sample"] == 7
