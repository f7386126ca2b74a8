"""Which valences atoms have in real molecules, per element and formal charge, and which atoms have others.

The idea is that of "GEOM-Drugs revisited" (Nikitin et al., arXiv 2505.00169): aromatic bonds are counted, not added as
1.5 each and rounded, so that an impossible atom cannot hide among them; and what is possible is read off reference data
rather than written down.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from rdkit import Chem

Valency = tuple[int, int]  # number of aromatic bonds; sum of the orders of all other bonds, to hydrogens too
ValencyCounts = Counter[tuple[str, Valency]]
ValencyTable = Mapping[str, frozenset[Valency]]

LEAST_SEEN = 3  # atoms of the reference with a valency; rarer ones may be faults of perception


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


def valency_table(counts: Mapping[tuple[str, Valency], int], least: int = LEAST_SEEN) -> ValencyTable:
    """What was seen at least `least` times, by kind of atom."""
    table: dict[str, set[Valency]] = {}
    for (kind, valency), count in counts.items():
        if count >= least:
            table.setdefault(kind, set()).add(valency)
    return {kind: frozenset(seen) for kind, seen in sorted(table.items())}


def unusual_atoms(found: Iterable[tuple[str, Valency]], table: ValencyTable) -> int:
    """How many atoms have a valency, or are of a kind, that the table does not know."""
    return sum(valency not in table.get(kind, frozenset()) for kind, valency in found)
