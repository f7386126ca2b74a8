"""The evaluation card: the published EDM figures of a set of molecules, with intervals and cost."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rdkit
from numpy.typing import NDArray

from ead_core.common.files import write_aside
from ead_core.common.intervals import (
    Interval,
    PairedDifference,
    distinct_interval,
    paired_difference,
    pooled_bootstrap,
    wilson,
)
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.evaluation.smiles import Progress, assess, smiles_of
from ead_core.evaluation.stability import StabilityResult

SCHEMA_VERSION = 1
FRACTIONS = (
    "atom_stability",
    "molecule_stability",
    "validity",
    "uniqueness",
    "validity_x_uniqueness",
    "novelty",
)


@dataclass(frozen=True)
class PublishedCard:
    """Quality of generated molecules; every fraction lies in [0, 1].

    Attributes:
        atom_stability: stable atoms / atoms, over the pool of all readable molecules.
        molecule_stability: molecules with only stable atoms / attempts.
        validity: molecules that RDKit can sanitise / attempts.
        uniqueness: distinct SMILES / valid molecules (0 if none is valid).
        validity_x_uniqueness: distinct SMILES / attempts.
        novelty: distinct SMILES not in the training set / distinct SMILES; None without a training set.
        num_molecules: attempts, the unreadable ones included.
        num_skipped: attempts that could not be read; neither stable nor valid.
        intervals: 95 % interval of each fraction that is known.
        nfe_per_molecule: mean number of network calls; None if unknown.
        seconds_per_molecule: mean sampling time; None if unknown.
        stable: [M] per readable molecule.
        smiles: SMILES per readable molecule, None if invalid.
    """

    atom_stability: float
    molecule_stability: float
    validity: float
    uniqueness: float
    validity_x_uniqueness: float
    novelty: float | None
    num_molecules: int
    num_skipped: int
    intervals: Mapping[str, Interval]
    nfe_per_molecule: float | None
    seconds_per_molecule: float | None
    stable: NDArray[np.bool_]
    smiles: list[str | None]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """[M] validity per readable molecule."""
        return np.array([text is not None for text in self.smiles], dtype=bool)

    def to_json(self) -> dict[str, Any]:
        """Everything but the arrays, as plain values; `novelty` is None without a training set."""
        return {
            "schema_version": SCHEMA_VERSION,
            "num_molecules": self.num_molecules,
            "num_skipped": self.num_skipped,
            **{name: getattr(self, name) for name in FRACTIONS},
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "nfe_per_molecule": self.nfe_per_molecule,
            "seconds_per_molecule": self.seconds_per_molecule,
        }

    def table(self) -> str:
        """Aligned text in percent with the intervals."""
        lines = [f"{'molecules':<24}{self.num_molecules:>8}"]
        if self.num_skipped:
            lines.append(f"{'  of them unreadable':<24}{self.num_skipped:>8}")
        for name, (low, high) in self.intervals.items():
            title = name.replace("_x_", " × ").replace("_", " ")
            lines.append(f"{title:<24}{100 * getattr(self, name):>8.2f} %  ({100 * low:.2f} – {100 * high:.2f})")
        for title, cost in (("network calls", self.nfe_per_molecule), ("seconds", self.seconds_per_molecule)):
            if cost is not None:
                lines.append(f"{title + ' per molecule':<24}{cost:>8.2f}")
        return "\n".join(lines)


def published_card(
    molecules: MoleculeSet,
    train_smiles: Collection[str] | None = None,
    *,
    skipped: int = 0,
    workers: int | None = None,
    progress: Progress = lambda done: None,
) -> PublishedCard:
    """Measure a set of generated molecules in the published EDM protocol.

    Args:
        molecules: M molecules; their properties `nfe` and `seconds` are the cost, if they are there.
        train_smiles: SMILES of the training set by the same route (`training_smiles`), for novelty.
        skipped: further attempts that could not be read; they count in the denominators.
        workers: processes for RDKit; None takes the cores of this process.
        progress: receives the number of molecules finished since its last call.

    Raises:
        DataError: an empty set, or an atomic number outside 1 to 118.
    """
    if not len(molecules):
        raise DataError("there are no molecules to measure.")
    stable_atoms, smiles = assess(molecules, workers, progress)
    flags = StabilityResult(stable_atoms, molecules.num_atoms)
    valid = [text for text in smiles if text is not None]
    unique = set(valid)
    attempts = len(molecules) + skipped
    known = unique & set(train_smiles) if train_smiles is not None else set()
    return PublishedCard(
        atom_stability=flags.atom_stability,
        molecule_stability=int(flags.stable.sum()) / attempts,
        validity=len(valid) / attempts,
        uniqueness=len(unique) / max(len(valid), 1),
        validity_x_uniqueness=len(unique) / attempts,
        novelty=None if train_smiles is None else (len(unique) - len(known)) / max(len(unique), 1),
        num_molecules=attempts,
        num_skipped=skipped,
        intervals=_intervals(flags, smiles, skipped, None if train_smiles is None else len(unique - known)),
        nfe_per_molecule=_known_mean(molecules, "nfe"),
        seconds_per_molecule=_known_mean(molecules, "seconds"),
        stable=flags.stable,
        smiles=smiles,
    )


def _intervals(
    flags: StabilityResult, smiles: list[str | None], skipped: int, novel: int | None
) -> dict[str, Interval]:
    valid = [text for text in smiles if text is not None]
    attempts = [*smiles, *[None] * skipped]
    intervals = {
        "atom_stability": pooled_bootstrap(flags.stable_atoms, flags.num_atoms),
        "molecule_stability": wilson(int(flags.stable.sum()), len(attempts)),
        "validity": wilson(len(valid), len(attempts)),
        "uniqueness": distinct_interval(valid),
        "validity_x_uniqueness": distinct_interval(attempts),
    }
    if novel is not None:
        intervals["novelty"] = wilson(novel, len(set(valid)))
    return intervals


def _known_mean(molecules: MoleculeSet, name: str) -> float | None:
    values = np.asarray(molecules.properties.get(name, []), dtype=np.float64)
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def compare_published(a: PublishedCard, b: PublishedCard) -> dict[str, PairedDifference]:
    """Paired differences (b − a) of molecule stability and validity of two runs with equal seeds.

    Raises:
        DataError: the cards are not of the same molecules, by their number or because some were unreadable.
    """
    if a.num_skipped or b.num_skipped:
        raise DataError("cards with unreadable molecules cannot be compared pair by pair.")
    return {
        "molecule_stability": paired_difference(a.stable, b.stable),
        "validity": paired_difference(a.valid, b.valid),
    }


def training_smiles(molecules: MoleculeSet, workers: int | None = None, cache: Path | None = None) -> frozenset[str]:
    """SMILES of a training set from its coordinates, by the same route as those of generated molecules.

    Args:
        molecules: the training set.
        workers: processes for RDKit.
        cache: folder that keeps one text file per set and RDKit version; None keeps nothing.

    Raises:
        DataError: an atomic number outside 1 to 118.
        OutputError: the folder cannot be written.
    """
    path = cache / f"smiles-{_digest(molecules)}.txt" if cache else None
    if path and path.is_file():
        return frozenset(path.read_text().split())
    found = frozenset(text for text in smiles_of(molecules, workers) if text is not None)
    if path:
        with write_aside(path) as aside:
            aside.write_text("".join(f"{text}\n" for text in sorted(found)))
    return found


def _digest(molecules: MoleculeSet) -> str:
    """Key of a set's SMILES: its atoms, and RDKit's version, which decides what is canonical."""
    digest = hashlib.sha256(rdkit.__version__.encode())
    for array in (molecules.num_atoms, molecules.charges, molecules.positions):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]
