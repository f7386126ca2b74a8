"""Sets of molecules in chunks of similar size, with the bonds of the published distance table.

Legend: B molecules of a chunk, N padded atoms.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.bonds import check_elements, find_bonds
from ead_core.data.store import MoleculeSet

PAIRS_PER_CHUNK = 1 << 16  # so that the distances stay in a core's cache; one large molecule may have more


class MoleculeChunk(NamedTuple):
    """B molecules of similar size; small, so that it can be sent to another process.

    Attributes:
        indices: [B] places in the set.
        sizes: [B] atoms.
        charges: [ΣN] atomic numbers.
        positions: [ΣN, 3] in Å.
    """

    indices: NDArray[np.int64]
    sizes: NDArray[Any]
    charges: NDArray[Any]
    positions: NDArray[np.float32]


class BondedChunk(NamedTuple):
    """B molecules of similar size with their bonds.

    Attributes:
        indices: [B] places in the set.
        charges: [B, N] atomic numbers, 0 where padded.
        finite: [B] whether every coordinate is a number.
        bonds: [bonds, 4] as from `find_bonds`.
    """

    indices: NDArray[np.int64]
    charges: NDArray[np.uint8]
    finite: NDArray[np.bool_]
    bonds: NDArray[np.int64]


def bonded_chunks(molecules: MoleculeSet) -> Iterator[BondedChunk]:
    """The bonds of a set, chunk by chunk (see `similar_chunks`)."""
    return map(bonded, similar_chunks(molecules))


def similar_chunks(molecules: MoleculeSet) -> Iterator[MoleculeChunk]:
    """A set in chunks of ascending size, so that little is padded and memory is bounded.

    Raises:
        DataError: an atomic number outside 1 to 118.
    """
    check_elements(molecules.charges, lowest=1)
    by_size = np.argsort(molecules.num_atoms, kind="stable")
    bare = MoleculeSet(molecules.num_atoms, molecules.charges, molecules.positions)
    ordered = bare.select(by_size)
    charges, offsets = ordered.charges.astype(np.uint8), ordered.offsets
    start = 0
    while start < len(ordered):
        stop = _chunk_end(ordered.num_atoms, start)
        atoms = slice(offsets[start], offsets[stop])
        yield MoleculeChunk(
            by_size[start:stop], ordered.num_atoms[start:stop], charges[atoms], ordered.positions[atoms]
        )
        start = stop


def _chunk_end(sizes: NDArray[Any], start: int) -> int:
    """End of the longest run of ascending sizes [M] from `start` whose padded pairs fit, at least one."""
    most = max(PAIRS_PER_CHUNK // int(sizes[start]) ** 2, 1)
    widths = sizes[start : start + most]
    fits = np.arange(1, len(widths) + 1) * widths**2 <= PAIRS_PER_CHUNK
    return start + max(int(fits.sum()), 1)


def bonded(chunk: MoleculeChunk) -> BondedChunk:
    """Find the bonds of a chunk."""
    mask = np.arange(chunk.sizes.max())[None, :] < chunk.sizes[:, None]
    charges = np.zeros(mask.shape, dtype=np.uint8)
    positions = np.zeros((*mask.shape, 3), dtype=np.float32)
    charges[mask], positions[mask] = chunk.charges, chunk.positions
    finite = np.asarray(np.isfinite(positions).all(axis=(1, 2)))
    return BondedChunk(chunk.indices, charges, finite, find_bonds(charges, positions))
