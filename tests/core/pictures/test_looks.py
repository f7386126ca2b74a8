"""Elements look as chemists know them."""

from itertools import pairwise

import pytest

from ead_core.chemistry.elements import atomic_number
from ead_core.pictures.looks import ball_radius, colour_of

KNOWN = {"H": "#ffffff", "C": "#909090", "N": "#3050f8", "O": "#ff0d0d", "F": "#90e050", "P": "#ff8000"}
HEAVY = {"S": "#ffff30", "Cl": "#1ff01f", "Fe": "#e06633", "Br": "#a62929", "I": "#940094", "Xe": "#429eb0"}


@pytest.mark.parametrize(("symbol", "colour"), (KNOWN | HEAVY | {"Au": "#b8b8d0"}).items())
def test_colours_are_those_of_the_field(symbol, colour):
    assert colour_of(atomic_number(symbol)) == colour


def test_heavier_halogens_are_larger_and_hydrogen_is_smallest():
    radii = [ball_radius(atomic_number(symbol)) for symbol in ("H", "F", "Cl", "Br", "I")]
    assert all(smaller < larger for smaller, larger in pairwise(radii))
    assert radii[0] == pytest.approx(0.276, abs=0.001)
