"""The valences that atoms usually have, for elements and ions of which a reference of real molecules knows nothing.

Of neutral atoms these are the valences of closed shells, with those of sulfur, phosphorus and the halogens beyond the
octet; of charged atoms, what the common ions and zwitterions have. A charged carbon is never usual: perception puts its
charge there when a hydrogen is missing, which spoils real ions of that kind (carbanions, tropylium, isocyanides) too.
"""

from collections.abc import Mapping

Valency = tuple[int, int]  # number of aromatic bonds; sum of the orders of all other bonds, to hydrogens too
ValencyTable = Mapping[str, frozenset[Valency]]


def _table(text: str) -> ValencyTable:
    """Of lines such as `N+1: 0.4 2.1`: two aromatic bonds and a single one, or bonds of order 4 in all."""
    lines = (line.split(":") for line in text.strip().splitlines())
    return {
        kind: frozenset((int(valency[0]), int(valency[2])) for valency in valencies.split())
        for kinds, valencies in lines
        for kind in kinds.split()
    }


USUAL = _table("""
H: 0.1
B: 0.3 2.1
B-1: 0.4
C: 0.4 2.1 2.2 3.0
Si Ge Sn Pb: 0.4
N: 0.3 2.0 2.1 3.0
N+1: 0.4 2.1 3.0
N-1: 0.2 2.0
O: 0.2 2.0
O-1 S-1 Se-1 Te-1: 0.1
P As: 0.3 0.5 2.0 2.1
P+1 As+1: 0.4
Sb Bi: 0.3 0.5
S Se Te: 0.2 0.4 0.6 2.0
F: 0.1
Cl Br I: 0.1 0.3 0.5 0.7
""")

# In molecules that are ions as a whole: a reference of neutral molecules says nothing of these.
USUAL_IN_IONS = _table("""
H-1: 0.0
B-1 Al-1 Ga-1 In-1: 0.4
N+1: 0.4 2.1 3.0
N-1: 0.2 2.0
N-2: 0.1
O+1: 0.3 2.0
O-1 S-1 Se-1 Te-1: 0.1
O-2 S-2: 0.0
P+1 As+1: 0.4
P-1 As-1 Sb-1: 0.2 0.6
S+1 Se+1: 0.3 2.0 2.1
F-1 Cl-1 Br-1 I-1: 0.0
Cl+1 Br+1 I+1: 0.2
Cl+3 Br+3 I+3: 0.4
""")
