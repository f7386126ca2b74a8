"""The ring systems that molecules are built on, and how like those of real ones (`Scaf` of MOSES, Polykovskiy 2020)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

LEAST_RINGS = 2  # of a scaffold that counts, as in MOSES
MOST_KEPT = 2000


@dataclass(frozen=True)
class Scaffolds:
    """Murcko scaffolds of real molecules.

    Attributes:
        counts: molecules by scaffold, for the most frequent ones.
        squares: sum of the squares of all counts, those of the others included.
    """

    counts: Mapping[str, int]
    squares: int

    @classmethod
    def of(cls, counts: Counter[str]) -> "Scaffolds":
        """What a reference keeps of all its scaffolds."""
        return cls(dict(counts.most_common(MOST_KEPT)), _squares(counts))

    def similarity(self, counts: Counter[str]) -> float | None:
        """Cosine of the angle between both vectors of counts; None if one of them is empty.

        What the reference has not kept is missing in the product, not in the length, of its vector: the similarity is
        a little too low rather than too high. It grows with the number of molecules; compare sets of the same size.
        """
        product = sum(count * self.counts.get(scaffold, 0) for scaffold, count in counts.items())
        squares = _squares(counts) * self.squares
        return product / float(squares) ** 0.5 if squares else None

    def known(self, counts: Counter[str]) -> int:
        """How many molecules have one of the scaffolds that are kept."""
        return sum(count for scaffold, count in counts.items() if scaffold in self.counts)


def scaffolds_of(smiles: Iterable[str]) -> Counter[str]:
    """Molecules by scaffold, those with fewer rings left out."""
    mols = (mol for text in smiles if (mol := Chem.MolFromSmiles(text)) is not None)
    return Counter(
        MurckoScaffold.MurckoScaffoldSmiles(mol=mol) for mol in mols if mol.GetRingInfo().NumRings() >= LEAST_RINGS
    )


def _squares(counts: Counter[str]) -> int:
    return sum(count**2 for count in counts.values())
