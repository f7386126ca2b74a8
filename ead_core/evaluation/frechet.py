"""The Fréchet ChemNet distance (Preuer et al. 2018) to a reference: the optional extra `fcd`.

ChemNet has learnt what molecules do in assays from their SMILES; the distance is that of two Gaussians with the mean
and covariance of its last activations. The SMILES are canonical, without explicit hydrogens or stereochemistry, of all
molecules whose bonds could be perceived. Network and distance are those of the package `fcd`.
"""

import warnings
from typing import TYPE_CHECKING

import numpy as np

from ead_core.errors import ConfigError
from ead_core.evaluation.figure import Figure, Section
from ead_core.evaluation.moments import Moments
from ead_core.evaluation.part import Cost, Evidence, Part
from ead_core.evaluation.tally import Tally

if TYPE_CHECKING:
    from ead_core.evaluation.columns import Columns, Progress

MOST = 10_000  # molecules that go through the network
ENOUGH = 5000  # molecules from which on the distance rests on its set rather than on its size
_LONGEST = 349  # characters; fcd pads shorter ones to 350 with their end, and with longer ones all activations differ
_BATCH = 500  # between two signs of progress


def check_fcd() -> None:
    """Raise the ConfigError of a machine without the extra before any work is done."""
    try:
        import fcd  # noqa: F401
    except ImportError as error:
        raise ConfigError("the Fréchet ChemNet distance needs the extra fcd: pip install 'fcd>=1.2'.") from error


def activations(columns: "Columns", most: int = MOST, progress: "Progress" = lambda done: None) -> Moments | None:
    """Moments of ChemNet's activations, on a GPU if there is one.

    Args:
        columns: of the table.
        most: molecules, chosen at random where there are more.
        progress: receives the number of molecules finished since its last call.

    Returns:
        None with less than two molecules.
    """
    import fcd

    smiles = [text for text in columns.sample_smiles(most) if len(text) <= _LONGEST]
    if len(smiles) < 2:
        return None
    network = fcd.load_ref_model()
    different, counts = np.unique(smiles, return_counts=True)
    total: Moments | None = None
    for first in range(0, len(different), _BATCH):
        part = slice(first, first + _BATCH)
        found = Moments.of(fcd.get_predictions(network, different[part].tolist(), n_jobs=0), counts[part])
        total = total + found if total else found
        progress(found.count)
    return total


def frechet(tally: Tally, reference: Tally | None) -> Section:
    """The distance, where both have activations."""
    if tally.activations is None or reference is None or reference.activations is None:
        return {}
    value = moments_distance(tally.activations, reference.activations)
    count = tally.activations.count
    return {"fcd": Figure("Fréchet ChemNet distance", value, None, tally.molecules, count, "")}


def moments_distance(first: Moments, second: Moments) -> float:
    """|μ₁ − μ₂|² + Tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)."""
    from fcd import calculate_frechet_distance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few molecules have singular covariances, for which fcd has a way of its own
        found = calculate_frechet_distance(first.mean, first.covariance, second.mean, second.covariance)
    return max(float(found), 0.0)  # equal ones may end a rounding error below


def frechet_note(tally: Tally, reference: Tally | None) -> str | None:
    """What a reader must know of the distance, or of its absence."""
    if reference is None or reference.activations is None:
        return "no Fréchet ChemNet distance: it needs a reference with activations (of a file, or measured with fcd)."
    if tally.activations is None:
        return "no Fréchet ChemNet distance: it needs two molecules whose bonds can be perceived."
    least = min(tally.activations.count, reference.activations.count)
    if least < ENOUGH:
        return f"the Fréchet ChemNet distance of {least:,} molecules is too high: it needs some {ENOUGH:,}."
    return None


def _rows(evidence: Evidence) -> Section:
    return frechet(evidence.tally, evidence.reference)


def _note(evidence: Evidence) -> str | None:
    return frechet_note(evidence.tally, evidence.reference)


def _activate(tally: Tally, columns: "Columns", progress: "Progress") -> None:
    if not tally.activations:
        tally.activations = activations(columns, progress=progress)


FCD = Part("fcd", "chemistry", Cost.WHOLE, _rows, packages=("fcd",), check=check_fcd, complete=_activate, note=_note)
