"""What predictors and GFN2-xTB say of the same molecules, side by side.

GFN2-xTB is another method than the labels' B3LYP, so its values are first corrected: from its orbital energies, dipole,
partial charges and bond orders to the labels, by a fit to molecules that are used for nothing else.

Legend: M molecules of a group.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from judge_xtb_molecules import PROPERTIES, Columns, Group
from judge_xtb_statistics import Array, Correction
from numpy.typing import NDArray

from ead_core.data.properties import property_values
from ead_core.data.store import MoleculeSet
from ead_core.prediction.judge import Judge, predict


@dataclass(frozen=True)
class Values:
    """Of the M molecules of a group at one geometry each: by predictor and property, and by property.

    Attributes:
        predicted: [M] by predictor and property.
        xtb: [M] by property.
        corrected: [M] by property, GFN2-xTB's value as an estimate of the label.
        labels: [M] by property; none of molecules that nobody has computed.
    """

    predicted: Mapping[str, Columns]
    xtb: Columns
    corrected: Columns
    labels: Columns

    def only(self, chosen: NDArray[Any]) -> "Values":
        """Some of the M molecules."""
        predicted = {name: _cut(columns, chosen) for name, columns in self.predicted.items()}
        return Values(predicted, *(_cut(columns, chosen) for columns in (self.xtb, self.corrected, self.labels)))

    def errors(self, predictor: str, name: str) -> Array:
        """Label less the value of the predictor and less that of the corrected GFN2-xTB, [M, 2]."""
        label = self.labels[name]
        return np.column_stack([label - self.predicted[predictor][name], label - self.corrected[name]])

    def differences(self, predictor: str, name: str) -> Array:
        """The corrected GFN2-xTB less the predictor [M]."""
        return self.corrected[name] - self.predicted[predictor][name]


@dataclass(frozen=True)
class Study:
    """All that is known.

    Attributes:
        groups: `fit`, for the correction, and those that are compared.
        predictors: by name.
    """

    groups: Mapping[str, Group]
    predictors: Mapping[str, Judge]

    @cached_property
    def given(self) -> dict[str, Values]:
        """Of every group, at the geometries that its molecules have."""
        return {name: self._values(group.molecules, group.xtb, name) for name, group in self.groups.items()}

    @cached_property
    def relaxed(self) -> dict[str, Values]:
        """Of the relaxed molecules of the groups that have some, at GFN2-xTB's minima."""
        return {
            name: self._values(group.relaxed, group.relaxation, name)
            for name, group in self.groups.items()
            if len(group.relaxed)
        }

    def before(self, group: str) -> Values:
        """Of the relaxed molecules of a group, at the geometries that they had."""
        return self.given[group].only(self.groups[group].places)

    def asked_for(self, name: str) -> NDArray[np.bool_]:
        """Which of the chosen molecules were asked for a property."""
        return np.asarray(self.groups["chosen"].molecules.properties["asked"] == name)

    @cached_property
    def _correct(self) -> Correction:
        fit = self.groups["fit"]
        labels = np.column_stack([property_values(fit.molecules, name) for name in PROPERTIES])
        return Correction.fitted(fit.xtb["features"], labels)

    def _values(self, molecules: MoleculeSet, xtb: Columns, group: str) -> Values:
        found = {
            name: predict(each.predictor, each.config, each.statistics, molecules)
            for name, each in self.predictors.items()
        }
        corrected = dict(zip(PROPERTIES, self._correct(xtb["features"]).T, strict=True))
        labelled = group in ("fit", "real")
        labels = {name: property_values(molecules, name) for name in PROPERTIES} if labelled else {}
        return Values(found, {name: xtb[name] for name in PROPERTIES}, corrected, labels)


def rows_of(study: Study) -> dict[str, NDArray[Any]]:
    """Columns of a table with a row per molecule."""
    tables = []
    for group, values in study.given.items():
        molecules = study.groups[group].molecules
        columns: dict[str, Any] = {"group": group, "atoms": molecules.num_atoms}
        parts = {**values.predicted, "xtb": values.xtb, "xtb_corrected": values.corrected, "label": values.labels}
        for who, said in parts.items():
            columns |= {f"{who}_{name}": said.get(name, np.nan) for name in PROPERTIES}
        for name in ("asked", "target"):
            columns[name] = molecules.properties.get(name, "" if name == "asked" else np.nan)
        for name in ("strain", "rmsd"):
            columns[name] = np.full(len(molecules), np.nan)
            columns[name][study.groups[group].relaxation["place"].astype(int)] = study.groups[group].relaxation[name]
        tables.append({name: np.broadcast_to(column, len(molecules)) for name, column in columns.items()})
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def _cut(columns: Columns, chosen: NDArray[Any]) -> dict[str, Array]:
    return {name: values[chosen] for name, values in columns.items()}
