"""The page is one file with everything in it, and what it shows is the trace."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from ead_core.pictures.template import WEB
from ead_core.traces.page import MOST_FRAMES, MOST_PLACES, page_data, shown_frames, write_page


class Page(HTMLParser):
    """Scripts by their id or number, and all attributes."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.attributes, self._inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


@pytest.fixture
def page(plant, tmp_path):
    write_page(plant(), tmp_path / "page.html", "</script> $ /* SCRIPT */")
    return Page((tmp_path / "page.html").read_text(encoding="utf-8"))


def test_everything_is_in_the_page_and_nothing_is_fetched(page):
    data, library, player = page.scripts
    assert library == (WEB / "3Dmol-min.js").read_text(encoding="utf-8")
    assert player == (WEB / "trace.js").read_text(encoding="utf-8")
    assert "fetch" not in player
    assert "import" not in player
    assert not [pair for pair in page.attributes if pair[1] in ("src", "href", "srcset")]
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert json.loads(data)["title"] == "</script> $ /* SCRIPT */"


def test_the_licence_of_the_library_goes_with_it(plant, tmp_path):
    write_page(plant(), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert (WEB / "3Dmol-LICENSE").read_text(encoding="utf-8") in text
    assert "University of Pittsburgh" in text


def test_the_data_are_those_of_the_trace(page, plant):
    molecule, data = plant(), json.loads(page.scripts[0])
    frames = data["calls"]
    assert frames == list(range(len(molecule.levels)))
    assert data["levels"] == molecule.levels.tolist()
    assert data["elements"] == molecule.charges.tolist()
    assert np.allclose(
        np.array(data["positions"]).reshape(molecule.positions.shape) / data["scale"], molecule.positions
    )
    assert data["order"] == [1, 2, 0]
    assert (data["id"], data["formula"]) == (5, "C2H")
    assert (data["calls"][data["start"]], data["top"]) == (molecule.parting, 10)
    assert data["paused"] == [np.flatnonzero(row).tolist() for row in molecule.paused]
    assert set(data["kinds"]) == {"1", "6"}


def test_bonds_are_drawn_between_calm_atoms_only(plant):
    """Four carbon atoms in a row, 1.5 Å apart."""
    molecule = plant(pace=(1, 3, 1, 1))
    molecule.charges[:] = 6
    data = page_data(molecule)
    calm = molecule.levels <= 5  # a tenth of 50
    for frame, bonds in enumerate(data["bonds"]):
        pairs = [(k, k + 1) for k in range(3) if calm[frame, k] and calm[frame, k + 1]]
        assert sorted(zip(bonds[::3], bonds[1::3], strict=True)) == pairs
    assert data["bonds"][-1][2::3] == [1, 1, 1]


@pytest.mark.parametrize(("prefix", "pace"), [(1000, (1, 3)), (1000, (1, 200)), (20, (1, 2)), (1000, (2, 2))])
def test_the_asynchronous_part_is_kept_whole_and_the_way_there_thinned(plant, prefix, pace):
    molecule = plant(pace, prefix)
    total, frames = len(molecule.levels), shown_frames(molecule)
    assert (np.diff(frames) > 0).all()
    assert (frames[0], frames[-1]) == (0, total - 1)
    if pace[0] != pace[1]:
        assert np.isin(np.arange(molecule.parting, total), frames).all()
    assert len(frames) <= max(MOST_FRAMES, total - molecule.parting + 60)
    assert len(frames) >= min(total, MOST_FRAMES)


def test_a_page_has_a_largest_size(plant):
    molecule = plant(pace=(100, *[1] * 199), prefix=10)
    frames = shown_frames(molecule)
    assert len(frames) * 200 <= MOST_PLACES
    assert (frames[0], frames[-1]) == (0, len(molecule.levels) - 1)


def test_empty_slots_have_no_bonds_and_a_size(plant):
    molecule = plant(pace=(1, 3, 1))
    molecule.charges[:] = (6, 0, 6)
    data = page_data(molecule)
    assert data["formula"] == "C2"
    assert (data["kinds"][0]["symbol"], data["kinds"][0]["radius"] > 0) == ("*", True)
    assert not any(data["bonds"])  # the carbon atoms are 3 Å apart


def test_a_molecule_that_diverged_is_still_shown(plant, tmp_path):
    molecule = plant()
    molecule.positions[3:] = np.nan
    write_page(molecule, tmp_path / "page.html")
    assert json.loads(Page((tmp_path / "page.html").read_text()).scripts[0])["positions"][-1] == [0] * 9
