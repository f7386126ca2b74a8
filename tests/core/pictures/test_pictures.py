"""Pictures are written whole, for any molecule, and only in formats that exist."""

import json
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from ead_core.chemistry.molecule import Molecule
from ead_core.data.store import MoleculeSet
from ead_core.errors import OutputError
from ead_core.pictures.molecules import _flattest_view, check_picture, draw_molecules
from ead_core.pictures.repairs import Mended, draw_repairs, show_repairs


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


def test_a_molecule_is_seen_as_the_other_is():
    """What is common to both is drawn at the same place."""
    first = np.random.default_rng(0).normal(size=(20, 3)) * [0.1, 3, 1]
    other = np.concatenate([first, [[5.0, 5.0, 5.0]]])
    assert np.allclose(_flattest_view(other, first)[:20], _flattest_view(first, first))


@pytest.mark.parametrize("count", [1, 3])
def test_repairs_are_drawn_in_three_panels_each(tmp_path, count, monkeypatch):
    monkeypatch.setattr("ead_core.pictures.repairs.write_figure", lambda figure, *_, **__: shown.append(figure))
    shown, places = [], np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    before, after = Molecule(np.array([8, 1, 6]), places), Molecule(np.array([8, 1, 1]), places)
    draw_repairs([Mended(before, np.array([False, False, True]), after)] * count, tmp_path / "p.png")
    (figure,) = shown
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert titles == ["0 · CHO\nbefore", "\n1 of 3 atoms freed", "H2O\nafter"] + [
        text for number in range(1, count) for text in (f"{number} · CHO\nbefore", titles[1], titles[2])
    ]
    halos = [len(panel.patches) - 3 for panel in figure.axes[: 3 * count]]
    assert halos == [0, 1, 1] * count


def test_a_page_holds_every_repair(tmp_path):
    places = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    before, after = Molecule(np.array([8, 1, 6]), places), Molecule(np.array([8, 1, 1]), places)
    show_repairs([Mended(before, np.array([False, False, True]), after)], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    data = page.split('id="repairs">')[1].split("</script>")[0]
    (shown,) = json.loads(data)
    assert shown["caption"] == "CHO → H2O · 1 of 3 atoms freed"
    assert shown["freed"] == [2]
    assert [Chem.MolFromMolBlock(shown[one], sanitize=False).GetNumAtoms() for one in ("before", "after")] == [3, 3]
    assert "createViewerGrid" in page


def test_an_unknown_format_is_refused():
    with pytest.raises(OutputError, match=r"the name must end in one of \.png, \.svg, \.pdf"):
        check_picture(Path("picture.bmp"))
