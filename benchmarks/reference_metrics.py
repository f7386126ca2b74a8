"""EDM's metrics written plainly, pair by pair, from their description: the oracle for the fast ones."""

import math

from rdkit import Chem, rdBase

SYMBOLS = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
VALENCE = {"H": 1, "C": 4, "N": 3, "O": 2, "F": 1}
SINGLE = {
    "H": {"H": 74, "C": 109, "N": 101, "O": 96, "F": 92},
    "C": {"H": 109, "C": 154, "N": 147, "O": 143, "F": 135},
    "N": {"H": 101, "C": 147, "N": 145, "O": 140, "F": 136},
    "O": {"H": 96, "C": 143, "N": 140, "O": 148, "F": 142},
    "F": {"H": 92, "C": 135, "N": 136, "O": 142, "F": 142},
}
DOUBLE = {
    "C": {"C": 134, "N": 129, "O": 120},
    "N": {"C": 129, "N": 125, "O": 121},
    "O": {"C": 120, "N": 121, "O": 121},
}
TRIPLE = {"C": {"C": 120, "N": 116, "O": 113}, "N": {"C": 116, "N": 110}, "O": {"C": 113}}
KIND = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}


def bond_order(first, second, distance):
    """Order of the bond between two element symbols at a distance in Å."""
    picometres = 100 * distance
    if picometres < SINGLE[first][second] + 10:
        if second in DOUBLE.get(first, {}) and picometres < DOUBLE[first][second] + 5:
            if second in TRIPLE.get(first, {}) and picometres < TRIPLE[first][second] + 3:
                return 3
            return 2
        return 1
    return 0


def stable_atoms(charges, positions):
    """For each atom of one molecule, whether its bonds add up to its valence."""
    symbols = [SYMBOLS[int(z)] for z in charges]
    bonds = [0] * len(symbols)
    for i in range(len(symbols)):
        for j in range(i + 1, len(symbols)):
            order = bond_order(symbols[i], symbols[j], math.dist(positions[i], positions[j]))
            bonds[i] += order
            bonds[j] += order
    return [VALENCE[symbol] == count for symbol, count in zip(symbols, bonds, strict=True)]


def build_molecule(charges, positions):
    """One molecule of bare atoms with its bonds."""
    mol = Chem.RWMol()
    for z in charges:
        mol.AddAtom(Chem.Atom(int(z)))
    for i in range(len(charges)):
        for j in range(i):
            first, second = SYMBOLS[int(charges[i])], SYMBOLS[int(charges[j])]
            order = bond_order(first, second, math.dist(positions[i], positions[j]))
            if order:
                mol.AddBond(i, j, KIND[order])
    return mol


def sanitised_smiles(mol):
    """SMILES, or None if RDKit refuses the molecule."""
    try:
        Chem.SanitizeMol(mol)
    except ValueError:
        return None
    return Chem.MolToSmiles(mol)


def valid_smiles(charges, positions):
    """SMILES of the largest fragment of one molecule, or None if the molecule is invalid."""
    with rdBase.BlockLogs():
        mol = build_molecule(charges, positions)
        if sanitised_smiles(mol) is None:
            return None
        fragments = Chem.GetMolFrags(mol, asMols=True)
        return sanitised_smiles(max(fragments, key=lambda fragment: fragment.GetNumAtoms()))


def protocol(molecules, train_smiles):
    """All figures of the protocol for a list of (charges, positions)."""
    flags = [stable_atoms(charges, positions) for charges, positions in molecules]
    smiles = [valid_smiles(charges, positions) for charges, positions in molecules]
    valid = [text for text in smiles if text is not None]
    unique = set(valid)
    return {
        "atom_stability": sum(map(sum, flags)) / sum(map(len, flags)),
        "molecule_stability": sum(map(all, flags)) / len(flags),
        "validity": len(valid) / len(molecules),
        "uniqueness": len(unique) / len(valid),
        "validity_x_uniqueness": len(unique) / len(molecules),
        "novelty": len([text for text in unique if text not in train_smiles]) / len(unique),
    }
