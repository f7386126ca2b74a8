"""The sections of a card about validity: the published protocol, and the strict one."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from ead_core.common.intervals import pooled_bootstrap
from ead_core.evaluation.figure import Figure, Section, distinct, share

if TYPE_CHECKING:
    from ead_core.evaluation.columns import Columns

SHARES = {  # titles of the figures of the published protocol
    "atom_stability": "atom stability",
    "molecule_stability": "molecule stability",
    "validity": "validity",
    "uniqueness": "uniqueness among the valid",
    "validity_x_uniqueness": "validity × uniqueness",
    "novelty": "novelty among the unique",
}


def published(columns: "Columns", known_smiles: Collection[str] | None) -> Section:
    """EDM's protocol; the names are those of the keys of `ead evaluate --json`."""
    smiles, attempts = columns.texts("published_smiles"), len(columns)
    valid = [text for text in smiles if text is not None]
    section = {
        "atom_stability": _atom_stability(columns),
        "molecule_stability": share(SHARES["molecule_stability"], int(columns.flags("stable").sum()), attempts),
        "validity": share(SHARES["validity"], len(valid), attempts),
        "uniqueness": distinct(SHARES["uniqueness"], valid),
        "validity_x_uniqueness": distinct(SHARES["validity_x_uniqueness"], smiles),
    }
    if known_smiles is not None:
        unique = set(valid)
        section["novelty"] = share(SHARES["novelty"], len(unique - set(known_smiles)), len(unique))
    return section


def _atom_stability(columns: "Columns") -> Figure:
    """Over the pool of the atoms of all molecules that could be measured."""
    stable, atoms = columns.numbers("stable_atoms"), columns.numbers("atoms")
    measured = np.isfinite(atoms)
    hits, total = stable[measured].astype(np.int64), atoms[measured].astype(np.int64)
    interval = pooled_bootstrap(hits, total) if measured.any() else (0.0, 1.0)
    pool = int(total.sum())
    return Figure(SHARES["atom_stability"], float(hits.sum() / max(pool, 1)), interval, pool, pool)


def strict(columns: "Columns", known_inchikeys: Collection[str] | None) -> Section:
    """RDKit's own perception, one piece, no radical, no unusual valence; distinct and new by InChIKey.

    An odd number of electrons leaves nothing to perceive. Ions whose charge the file states can be strictly valid; the
    uncharged are those without any formal charge, also one that another balances. InChIKeys tell stereoisomers
    apart, by their geometry.
    """
    attempts, valid = len(columns), columns.flags("strict_valid")
    pieces, radicals, unusual, charged = (
        columns.numbers(name) for name in ("pieces", "radicals", "unusual_atoms", "charged_atoms")
    )
    hits = {
        "even_electrons": ("even number of electrons", columns.flags("even_electrons")),
        "perceived": ("bonds can be perceived", columns.flags("perceived")),
        "connected": ("in one piece", pieces == 1),
        "no_radicals": ("without radicals", radicals == 0),
        "usual_valences": ("all valences usual", unusual == 0),
        "strict_validity": ("strictly valid: all of these", valid),
        "strict_uncharged": ("strictly valid and uncharged", valid & (charged == 0)),
    }
    section = {name: share(title, int(flags.sum()), attempts) for name, (title, flags) in hits.items()}
    good = strict_keys(columns)
    section["strict_unique"] = distinct("strictly valid and distinct", good)
    if known_inchikeys is not None:
        new = set(good) - {None} - set(known_inchikeys)
        section["strict_novel"] = share("strictly valid, distinct and new", len(new), attempts)
    section["charged"] = share("with formal charges", int((charged > 0).sum()), attempts)
    ions = int((np.nan_to_num(columns.numbers("net_charge")) != 0).sum())
    if ions:
        section["ions"] = share("ions: charged as a whole", ions, attempts)
    return section


def strict_keys(columns: "Columns") -> list[str | None]:
    """InChIKeys of the strictly valid, None for others."""
    pairs = zip(columns.texts("inchikey"), columns.flags("strict_valid"), strict=True)
    return [key if fine else None for key, fine in pairs]
