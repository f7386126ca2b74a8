"""3D structures from SMILES, by RDKit: a conformer that a force field has relaxed."""

from typing import Any

from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from ead_core.errors import DataError

ATTEMPTS = 20  # the limit that ends a hopeless embedding, the same on every machine
SECONDS = 30  # a last resort against hanging inside one attempt
RELAX_STEPS = 5000


def embed(smiles: str, seed: int) -> Chem.Mol:
    """The molecule with explicit hydrogens and one conformer (ETKDG, then MMFF94), a function of both arguments alone.

    Raises:
        DataError: no SMILES, or one for which no relaxed conformer is found.
    """
    parsed = Chem.MolFromSmiles(smiles)
    if parsed is None or not parsed.GetNumAtoms():
        raise DataError(f"'{smiles[:100]}' is no valid SMILES.")
    mol = Chem.AddHs(parsed)
    parameters: Any = rdDistGeom.ETKDGv3()  # the type stubs of RDKit are wrong here
    parameters.randomSeed = seed
    parameters.maxIterations = ATTEMPTS
    parameters.timeout = SECONDS
    if rdDistGeom.EmbedMolecule(mol, parameters) < 0:
        raise DataError(f"'{smiles}' could not be embedded.")
    state = rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=RELAX_STEPS)
    if state != 0:
        problem = "has no MMFF94 parameters" if state < 0 else "did not converge"
        raise DataError(f"'{smiles}' {problem}.")
    return mol
