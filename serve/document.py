"""The OpenAPI document of one service: what this model and these limits accept, not what any might."""

from copy import deepcopy
from typing import Any

from ead_core.data.properties import counted_element
from ead_core.data.targets import LARGEST
from serve.limits import Border
from serve.schema import MOST_SIZES

JsonSchema = dict[str, Any]


def tailored(document: JsonSchema, border: Border) -> JsonSchema:
    """The document with the ranges of the service in it, and without what its model does not take."""
    document = deepcopy(document)
    schemas = document["components"]["schemas"]
    _tailor_request(schemas["MoleculesRequest"], border)
    _tailor_sampler(schemas["SamplerSettings"]["properties"], border)
    return document


def _tailor_request(schema: JsonSchema, border: Border) -> None:
    fields, settings, sizes = schema["properties"], border.settings, border.sizes
    fields["num"] |= {"minimum": 1, "maximum": settings.max_molecules}
    _not_null(fields["timeout"])["maximum"] = settings.max_seconds
    if border.checkpoint.atom_types.has_dummies:
        del fields["sizes"], fields["size_range"]
    else:
        size = {"type": "integer", "minimum": sizes.smallest, "maximum": sizes.largest}
        most = min(MOST_SIZES, settings.max_molecules)
        _not_null(fields["sizes"]).update(minItems=1, maxItems=most, items=size)
        schema["not"] = {"required": ["sizes", "size_range"]}
    properties = border.checkpoint.statistics.properties
    if not properties:
        del fields["targets"]
        return
    targets = _not_null(fields["targets"])
    targets.pop("propertyNames", None)
    targets |= {"additionalProperties": False, "properties": {name: _wish(name) for name in properties}}


def _tailor_sampler(fields: JsonSchema, border: Border) -> None:
    config = border.checkpoint.config
    _not_null(fields["sampler.steps"])["maximum"] = config.diffusion.steps
    if config.diffusion.interval:
        _not_null(fields["sampler.interval"])["maximum"] = 2 * config.diffusion.interval
    else:
        fields["sampler.policy"]["enum"] = ["synchronous"]
    if not border.checkpoint.statistics.properties:
        del fields["sampler.guidance"], fields["sampler.guidance_levels"]


def _wish(name: str) -> JsonSchema:
    """A value or two of a property; atoms are counted in whole numbers."""
    number: JsonSchema = {"type": "number", "exclusiveMinimum": -LARGEST, "exclusiveMaximum": LARGEST}
    if counted_element(name) is not None:
        number = {"type": "integer", "minimum": 0, "exclusiveMaximum": LARGEST}
    pair = {"type": "array", "items": number, "minItems": 2, "maxItems": 2, "description": "From low to high."}
    return {"anyOf": [number, pair]}


def _not_null(field: JsonSchema) -> JsonSchema:
    """The schema of a field that may also be null."""
    found: JsonSchema = next(kind for kind in field["anyOf"] if kind.get("type") != "null")
    return found
