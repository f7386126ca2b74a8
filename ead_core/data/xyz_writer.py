"""Writing XYZ: one frame per molecule, positions to 10⁻⁸ Å, and the properties as `key=value` on the comment line."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ead_core.data.store import MoleculeSet
from ead_core.elements import element_symbol
from ead_core.files import write_aside

_PLAIN = re.compile(r"[^\s\"'={}\[\]]+")
_LINE_BREAKS = re.compile("[\x85\u2028\u2029]")  # to Python, beside those that JSON escapes
_LOGICAL = ("t", "f", "true", "false")  # in extended XYZ
_RESERVED = ("Properties", "Lattice", "pbc")  # keys that say what the columns of an extended XYZ file mean


def write_xyz(molecules: MoleculeSet, path: Path) -> list[str]:
    """Write every molecule with its known scalar properties.

    Returns:
        A sentence for each property that the file does not hold as it was.

    Raises:
        OutputError: the file cannot be written.
    """
    with write_aside(path) as aside, aside.open("w", encoding="utf-8") as file:
        for molecule in molecules:
            comment = " ".join(f"{_key(key)}={_word(value)}" for key, value in molecule.known.items())
            file.write(f"{len(molecule)}\n{comment}\n")
            for charge, (x, y, z) in zip(molecule.charges, molecule.positions, strict=True):
                file.write(f"{element_symbol(charge):<2} {x:15.8f} {y:15.8f} {z:15.8f}\n")
    return list(_altered(molecules))


def _key(name: str) -> str:
    """The name of a property, quoted unless it is one word."""
    return _quoted_unless_plain(f"{name}_" if name in _RESERVED else name or "unnamed")


def _word(value: float | str) -> str:
    """A value as one word: texts are quoted where they are more, or look like a number or a truth value."""
    if not isinstance(value, str):
        return str(value)
    return _quoted(value) if _means_no_text(value) else _quoted_unless_plain(value)


def _quoted_unless_plain(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    return _LINE_BREAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def _means_no_text(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return word.lower() in _LOGICAL
    return True


def _altered(molecules: MoleculeSet) -> Iterator[str]:
    for name, values in molecules.properties.items():
        if np.ndim(values) > 1:
            yield f"property {name!r} is left out: it has several values per molecule."
        if name in _RESERVED or not name:
            yield f"property {name!r} is called '{_key(name)}' in the file."
