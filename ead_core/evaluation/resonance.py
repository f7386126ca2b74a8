"""The resonance structure with the fewest formal charges.

RDKit's perception often leaves a cation and an anion at the ends of a conjugated chain, `[S+]=C[O-]` for `SC=O`: of 707
drug-like molecules 20 % had charges with it, 15 % without. Moving the electrons along the chain, by swapping single and
double bonds from the anion to the cation, neutralises both; atoms and their neighbours stay as they are.
"""

import itertools
from collections import deque

from rdkit import Chem

_GIVERS = (7, 8, 15, 16)  # atomic numbers of cations that may give up a double bond
_SINGLE, _DOUBLE = Chem.BondType.SINGLE, Chem.BondType.DOUBLE


def fewest_charges(mol: Chem.Mol) -> Chem.Mol:
    """A sanitised molecule whose pairs of opposite charges are neutralised as far as alternating chains join them."""
    if not any(atom.GetFormalCharge() < 0 for atom in mol.GetAtoms()):
        return mol
    moved = Chem.RWMol(mol)
    Chem.Kekulize(moved, clearAromaticFlags=True)
    for takers in ((6,), (6, 15, 16)):  # sulfoxides and the like last, where nothing else helps
        for atom in list(moved.GetAtoms()):
            if atom.GetFormalCharge() == -1 and (chain := _chain_to_cation(moved, atom.GetIdx(), takers)):
                _shift(moved, chain)
    Chem.SanitizeMol(moved)
    return moved.GetMol()


def _chain_to_cation(mol: Chem.Mol, anion: int, takers: tuple[int, ...]) -> list[int] | None:
    """The shortest chain single, double, single … to a cation that can take the electrons; None if there is none.

    An onium (S+, N+, O+) gives up a double bond, so that the chain ends in one; a carbocation takes a new one.

    Args:
        mol: Kekulé structure.
        anion: where the chain begins.
        takers: atomic numbers of cations that may take a new bond.
    """
    came_from: dict[tuple[int, bool], tuple[int, bool] | None] = {(anion, False): None}
    waiting = deque([(anion, False)])  # an atom, and whether the bond that led there is single
    while waiting:
        place = waiting.popleft()
        atom, after_single = mol.GetAtomWithIdx(place[0]), place[1]
        if atom.GetFormalCharge() == 1 and atom.GetAtomicNum() in (takers if after_single else _GIVERS):
            return _traced(came_from, place)
        wanted = _DOUBLE if after_single else _SINGLE
        for bond in atom.GetBonds():
            following = (bond.GetOtherAtomIdx(place[0]), not after_single)
            if bond.GetBondType() == wanted and following not in came_from:
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
    """Swap single and double bonds along the chain and take the charges off its ends."""
    for first, second in itertools.pairwise(chain):
        bond = mol.GetBondBetweenAtoms(first, second)
        bond.SetBondType(_DOUBLE if bond.GetBondType() == _SINGLE else _SINGLE)
    for end in (chain[0], chain[-1]):
        mol.GetAtomWithIdx(end).SetFormalCharge(0)
