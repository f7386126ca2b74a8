"""Bonds, orders and formal charges as RDKit perceives them from coordinates (`rdDetermineBonds`).

Unlike the published protocol (bonds.py) this knows aromatic bonds and formal charges, and takes a molecule as a
whole: orders are such that every atom has a valence that it can have and the charges add up to that of the molecule, or
it is refused. Every hydrogen is an atom of its own: none is ever added in thought.

Which atoms are neighbours is RDKit's rule first. It joins atoms across strained cages, of which QM9 has many (5.1 % of
3,000 real molecules fail with it), and sulfur atoms in contact, so that where it leads to no orders, or to a radical or
a charged carbon, the shorter bonds of the published table are tried as well.
"""

import contextlib
from typing import Any

from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from ead_core.chemistry.bare_molecules import bare_molecule, molecule_by_table
from ead_core.chemistry.electrons import can_be_closed_shell
from ead_core.chemistry.elements import CARBON
from ead_core.chemistry.missing_atoms import NO_HYDROGENS, lacks_hydrogens, shows_missing_atoms
from ead_core.chemistry.overlap import find_overlap
from ead_core.chemistry.reasons import PerceptionError, reason_of
from ead_core.chemistry.resonance import fewest_charges

__all__ = ["PerceptionError", "perceive"]

_NITRO = Chem.MolFromSmarts("[#7D3](~[#8D1])~[#8D1]")
_PHOSPHORUS_OF_FOUR = Chem.MolFromSmarts("[#15D4]")
_DIANION = Chem.MolFromSmarts("[#7D3+0](-[#8D1-])-[#8D1-]")

MOST_ITERATIONS = 2000  # of orders tried; real molecules need a few, broken ones would go on for hours


def perceive(charges: NDArray[Any], positions: NDArray[Any], net_charge: int = 0) -> Chem.Mol:
    """A sanitised molecule with bonds, formal charges and one conformer; stereochemistry is not assigned.

    Args:
        charges: atomic numbers [N].
        positions: [N, 3] in Å.
        net_charge: of the molecule, in e.

    Raises:
        PerceptionError: two atoms are too close, or no orders go with the charge and closed shells.
    """
    close = find_overlap(charges, positions)
    if close:
        raise PerceptionError(f"two atoms are too close to each other ({close})")
    if not can_be_closed_shell(charges, net_charge):
        raise PerceptionError(reason_of(charges, net_charge))
    with rdBase.BlockLogs():
        mol = _bonded(charges, positions, net_charge)
    if lacks_hydrogens(charges) and shows_missing_atoms(mol, crude=True):
        raise PerceptionError(NO_HYDROGENS)
    return mol


def _bonded(charges: NDArray[Any], positions: NDArray[Any], net_charge: int) -> Chem.Mol:
    """By the first rule for neighbours that leads to a molecule without doubt, else by the first that leads to any."""
    doubtful, errors = [], []
    for connect in (_by_rdkit, _by_table):
        try:
            mol = _ordered(connect(charges, positions), net_charge)
        except (ValueError, RuntimeError) as error:  # RDKit raises the second when it gives up
            errors.append(error)
            continue
        if not _is_doubtful(mol):
            return mol
        doubtful.append(mol)
    if doubtful:
        return doubtful[0]
    raise PerceptionError(reason_of(charges, net_charge, errors[0]))


def _is_doubtful(mol: Chem.Mol) -> bool:
    """Whether it has a radical or a charged carbon, as wrong neighbours and missing hydrogens bring about."""
    return any(
        a.GetNumRadicalElectrons() or (a.GetFormalCharge() and a.GetAtomicNum() == CARBON) for a in mol.GetAtoms()
    )


def _by_rdkit(charges: NDArray[Any], positions: NDArray[Any]) -> Chem.Mol:
    mol = bare_molecule(charges, positions)
    rdDetermineBonds.DetermineConnectivity(mol)
    return mol


def _by_table(charges: NDArray[Any], positions: NDArray[Any]) -> Chem.Mol:
    mol = molecule_by_table(charges, positions)
    for bond in mol.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
    return mol


def _ordered(connected: Chem.Mol, charge: int) -> Chem.Mol:
    """Orders for the charge, of nitro groups as RDKit finds them for two electrons more each: N([O-])[O-]."""
    if connected.GetNumAtoms() == 1 and charge:
        return _lone_ion(connected, charge)
    if connected.HasSubstructMatch(_PHOSPHORUS_OF_FOUR):
        with contextlib.suppress(ValueError):
            return _with_phosphonium(connected, charge)
    nitro = len(connected.GetSubstructMatches(_NITRO))
    try:
        mol = _with_orders(connected, charge)
        if not mol.HasSubstructMatch(_DIANION):
            return mol
    except ValueError:
        if not nitro:
            raise
    return _nitro_rewritten(_with_orders(connected, charge - 2 * nitro))


def _lone_ion(bare: Chem.Mol, charge: int) -> Chem.Mol:
    """An atom with the whole charge (ValueError if it would have unpaired electrons)."""
    mol = Chem.Mol(bare)
    (atom,) = mol.GetAtoms()
    atom.SetFormalCharge(charge)
    atom.SetNoImplicit(True)
    Chem.SanitizeMol(mol)
    if atom.GetNumRadicalElectrons():
        raise ValueError(f"a lone ion of {atom.GetSymbol()} with charge {charge} has unpaired electrons")
    return mol


def _with_orders(connected: Chem.Mol, charge: int) -> Chem.Mol:
    mol = Chem.Mol(connected)
    rdDetermineBonds.DetermineBondOrders(mol, charge=charge, embedChiral=False, maxIterations=MOST_ITERATIONS)
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(True)
    Chem.SanitizeMol(mol)
    return fewest_charges(mol)


def _with_phosphonium(connected: Chem.Mol, charge: int) -> Chem.Mol:
    """Phosphorus of four neighbours taken for nitrogen meanwhile, since RDKit's perception knows no phosphonium."""
    mol = Chem.RWMol(connected)
    atoms = [match[0] for match in mol.GetSubstructMatches(_PHOSPHORUS_OF_FOUR)]
    for atom in atoms:
        mol.GetAtomWithIdx(atom).SetAtomicNum(7)
    mol = Chem.RWMol(_ordered(mol, charge))
    for atom in atoms:
        mol.GetAtomWithIdx(atom).SetAtomicNum(15)
    Chem.SanitizeMol(mol)
    return fewest_charges(mol.GetMol())


def _nitro_rewritten(mol: Chem.Mol) -> Chem.Mol:
    """N([O-])[O-] becomes [N+](=O)[O-]."""
    mol = Chem.RWMol(mol)
    for nitrogen, oxygen, _ in mol.GetSubstructMatches(_DIANION):
        mol.GetAtomWithIdx(nitrogen).SetFormalCharge(1)
        mol.GetAtomWithIdx(oxygen).SetFormalCharge(0)
        mol.GetBondBetweenAtoms(nitrogen, oxygen).SetBondType(Chem.BondType.DOUBLE)
    Chem.SanitizeMol(mol)
    return mol.GetMol()
