"""PoseBusters' checks of a single molecule (Buttenschoen et al., Chem. Sci. 15, 3130 (2024))."""

import contextlib
import functools
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from rdkit import Chem

from ead_core.evaluation.figure import Section, share
from ead_core.evaluation.part import Cost, Evidence, Part
from ead_core.evaluation.tally import Tally

FAST, FULL = "mol_fast", "mol"  # PoseBusters' own names; the second adds an energy ratio over 50 conformers


def posebusters_version() -> str:
    """The version of PoseBusters, on which scores depend."""
    return version("posebusters")


def failed_checks(mol: Chem.Mol, config: str = FAST) -> tuple[str, ...]:
    """The names of the checks that the molecule fails; what PoseBusters cannot compute passes, as in its own totals.

    Args:
        mol: sanitised, with all hydrogens and one conformer.
        config: `mol_fast` or `mol`.
    """
    with warnings.catch_warnings(), _without_standard_error():
        warnings.simplefilter("ignore")
        report = _buster(config).bust([mol]).iloc[0]
    return tuple(str(name) for name, passed in report.items() if not bool(passed))


@contextlib.contextmanager
def _without_standard_error() -> Iterator[None]:
    """Nothing quieter helps: PoseBusters switches RDKit's messages on again, and they come from C++."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@functools.cache
def _buster(config: str):  # type: ignore[no-untyped-def]  # posebusters has no types
    from posebusters import PoseBusters

    logging.getLogger("posebusters").setLevel(logging.CRITICAL)  # it reports every molecule that fails
    return PoseBusters(config=config)


def _part(name: str, title: str, config: str, default: bool) -> Part:
    """The checks of a configuration; what has no perceivable bonds has failed them."""

    def rows(evidence: Evidence) -> Section:
        columns = evidence.columns
        of = int(columns.sampled.sum())
        if not of:
            return {}
        section = {name: share(title, int((columns.flags(name) & columns.sampled).sum()), of)}
        failed = [text for text in columns.texts(f"{name}_failed") if text]
        for check, count in Counter(each for text in failed for each in text.split(", ")).most_common():
            section[f"{name}_{check}"] = share(f"… fail {check.replace('_', ' ')}", count, of)
        return section

    def measure(mol: Chem.Mol, tally: Tally) -> dict[str, Any]:
        failed = failed_checks(mol, config)
        return {name: not failed, f"{name}_failed": ", ".join(failed)}

    return Part(
        name=name,
        section="plausibility",
        cost=Cost.SAMPLED,
        summarise=rows,
        columns={name: bool, f"{name}_failed": str},
        measure=measure,
        shares=(name,),
        default=default,
        packages=("posebusters",),
    )


POSEBUSTERS = _part("posebusters", "PoseBusters mol_fast", FAST, default=True)
POSEBUSTERS_FULL = _part("posebusters_full", "PoseBusters mol", FULL, default=False)
