"""What an adaptation has achieved: molecules of the adapted model beside those of its base, against the user's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.common.files import write_aside
from ead_core.common.markdown import as_text, table
from ead_core.config.presets import PresetName
from ead_core.data.formats import write_molecules
from ead_core.data.store import MoleculeSet, save_npz
from ead_core.evaluation.card import Card, Evaluated
from ead_core.evaluation.compare import load_evaluated, side_by_side
from ead_core.evaluation.evaluate import evaluate_files
from ead_core.evaluation.frechet import FCD
from ead_core.evaluation.parts import DEFAULT_PARTS
from ead_core.evaluation.reference import Known, load_known, load_reference
from ead_core.evaluation.run import EvaluationPlan
from ead_core.evaluation.tally import Tally
from ead_core.pictures.molecules import draw_molecules
from ead_core.sampling.generation import sample
from ead_core.training.adaptation import COMPANIONS, MINE, SET, Material

CARDS, PAGE, PICTURE, MOLECULES = "cards", "card.md", "molecules.png", "molecules.sdf"
PRESET: PresetName = "balanced"
DRAWN = 12
ENOUGH_FOR_FCD = 200  # molecules on both sides; below, the distance says more of the number than of the molecules
SHOWN = (  # figures that an adaptation is about; the page has all
    *("validity", "molecule_stability", "strict_validity", "uniqueness", "novelty", "strict_novel"),
    *("sizes", "elements", "scaffold_similarity", "fcd", "diversity"),
)
Progress = Callable[[int], None]  # receives how many molecules have been done since


@dataclass(frozen=True)
class Comparison:
    """What molecules of both models are held against.

    Attributes:
        directory: of the adaptation.
        real: the user's molecules.
        known: these and their companions: what is none of them is new.
        parts: of the card.
    """

    directory: Path
    real: Tally
    known: Known
    parts: tuple[str, ...]

    @classmethod
    def of(cls, directory: Path, material: Material, num: int, workers: int) -> "Comparison":
        """What `num` molecules of each model are to be held against."""
        enough = min(len(material.mine), num) >= ENOUGH_FOR_FCD and find_spec("fcd")
        parts = (*DEFAULT_PARTS, *((FCD.name,) if enough else ()))
        real = load_reference(str(directory / SET / MINE), workers, parts=parts)
        return cls(directory, real, _known(directory, material, workers), parts)

    def made(self, model: Checkpoint, role: str, num: int, workers: int, progress: Progress) -> Path:
        """The file of molecules of a model in a role ("base" or "adapted"), made unless they are there already."""
        path = self.directory / CARDS / role / f"{model.fingerprint()}-{num}.npz"
        if not path.is_file():
            save_npz(sample(model, num, preset=PRESET, threads=workers, progress=progress), path)
        return path

    def measured(self, path: Path, workers: int, progress: Progress) -> Evaluated:
        """The card of a file that `made` has given, named after its role."""
        folder, plan = path.parent, EvaluationPlan(self.parts, 0, workers)
        evaluate_files([path], folder, plan, self.real, self.known, name=folder.name, progress=progress)
        return load_evaluated(folder)


def _known(directory: Path, material: Material, workers: int) -> Known:
    sets = [MINE, *([COMPANIONS] if len(material.companions) else [])]
    found = [load_known(directory / SET / name, workers) for name in sets]
    return Known(
        frozenset().union(*(one.smiles for one in found)), frozenset().union(*(one.inchikeys for one in found))
    )


def write_card(
    directory: Path, base: Evaluated, adapted: Evaluated, molecules: MoleculeSet, sentences: Sequence[str]
) -> str:
    """Write the page, a picture of the first molecules, and all molecules of the adapted model.

    Args:
        directory: of the adaptation.
        base, adapted: measured.
        molecules: of the adapted model.
        sentences: what the page says before its tables.

    Returns:
        The table of what matters most, as text.
    """
    write_molecules(molecules, directory / MOLECULES)
    draw_molecules(molecules.select(range(min(len(molecules), DRAWN))), directory / PICTURE)
    rows = summary(base.card, adapted.card)
    everything = [[as_text(cell) for cell in row] for row in side_by_side([base, adapted])]
    page = [
        "# Molecules like mine",
        *map(as_text, sentences),
        table([[as_text(cell) for cell in row] for row in rows]),
        f"![The first molecules of the adapted model, not chosen]({PICTURE})",
        "## All figures",
        table(everything),
    ]
    with write_aside(directory / PAGE) as aside:
        aside.write_text("\n\n".join(page) + "\n", encoding="utf-8")
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def summary(base: Card, adapted: Card) -> list[list[str]]:
    """The figures of `SHOWN` that either card has, in both."""
    cards = [{name: figure for _, name, figure in card.figures()} for card in (base, adapted)]
    rows = [["", base.name, adapted.name]]
    for name in SHOWN:
        figures = [of.get(name) for of in cards]
        title = next((figure.title for figure in figures if figure), None)
        if title:
            rows.append([title, *(figure.shown() if figure else "" for figure in figures)])
    return rows


def made_of(material: Material, held_out: int, steps: int, best: int) -> list[str]:
    """What the page says of how the model was made."""
    mine, companions = len(material.mine), len(material.companions)
    beside = f" and {companions:,} companions (NCI compounds like them, half of what was learnt)" if companions else ""
    said = [f"Learnt from {mine - held_out:,} molecules{beside}, in {steps:,} steps."]
    if held_out:
        said.append(f"{held_out:,} molecules were held out; their loss was lowest after {best:,} steps.")
    return [*said, "New is what is neither among the molecules nor among the companions. Intervals are 95 %."]
