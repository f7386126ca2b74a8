"""Relaxation with GFN2-xTB (Bannwarth et al. 2019) through tblite and ASE: the optional extra `xtb`."""

import os
from typing import Any

from rdkit import Chem

from ead_core.errors import ConfigError
from ead_core.evaluation.figure import Section, medians
from ead_core.evaluation.part import Cost, Evidence, Part
from ead_core.evaluation.strain import Relaxed, displacement
from ead_core.evaluation.tally import Tally

KCAL_PER_EV = 23.060548
FORCE = 0.05  # eV/Å, the largest at the end
MOST_STEPS = 500


def check_gfn2() -> None:
    """Raise the ConfigError of a machine without the extra before any work is done."""
    try:
        import ase  # noqa: F401
        import tblite.ase  # noqa: F401
    except ImportError as error:
        raise ConfigError("GFN2-xTB needs the extra xtb: pip install tblite ase.") from error


def relax_gfn2(mol: Chem.Mol) -> Relaxed | None:
    """Minimise a sanitised molecule with all hydrogens; None if the self-consistent field does not converge."""
    import ase
    from ase.calculators.calculator import CalculatorError
    from ase.optimize import LBFGS
    from tblite.ase import TBLite

    charge = Chem.GetFormalCharge(mol)
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
    atoms = ase.Atoms(symbols, mol.GetConformer().GetPositions())
    atoms.calc = TBLite(method="GFN2-xTB", charge=charge, verbosity=0)
    try:
        before = atoms.get_potential_energy()
        converged = LBFGS(atoms, logfile=os.devnull).run(fmax=FORCE, steps=MOST_STEPS)
    except (CalculatorError, RuntimeError, ValueError):
        return None
    moved = _moved(mol, atoms.get_positions())
    strain = KCAL_PER_EV * (before - atoms.get_potential_energy())
    return Relaxed(moved, "GFN2-xTB", float(strain), displacement(mol, moved), bool(converged))


def _moved(mol: Chem.Mol, positions: Any) -> Chem.Mol:
    moved = Chem.Mol(mol)
    moved.GetConformer().SetPositions(positions)
    return moved


_TITLES = {
    "gfn2_gain": ("GFN2-xTB relaxation gains, median", "kcal/mol"),
    "gfn2_rmsd": ("… moves heavy atoms by, median", "Å"),
}


def _rows(evidence: Evidence) -> Section:
    return medians(evidence.columns, _TITLES, int(evidence.columns.sampled.sum()))


def _measure(mol: Chem.Mol, tally: Tally) -> dict[str, Any]:
    relaxed = relax_gfn2(mol)
    return {"gfn2_gain": relaxed.strain, "gfn2_rmsd": relaxed.rmsd} if relaxed else {}


GFN2 = Part(
    name="gfn2",
    section="plausibility",
    cost=Cost.SAMPLED,
    summarise=_rows,
    columns={"gfn2_gain": float, "gfn2_rmsd": float},
    measure=_measure,
    packages=("tblite",),
    check=check_gfn2,
)
