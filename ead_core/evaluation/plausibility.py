"""PoseBusters' checks of a single molecule (Buttenschoen et al., Chem. Sci. 15, 3130 (2024))."""

import contextlib
import functools
import logging
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from rdkit import Chem

from ead_core.evaluation.figure import Section, share
from ead_core.evaluation.part import Cost, Evidence, Part
from ead_core.evaluation.quick_distances import COMPARED_WITH, quick_distances
from ead_core.evaluation.tally import Tally

CHOSEN = "chosen_binary_test_output"  # of a module in PoseBusters' configuration: the results that are its checks
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
    mol = Chem.Mol(mol)  # PoseBusters sanitises what it is given
    with warnings.catch_warnings(), _without_standard_error():
        warnings.simplefilter("ignore")
        return tuple(name for module in _modules(config) for name, passed in module(mol).items() if not passed)


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


Module = Callable[[Chem.Mol], dict[str, bool]]  # the checks of a module of PoseBusters, by name


@functools.cache
def _modules(config: str) -> list[Module]:
    """The modules of a configuration that say something; to call them directly saves PoseBusters' tables."""
    from posebusters import PoseBusters

    logging.getLogger("posebusters").setLevel(logging.CRITICAL)  # it reports every molecule that fails
    modules = PoseBusters(config=config).config["modules"]
    return [_module(settings) for settings in modules if settings.get(CHOSEN)]


def _module(settings: Mapping[str, Any]) -> Module:
    """One of them, as PoseBusters' configuration describes it."""
    from posebusters.posebusters import module_dict

    function, parameters = module_dict[settings["function"]], settings.get("parameters", {})
    names = {output: settings["rename_outputs"][output].lower().replace(" ", "_") for output in settings[CHOSEN]}
    quick = settings["function"] == "distance_geometry" and posebusters_version() == COMPARED_WITH

    def checks(mol: Chem.Mol) -> dict[str, bool]:
        found = quick_distances(mol, parameters) if quick else None
        found = found or function(mol_pred=mol, **parameters)["results"]
        return {name: bool(found[output]) for output, name in names.items()}

    return checks


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
