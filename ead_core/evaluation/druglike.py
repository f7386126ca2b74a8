"""What chemists ask first of a molecule's graph: drug-likeness, ease of synthesis, lipophilicity, rings, scaffold."""

import functools
import importlib.util
import types
from pathlib import Path
from typing import Any

from rdkit import Chem, RDConfig
from rdkit.Chem import QED, rdMolDescriptors
from rdkit.Chem.Scaffolds import MurckoScaffold

from ead_core.errors import DataError


def druglike(mol: Chem.Mol) -> dict[str, Any]:
    """Columns of one molecule without explicit hydrogens.

    `qed` (Bickerton 2012), `sa` (synthetic accessibility, 1 easy to 10 hard; Ertl 2009), `logp` (Crippen), `weight`
    in g/mol, `rings`, `aromatic_rings`, `largest_ring` (atoms; 0 without rings), `spiro`, `bridgeheads` and `scaffold`
    (Murcko's, as SMILES; empty without rings).
    """
    sizes = [len(ring) for ring in mol.GetRingInfo().AtomRings()]
    return {
        "qed": QED.qed(mol),
        "sa": _sa_scorer().calculateScore(mol),
        "logp": rdMolDescriptors.CalcCrippenDescriptors(mol)[0],
        "weight": rdMolDescriptors._CalcMolWt(mol),
        "rings": len(sizes),
        "aromatic_rings": rdMolDescriptors.CalcNumAromaticRings(mol),
        "largest_ring": max(sizes, default=0),
        "spiro": rdMolDescriptors.CalcNumSpiroAtoms(mol),
        "bridgeheads": rdMolDescriptors.CalcNumBridgeheadAtoms(mol),
        "scaffold": MurckoScaffold.MurckoScaffoldSmiles(mol=mol),
    }


@functools.cache
def _sa_scorer() -> types.ModuleType:
    """RDKit ships the score as a contributed script, not as a module.

    Raises:
        DataError: this RDKit comes without it.
    """
    path = Path(RDConfig.RDContribDir, "SA_Score", "sascorer.py")
    spec = importlib.util.spec_from_file_location("sascorer", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise DataError(f"this RDKit lacks its contributed SA score ({path}); install RDKit from PyPI or conda-forge.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
