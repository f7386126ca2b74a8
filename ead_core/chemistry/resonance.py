"""The resonance structure with the fewest formal charges, and those on the atoms that hold them best.

RDKit's perception often leaves a cation and an anion at the ends of a conjugated chain, `[S+]=C[O-]` for `SC=O`: of 707
drug-like molecules 20 % had charges with it, 15 % without. Moving the electrons along the chain, by swapping single and
double bonds from the anion to the cation, neutralises both; atoms and their neighbours stay as they are. In the same
way the charge of a carbanion moves to a nitrogen, oxygen or sulfur atom, `C=C[O-]` rather than `[CH2-]C=O`, and one of
two charges of an atom to another, `[N-]=[N+]=[N-]` rather than `N#[N+][N-2]`.
"""

import itertools
from collections import deque
from collections.abc import Callable

from rdkit import Chem

from ead_core.chemistry.elements import CARBON

End = Callable[[Chem.Atom, bool], bool]

_GIVERS = (7, 8, 15, 16)  # atomic numbers of cations that may give up a double bond
_HOLDERS = (7, 8, 16, 34)  # and of neutral atoms that may do so for the charge of a carbanion
_SINGLE, _DOUBLE = Chem.BondType.SINGLE, Chem.BondType.DOUBLE
_LOWER = {_DOUBLE: _SINGLE, Chem.BondType.TRIPLE: _DOUBLE}


def fewest_charges(mol: Chem.Mol) -> Chem.Mol:
    """A sanitised molecule whose pairs of opposite charges are neutralised as far as alternating chains join them."""
    if not any(atom.GetFormalCharge() < 0 for atom in mol.GetAtoms()):
        return mol
    moved = Chem.RWMol(mol)
    Chem.Kekulize(moved, clearAromaticFlags=True)
    for takers in ((6,), (6, 15, 16)):  # sulfoxides and the like last, where nothing else helps
        _shift_charges(moved, lambda atom: atom.GetFormalCharge() == -1, _cation(takers))
    _shift_charges(moved, _holds_charge_badly, _heteroatom)
    Chem.SanitizeMol(moved)
    return moved.GetMol()


def _cation(takers: tuple[int, ...]) -> End:
    """Whether an atom can take the electrons: an onium (S+, N+, O+), which gives up a double bond, or a carbocation.

    Args:
        takers: atomic numbers of cations that may take a new bond.
    """

    def takes(atom: Chem.Atom, after_single: bool) -> bool:
        return atom.GetFormalCharge() == 1 and atom.GetAtomicNum() in (takers if after_single else _GIVERS)

    return takes


def _heteroatom(atom: Chem.Atom, after_single: bool) -> bool:
    """Whether it is a neutral atom that gives up a double bond and holds the charge better than carbon."""
    return not after_single and not atom.GetFormalCharge() and atom.GetAtomicNum() in _HOLDERS


def _holds_charge_badly(atom: Chem.Atom) -> bool:
    return bool(atom.GetFormalCharge() < -1 or (atom.GetFormalCharge() == -1 and atom.GetAtomicNum() == CARBON))


def _shift_charges(mol: Chem.RWMol, start: Callable[[Chem.Atom], bool], end: End) -> None:
    """Move a charge from each atom that is a start to the nearest end that a chain leads to."""
    for atom in list(mol.GetAtoms()):
        if start(atom) and (chain := _chain(mol, atom.GetIdx(), end)):
            _shift(mol, chain)


def _chain(mol: Chem.Mol, anion: int, end: End) -> list[int] | None:
    """The shortest chain single, double, single … to an end; None if there is none.

    Args:
        mol: Kekulé structure.
        anion: where the chain begins.
        end: whether an atom that a chain reaches by a single bond, or by a double one, is what is looked for.
    """
    came_from: dict[tuple[int, bool], tuple[int, bool] | None] = {(anion, False): None}
    waiting = deque([(anion, False)])  # an atom, and whether the bond that led there is single
    while waiting:
        place = waiting.popleft()
        atom, after_single = mol.GetAtomWithIdx(place[0]), place[1]
        if place[0] != anion and end(atom, after_single):
            return _traced(came_from, place)
        wanted = _LOWER if after_single else (_SINGLE,)
        for bond in atom.GetBonds():
            following = (bond.GetOtherAtomIdx(place[0]), not after_single)
            if bond.GetBondType() in wanted and following not in came_from:
                came_from[following] = place
                waiting.append(following)
    return None


def _traced(came_from: dict[tuple[int, bool], tuple[int, bool] | None], end: tuple[int, bool]) -> list[int] | None:
    """Atoms from the anion to the end; None for a chain that meets itself, whose bonds cannot be swapped in turn."""
    chain: list[int] = []
    place: tuple[int, bool] | None = end
    while place is not None:
        chain.append(place[0])
        place = came_from[place]
    return chain[::-1] if len(set(chain)) == len(chain) else None


def _shift(mol: Chem.RWMol, chain: list[int]) -> None:
    """Swap single with double or triple bonds along the chain, and take a charge from its start to its end."""
    for first, second in itertools.pairwise(chain):
        bond = mol.GetBondBetweenAtoms(first, second)
        bond.SetBondType(_LOWER.get(bond.GetBondType(), _DOUBLE))
    for place, change in ((chain[0], 1), (chain[-1], -1)):
        atom = mol.GetAtomWithIdx(place)
        atom.SetFormalCharge(atom.GetFormalCharge() + change)
