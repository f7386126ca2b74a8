"""The sections of a card about use: what the molecules are like, how varied, and what a good one costs."""

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from ead_core.evaluation.druglike import druglike
from ead_core.evaluation.figure import Figure, Section, distinct, means, share
from ead_core.evaluation.part import Cost, Evidence, Part
from ead_core.evaluation.protocols import strict_keys
from ead_core.evaluation.scaffolds import LEAST_RINGS, Scaffolds, scaffolds_of
from ead_core.evaluation.tally import Tally

if TYPE_CHECKING:
    from ead_core.evaluation.columns import Columns, Progress

MOST_COMPARED = 1000  # molecules whose pairs make the internal diversity
MOST_READ = 20_000  # SMILES of a table without scaffolds
_PROPERTIES = {
    "qed": ("QED, mean", ""),
    "sa": ("SA score (1 easy, 10 hard), mean", ""),
    "logp": ("logP, mean", ""),
    "weight": ("molecular weight, mean", "g/mol"),
    "rings": ("rings, mean", ""),
    "aromatic_rings": ("aromatic rings, mean", ""),
    "largest_ring": ("largest ring, mean", "atoms"),
}
COSTS = {"nfe": ("network calls per molecule", ""), "seconds": ("seconds per molecule", "s")}


def chemistry(columns: "Columns", real: Scaffolds | None = None) -> Section:
    """The chemistry of all molecules whose bonds could be perceived; scaffolds are compared with those of real ones."""
    attempts = len(columns)
    section = means(columns, _PROPERTIES, attempts)
    if section:
        for name, title in (("spiro", "with spiro atoms"), ("bridgeheads", "with bridgehead atoms")):
            section[name] = share(title, int((columns.numbers(name) > 0).sum()), attempts)
        section["scaffolds"] = distinct("distinct scaffolds with rings", [t or None for t in columns.texts("scaffold")])
        section |= _scaffold_similarity(scaffold_counts(columns), real) if real else {}
        section |= _diversity([text for text in columns.texts("smiles") if text])
    return section


def scaffold_counts(columns: "Columns") -> Counter[str]:
    """Molecules by scaffold: of the whole table where chemistry was measured, else of a sample of its SMILES."""
    rings = columns.numbers("rings")
    if np.isfinite(rings).any():
        texts = columns.texts("scaffold")
        return Counter(texts[place] or "" for place in np.flatnonzero(rings >= LEAST_RINGS))
    return scaffolds_of(columns.sample_smiles(MOST_READ))


def _scaffold_similarity(counts: Counter[str], real: Scaffolds) -> Section:
    similarity = real.similarity(counts)
    if similarity is None:
        return {}
    title = f"scaffolds ({LEAST_RINGS} rings or more), cosine similarity"
    return {"scaffold_similarity": Figure(title, similarity, None, counts.total(), real.known(counts), "")}


def _diversity(smiles: list[str]) -> Section:
    """1 − mean Tanimoto similarity of Morgan fingerprints (radius 2) of pairs; Polykovskiy et al. 2020 (MOSES)."""
    chosen = np.random.default_rng(0).permutation(len(smiles))[:MOST_COMPARED]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2)
    mols = [mol for index in chosen if (mol := Chem.MolFromSmiles(smiles[index])) is not None]
    if len(mols) < 2:
        return {}
    prints = [generator.GetFingerprint(mol) for mol in mols]
    rows = [DataStructs.BulkTanimotoSimilarity(one, prints[:place]) for place, one in enumerate(prints)]
    similar = np.concatenate([row for row in rows if row])
    return {"diversity": Figure("internal diversity", 1 - float(similar.mean()), None, len(smiles), len(mols), "")}


def _rows(evidence: Evidence) -> Section:
    return chemistry(evidence.columns, evidence.reference.scaffolds if evidence.reference else None)


def _measure(mol: Chem.Mol, tally: Tally) -> dict[str, Any]:
    return druglike(Chem.RemoveHs(mol))


def _count_scaffolds(tally: Tally, columns: "Columns", progress: "Progress") -> None:
    if not tally.scaffolds:
        tally.scaffolds = Scaffolds.of(scaffold_counts(columns))


CHEMISTRY = Part(
    name="chemistry",
    section="chemistry",
    cost=Cost.CHEAP,
    summarise=_rows,
    columns={
        **dict.fromkeys(("rings", "aromatic_rings", "largest_ring", "spiro", "bridgeheads"), int),
        "scaffold": str,
        **dict.fromkeys(("qed", "sa", "logp", "weight"), float),
    },
    measure=_measure,
    default=True,
    complete=_count_scaffolds,
)


def cost(columns: "Columns", known_inchikeys: Collection[str] | None, parts: Collection[str]) -> Section:
    """Where the file says what its molecules cost: of an attempt, and of one that is worth having."""
    section = means(columns, COSTS, len(columns))
    good = int((_worth_having(columns, known_inchikeys, parts) & columns.sampled).sum())
    if "seconds" in section and good:
        of = int(columns.sampled.sum())
        price = section["seconds"].value * of / good
        words = ["strictly valid", "distinct"] + ["new"] * (known_inchikeys is not None)
        words += ["plausible"] * ("posebusters" in parts)
        title = f"seconds per molecule that is {', '.join(words)}"
        section["seconds_per_good_molecule"] = Figure(title, price, None, of, of, "s")
    return section


def _worth_having(columns: "Columns", known: Collection[str] | None, parts: Collection[str]) -> NDArray[np.bool_]:
    """[M] strictly valid, the first of its kind, new, and passed by PoseBusters, as far as each is known."""
    seen: set[str | None] = {None, *(known or ())}
    first = []
    for key in strict_keys(columns):
        first.append(key not in seen)
        seen.add(key)
    flags = np.array(first, dtype=bool)
    return flags & columns.flags("posebusters") if "posebusters" in parts else flags
