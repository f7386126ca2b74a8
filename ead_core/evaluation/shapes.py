"""Bond lengths, angles and torsions of molecules, gathered per pattern in histograms of fixed bins.

A histogram needs no more memory for a million molecules than for ten, and parts of a run can be added up. Patterns are
elements joined by the signs of their bonds, the same read from either end: `C=O`, `H-C-H`, `C-C:C-N` (`:` aromatic).
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

Histogram = NDArray[np.int64]
Shapes = dict[str, dict[str, Histogram]]  # kind, pattern


class Bins(NamedTuple):
    """Equal bins from `low` on; what lies outside counts in the first or last."""

    low: float
    width: float
    number: int
    unit: str

    def places(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The bin of each value."""
        return np.clip((values - self.low) // self.width, 0, self.number - 1).astype(np.int64)

    @property
    def centres(self) -> NDArray[np.float64]:
        """[number] in the unit."""
        return np.asarray(self.low + self.width * (np.arange(self.number) + 0.5))


BINS = {
    "bond": Bins(0.6, 0.005, 400, "Å"),
    "angle": Bins(0.0, 0.5, 360, "°"),
    "torsion": Bins(0.0, 2.0, 90, "°"),  # without a sign: mirror images have the same
}
_SIGNS = {1.0: "-", 2.0: "=", 3.0: "#", 1.5: ":"}


def shapes_of(mol: Chem.Mol) -> Shapes:
    """Histograms of one molecule with bonds and a conformer; torsions along bonds between heavy atoms."""
    positions = mol.GetConformer().GetPositions()
    chains: dict[str, Callable[[Chem.Mol], Iterator[tuple[int, ...]]]] = {
        "bond": _bonds,
        "angle": _angles,
        "torsion": _torsions,
    }
    measures = {"bond": _lengths, "angle": _angles_of, "torsion": _torsions_of}
    found: Shapes = {}
    for kind, walk in chains.items():
        atoms = list(walk(mol))
        found[kind] = {}
        if atoms:
            places = BINS[kind].places(measures[kind](positions[np.array(atoms)]))
            _count(found[kind], [_pattern(mol, chain) for chain in atoms], places, BINS[kind].number)
    return found


def _count(into: dict[str, Histogram], patterns: list[str], places: NDArray[np.int64], bins: int) -> None:
    for (pattern, place), count in Counter(zip(patterns, places.tolist(), strict=True)).items():
        into.setdefault(pattern, np.zeros(bins, dtype=np.int64))[place] += count


def add_shapes(total: Shapes, more: Mapping[str, Mapping[str, Histogram]]) -> None:
    """Add histograms to those of `total`, in place."""
    for kind, patterns in more.items():
        into = total.setdefault(kind, {})
        for pattern, counts in patterns.items():
            into[pattern] = into[pattern] + counts if pattern in into else counts


def wasserstein(first: Histogram, second: Histogram, width: float) -> float:
    """Wasserstein-1 distance, in the unit of `width`, of two histograms with the same bins, none of them empty.

    In one dimension it is the area between the cumulated distributions.
    """
    shares = first / first.sum() - second / second.sum()
    return float(np.abs(np.cumsum(shares)).sum() * width)


def _bonds(mol: Chem.Mol) -> Iterator[tuple[int, ...]]:
    for bond in mol.GetBonds():
        yield bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()


def _angles(mol: Chem.Mol) -> Iterator[tuple[int, ...]]:
    for atom in mol.GetAtoms():
        around = [other.GetIdx() for other in atom.GetNeighbors()]
        for first, last in itertools.combinations(around, 2):
            yield first, atom.GetIdx(), last


def _torsions(mol: Chem.Mol) -> Iterator[tuple[int, ...]]:
    """Chains of four heavy atoms."""
    heavy = [[n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() > 1] for atom in mol.GetAtoms()]
    for bond in mol.GetBonds():
        left, right = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if mol.GetAtomWithIdx(left).GetAtomicNum() > 1 and mol.GetAtomWithIdx(right).GetAtomicNum() > 1:
            for first, last in itertools.product(heavy[left], heavy[right]):
                if first != right and last not in (left, first):
                    yield first, left, right, last


def _pattern(mol: Chem.Mol, chain: tuple[int, ...]) -> str:
    symbols = [mol.GetAtomWithIdx(atom).GetSymbol() for atom in chain]
    signs = [_SIGNS.get(mol.GetBondBetweenAtoms(a, b).GetBondTypeAsDouble(), "~") for a, b in itertools.pairwise(chain)]
    forwards = "".join(itertools.chain(*itertools.zip_longest(symbols, signs, fillvalue="")))
    backwards = "".join(itertools.chain(*itertools.zip_longest(symbols[::-1], signs[::-1], fillvalue="")))
    return min(forwards, backwards)


def _lengths(positions: NDArray[Any]) -> NDArray[np.float64]:
    """Of [K, 2, 3] in Å."""
    return np.linalg.norm(positions[:, 1] - positions[:, 0], axis=-1)


def _angles_of(positions: NDArray[Any]) -> NDArray[np.float64]:
    """Of [K, 3, 3] in degrees."""
    first, last = positions[:, 0] - positions[:, 1], positions[:, 2] - positions[:, 1]
    return _between(first, last)


def _torsions_of(positions: NDArray[Any]) -> NDArray[np.float64]:
    """Of [K, 4, 3] in degrees, without sign."""
    axis = positions[:, 2] - positions[:, 1]
    left = np.cross(positions[:, 0] - positions[:, 1], axis)
    right = np.cross(positions[:, 3] - positions[:, 2], axis)
    return _between(left, right)


def _between(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Angle in degrees of vectors [K, 3]; 0 where one has no length (atan2 is exact near 0 and 180, arccos is not)."""
    cross = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.degrees(np.arctan2(cross, (a * b).sum(axis=-1)))
