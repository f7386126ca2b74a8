"""Which valences atoms have in real molecules, per element and formal charge, and which atoms have others.

The idea is that of "GEOM-Drugs revisited" (Nikitin et al., arXiv 2505.00169): aromatic bonds are counted, not added as
1.5 each and rounded, so that an impossible atom cannot hide among them; and what is possible is read off reference data
rather than written down. Only where the data know nothing of an element is a written table asked (usual.py).
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from rdkit import Chem

from ead_core.chemistry.usual import USUAL, USUAL_IN_IONS, Valency, ValencyTable

ValencyCounts = Counter[tuple[str, Valency]]

LEAST_SEEN = 3  # atoms of the reference with a valency; rarer ones may be faults of perception,
LEAST_SHARE = 1e-3  # and so may those that fewer of the atoms of their element have


def valencies(mol: Chem.Mol) -> list[tuple[str, Valency]]:
    """The kind of each atom, as "C", "N+1" or "O-1", and its valency; of a sanitised molecule with all hydrogens."""
    found = []
    for atom in mol.GetAtoms():
        bonds = atom.GetBonds()
        aromatic = sum(bond.GetIsAromatic() for bond in bonds)
        others = sum(round(bond.GetBondTypeAsDouble()) for bond in bonds if not bond.GetIsAromatic())
        charge = atom.GetFormalCharge()
        kind = atom.GetSymbol() + (f"{charge:+d}" if charge else "")
        found.append((kind, (aromatic, others + atom.GetTotalNumHs())))
    return found


def element_of(kind: str) -> str:
    """The element of a kind of atom: N of "N+1"."""
    return kind.rstrip("+-0123456789")


def valency_table(counts: Mapping[tuple[str, Valency], int], least: int = LEAST_SEEN) -> ValencyTable:
    """What `least` atoms or more have, and `LEAST_SHARE` of those of their element, by kind of atom; no charged carbon.

    Carbon gets a charge where a hydrogen is missing (usual.py).
    """
    atoms: Counter[str] = Counter()
    for (kind, _), count in counts.items():
        atoms[element_of(kind)] += count
    table: dict[str, set[Valency]] = {}
    for (kind, valency), count in counts.items():
        element = element_of(kind)
        if count >= max(least, LEAST_SHARE * atoms[element]) and (element != "C" or kind == "C"):
            table.setdefault(kind, set()).add(valency)
    return {kind: frozenset(seen) for kind, seen in sorted(table.items())}


def usual_valencies(counts: Mapping[tuple[str, Valency], int] | None) -> ValencyTable:
    """The valences of a reference (`valency_table`), and the written ones of elements that it lacks.

    Args:
        counts: atoms of the reference by kind and valency; None without a reference.
    """
    seen = valency_table(counts or {})
    known = {element_of(kind) for kind in seen}
    return {**seen, **{kind: written for kind, written in USUAL.items() if element_of(kind) not in known}}


def in_ions(table: ValencyTable) -> ValencyTable:
    """The table for molecules that are charged as a whole."""
    return {
        kind: table.get(kind, frozenset()) | USUAL_IN_IONS.get(kind, frozenset()) for kind in {*table, *USUAL_IN_IONS}
    }


def unusual_atoms(found: Iterable[tuple[str, Valency]], table: ValencyTable) -> int:
    """How many atoms have a valency, or are of a kind, that the table does not know."""
    return sum(valency not in table.get(kind, frozenset()) for kind, valency in found)
