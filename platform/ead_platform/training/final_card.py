"""The evaluation card of a finished training: molecules from its model, measured on the driver's machine."""

import tempfile
from pathlib import Path

from pyarrow.fs import FileSystem, copy_files

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.data.store import save_npz
from ead_core.evaluation.card import Card
from ead_core.evaluation.evaluate import evaluate_files
from ead_core.evaluation.report import CARD as CARD_FILE
from ead_core.evaluation.run import EvaluationPlan
from ead_core.sampling.generation import sample
from ead_platform.training.recipe import Recipe
from ead_platform.training.tracking import CARD as CARD_FOLDER
from ead_platform.training.tracking import TrainingTracker


def has_card(recipe: Recipe) -> bool:
    """Whether there is a card in the run's place."""
    filesystem, folder = FileSystem.from_uri(f"{recipe.place}/{CARD_FOLDER}")
    return bool(filesystem.get_file_info(f"{folder}/{CARD_FILE}").is_file)


def write_card(recipe: Recipe, tracker: TrainingTracker) -> str:
    """Make the card of a run, in its place and in MLflow; it can be interrupted and made again.

    The molecules come from the sampler of the recipe; they are kept beside the card.

    Args:
        recipe: of the run; its `card_molecules` are made.
        tracker: of its MLflow run.

    Returns:
        Where the card is.
    """
    place = f"{recipe.place}/{CARD_FOLDER}"
    with tempfile.TemporaryDirectory(prefix="ead-") as scratch:
        folder = Path(scratch, CARD_FOLDER)
        card = _measured(recipe, Path(scratch, "model"), folder)
        filesystem, target = FileSystem.from_uri(place)
        filesystem.create_dir(target, recursive=True)
        copy_files(str(folder), target, destination_filesystem=filesystem)
        tracker.log_card(folder, card, recipe.training.steps)
    return place


def _measured(recipe: Recipe, model: Path, folder: Path) -> Card:
    """Fetch the model into a folder, sample, and evaluate into another."""
    tune_cpu()
    model.mkdir()
    filesystem, source = FileSystem.from_uri(recipe.model)
    copy_files(source, str(model), source_filesystem=filesystem)
    count = recipe.card_molecules
    with progress_bar("sampling for the card", count) as progress:
        molecules = sample(load_checkpoint(model), count, progress=progress)
    save_npz(molecules, folder / "molecules.npz")
    with progress_bar("measuring for the card", count) as progress:
        return evaluate_files(
            [folder / "molecules.npz"], folder, EvaluationPlan(), name=recipe.platform.name, progress=progress
        )
