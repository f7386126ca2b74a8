"""The heat map begins where levels part, and has atoms in the order in which they settled."""

import numpy as np

from ead_core.traces.heatmap import draw_levels, levels_figure


def test_rows_are_in_the_order_of_settling(plant):
    molecule = plant(pace=(3, 1, 2), prefix=40)
    figure = levels_figure(molecule, "some $title")
    levels, behind = figure.axes[:2]
    for panel in (levels, behind):
        assert [label.get_text().strip() for label in panel.get_yticklabels()] == ["H 2", "C 3", "C 1"]
    shown = levels.images[0].get_array()
    assert np.array_equal(shown, molecule.levels[40:, [1, 2, 0]].T)
    assert levels.images[0].get_extent()[0] == 40 - 0.5  # the last call at which all levels are equal
    assert np.array_equal(behind.images[0].get_array(), shown - shown.min(axis=0))
    assert "Molecule 5, C2H  (some $title)" in figure.get_suptitle()


def test_pauses_are_marked_under_their_row(plant):
    molecule = plant(pace=(2, 1), prefix=3)
    marks = levels_figure(molecule).axes[0].images[1].get_array()[..., 3]
    assert (marks[[0, 1, 3, 4]] == 0).all()
    assert (marks[2] == 0).all()  # the fast atom never pauses
    assert np.flatnonzero(marks[5]).tolist() == list(range(1, 20, 2))


def test_hydrogens_are_hollow(plant):
    labels = levels_figure(plant(pace=(1, 2))).axes[0].get_yticklabels()
    assert [label.get_color() for label in labels] == ["0.1", "0.55"]


def test_synchronous_levels_need_one_panel(plant, tmp_path):
    molecule = plant(pace=(1, 1, 1), prefix=40)
    figure = levels_figure(molecule)
    assert [axes.get_xlabel() for axes in figure.axes] == ["network calls", ""]  # the other is the colour bar
    assert figure.axes[0].images[0].get_array().shape == (3, len(molecule.levels))
    draw_levels(molecule, tmp_path / "levels.png")
    assert (tmp_path / "levels.png").read_bytes().startswith(b"\x89PNG")
