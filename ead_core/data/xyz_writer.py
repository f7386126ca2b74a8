"""Writing XYZ: one frame per molecule, positions to 10⁻⁸ Å, and the properties as `key=value` on the comment line."""

import json
import re
from pathlib import Path

import numpy as np

from ead_core.chemistry.elements import element_symbol
from ead_core.common.files import write_aside
from ead_core.data.names import fitting_names, renaming_notes
from ead_core.data.store import MoleculeSet

_PLAIN = re.compile(r"[A-Za-z_][\w.:/()#@+-]*")
_LINE_BREAKS = re.compile("[\x85\u2028\u2029]")  # to Python, beside those that JSON escapes
_NO_TEXTS = ("t", "f", "true", "false", "nan", "inf", "infinity")  # to readers of extended XYZ
_RESERVED = ("properties", "lattice", "pbc")  # keys that say what the columns of an extended XYZ file mean


def write_xyz(molecules: MoleculeSet, path: Path) -> list[str]:
    """Write every molecule with its known scalar properties.

    Returns:
        A sentence for each property that the file does not hold as it was.

    Raises:
        OutputError: the file cannot be written.
    """
    names = fitting_names(molecules.properties, _fitting)
    with write_aside(path) as aside, aside.open("w", encoding="utf-8") as file:
        for molecule in molecules:
            comment = " ".join(f"{_word(names[key])}={_word(value)}" for key, value in molecule.known.items())
            file.write(f"{len(molecule)}\n{comment}\n")
            for charge, (x, y, z) in zip(molecule.charges, molecule.positions, strict=True):
                file.write(f"{element_symbol(charge):<2} {x:15.8f} {y:15.8f} {z:15.8f}\n")
    vectors = [name for name, values in molecules.properties.items() if np.ndim(values) > 1]
    notes = [f"property {name!r} is left out: it has several values per molecule." for name in vectors]
    return renaming_notes(names) + notes


def _fitting(name: str) -> str:
    return f"{name}_" if name.lower() in _RESERVED else name or "unnamed"


def _word(value: float | str) -> str:
    """A value as one word: texts are quoted unless they are a word that cannot be taken for something else."""
    text = str(value)
    if not isinstance(value, str) or (_PLAIN.fullmatch(text) and text.lower() not in _NO_TEXTS):
        return text
    return _LINE_BREAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
