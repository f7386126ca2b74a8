"""Bodies with a client's own molecules, and the answers to them, as they stand in the OpenAPI document."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve.fields import Body

Kind = Literal["sdf", "xyz", "smiles"]
Predictor = Literal["qm9-judge", "qm9-selector"]
Reference = Literal["qm9", "drugs"]
WATER = "3\nwater\nO 0.000 0.000 0.119\nH 0.000 0.763 -0.477\nH 0.000 -0.763 -0.477\n"


class OwnMolecules(Body):
    """Molecules as text."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"molecules": WATER, "format": "xyz"}, {"molecules": "CCO ethanol\nCO", "format": "smiles"}]
        }
    )

    molecules: str = Field(
        min_length=1,
        description="The content of an SDF or an XYZ file with 3D coordinates and all hydrogens, or SMILES, one a "
        "line, after which a name may stand: these get a conformer of RDKit's, relaxed by MMFF94.",
    )
    format: Kind


class Left(BaseModel):
    """A molecule that is left out."""

    name: str
    reason: str


class Interval(BaseModel):
    """A predicted value, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class PredictedMolecule(BaseModel):
    """A molecule with its predicted properties."""

    name: str
    formula: str
    properties: dict[str, Interval]


class Predictions(BaseModel):
    """Properties of molecules, in the order of the body."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "predictor": "qm9-judge",
                    "units": {"gap": "meV"},
                    "molecules": [
                        {
                            "name": "ethanol",
                            "formula": "C2H6O",
                            "properties": {"gap": {"value": 9403.5, "low": 9045.6, "high": 9761.5}},
                        }
                    ],
                    "skipped": [],
                    "notes": [],
                }
            ]
        }
    )

    predictor: str
    units: dict[str, str] = Field(description="By property; empty where it is that of the training data.")
    molecules: list[PredictedMolecule]
    skipped: list[Left] = Field(description="Molecules that could not be read.")
    notes: list[str] = Field([], description="What limits the predictions, such as molecules unlike those of training.")


class Evaluation(BaseModel):
    """The evaluation card of molecules."""

    card: dict[str, Any] = Field(description="As `ead evaluate --json` writes it.")
    skipped: list[Left] = Field(description="Molecules that could not be read; `card` does not count them.")
    notes: list[str] = []
