"""Bonds, orders and formal charges as RDKit perceives them from coordinates (`rdDetermineBonds`).

Unlike the published protocol (metrics/bonds.py) this knows aromatic bonds and formal charges, and takes a molecule as a
whole: orders are such that every atom has a valence that it can have, or the molecule is refused. Which atoms are
neighbours is RDKit's rule first. It joins atoms across strained cages, of which QM9 has many (5.1 % of 3,000 real
molecules fail with it), so that where orders cannot be found the shorter bonds of the published table are tried (both:
0.2 %).
"""

import contextlib
from typing import Any

from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from ead_core.evaluation.resonance import fewest_charges
from ead_core.metrics.chemistry import bare_molecule, molecule_by_table

_NITRO = Chem.MolFromSmarts("[#7D3](~[#8D1])~[#8D1]")
_PHOSPHORUS_OF_FOUR = Chem.MolFromSmarts("[#15D4]")
_DIANION = Chem.MolFromSmarts("[#7D3+0](-[#8D1-])-[#8D1-]")

MOST_ITERATIONS = 2000  # of orders tried; real molecules need a few, broken ones would go on for hours


class PerceptionError(ValueError):
    """No bond orders go with the coordinates; the message is RDKit's reason."""


def perceive(charges: NDArray[Any], positions: NDArray[Any], net_charge: int = 0) -> Chem.Mol:
    """A sanitised molecule with bonds, formal charges and one conformer; stereochemistry is not assigned.

    Args:
        charges: atomic numbers [N].
        positions: [N, 3] in Å.
        net_charge: of the molecule, if it is known; 0 is tried too.

    Raises:
        PerceptionError: no orders can be found.
    """
    reason = ""
    with rdBase.BlockLogs():
        for connect in (_by_rdkit, _by_table):
            for charge in dict.fromkeys((net_charge, 0)):
                try:
                    return _ordered(connect(charges, positions), charge)
                except (ValueError, RuntimeError) as error:  # RDKit raises the second when it gives up
                    reason = reason or _reason(error, charge)
    raise PerceptionError(reason)


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
    if connected.GetNumAtoms() == 1 and charge:
        return _lone_ion(connected, charge)
    if connected.HasSubstructMatch(_PHOSPHORUS_OF_FOUR):
        with contextlib.suppress(ValueError):
            return _with_phosphonium(connected, charge)
    nitro = len(connected.GetSubstructMatches(_NITRO))
    try:
        return _with_orders(connected, charge)
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


def _reason(error: Exception, charge: int) -> str:
    text = str(error).strip().split("\n")[0].split(";")[0].rstrip(".")
    if text.startswith("Final molecular charge"):
        return f"no bond orders give it the charge {charge}"
    return text.removesuffix(". Check the input molecules bonding")
