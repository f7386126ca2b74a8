"""Pictures are written whole, for any molecule, and only in formats that exist."""

from pathlib import Path

import numpy as np
import pytest

from ead_core.data.store import MoleculeSet
from ead_core.errors import OutputError
from ead_core.pictures.molecules import _flattest_view, check_picture, draw_molecules


def test_a_grid_is_drawn_for_odd_molecules_too(tmp_path):
    molecules = MoleculeSet.from_lists(
        [np.array([8, 1, 1]), np.array([1]), np.array([35, 6]), np.array([6, 6])],
        [
            np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]),
            np.zeros((1, 3)),
            np.array([[0, 0, 0], [1.9, 0, 0]]),
            np.full((2, 3), np.nan),
        ],
    )
    draw_molecules(molecules, tmp_path / "grid.png", columns=3)
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_the_view_keeps_distances_and_hides_the_smallest_spread():
    positions = np.random.default_rng(0).normal(size=(20, 3)) * [0.1, 3, 1]
    view = _flattest_view(positions, positions)
    spread = view.std(axis=0)
    assert spread[0] > spread[1] > spread[2]
    assert np.allclose(
        np.linalg.norm(view[:, None] - view[None], axis=-1),
        np.linalg.norm(positions[:, None] - positions[None], axis=-1),
    )


def test_an_unknown_format_is_refused():
    with pytest.raises(OutputError, match=r"the name must end in one of \.png, \.svg, \.pdf"):
        check_picture(Path("picture.bmp"))
