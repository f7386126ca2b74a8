"""How notebooks show a set: a table of its first molecules with drawings."""

import html

from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from ead_core.chemistry.identity import identify
from ead_core.chemistry.molecule import Molecule
from ead_core.data.store import MoleculeSet

SHOWN = 8  # molecules; a drawing takes some milliseconds
_PROPERTIES = 6  # columns beside those of every set
_SIZE = (180, 120)  # pixels of a drawing


def html_table(molecules: MoleculeSet) -> str:
    """The first molecules of a set: drawing, formula, SMILES and properties."""
    names = [name for name in molecules.properties if name != "smiles"][:_PROPERTIES]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", "molecule", "formula", "SMILES", *names))
    rows = "".join(_row(index, molecules[index], names) for index in range(min(SHOWN, len(molecules))))
    count = f"{len(molecules):,} molecules" + (f", the first {SHOWN}:" if len(molecules) > SHOWN else "")
    return f"<p>{count}</p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(index: int, molecule: Molecule, names: list[str]) -> str:
    identity = identify(molecule)
    texts = [molecule.formula, identity.smiles or identity.warning, *(_shown(molecule, name) for name in names)]
    cells = [f"{index}", _drawing(identity.smiles), *map(html.escape, texts)]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _shown(molecule: Molecule, name: str) -> str:
    value = molecule.known.get(name, "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _drawing(smiles: str) -> str:
    mol = Chem.MolFromSmiles(smiles) if smiles else None
    if mol is None:
        return ""
    drawer = rdMolDraw2D.MolDraw2DSVG(*_SIZE)
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol)
    drawer.FinishDrawing()
    text: str = drawer.GetDrawingText()
    return text[text.index("<svg") :]
