"""The routes for a client's own molecules: predicted and measured as those of the model are."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError

from ead_core.evaluation.parts import DEFAULT_PARTS, PARTS
from serve.answer_schema import Mistakes, Problem
from serve.answers import MEDIA_TYPES
from serve.errands import Refused
from serve.here import Here
from serve.own_molecules import TOO_MANY, measured, predicted
from serve.own_schema import Evaluation, OwnMolecules, Predictions, Predictor, Reference
from serve.reception import LARGEST_FILE
from serve.refusals import RefusalError
from serve.replies import failed, problem

router = APIRouter(tags=["your own molecules"])
KINDS = {media: kind for kind, media in MEDIA_TYPES.items()}
ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "No molecule of the body can be read, or an element is not known."},
    413: {"model": Problem, "description": f"More than {LARGEST_FILE:,} bytes, or too many molecules."},
    422: {"model": Mistakes, "description": "The body is not what is described here."},
    503: {"model": Problem, "description": "The service is not available; try again after `Retry-After` seconds."},
    504: {"model": Problem, "description": "It was not finished in time."},
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": OwnMolecules.model_json_schema()},
            **{media: {"schema": {"type": "string"}} for media in KINDS},
        },
    }
}


async def own_molecules(request: Request) -> OwnMolecules:
    """The body: a file as it is, under its media type, or JSON with its content."""
    kind = KINDS.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())
    content = await request.body()
    try:
        if kind is None:
            return OwnMolecules.model_validate_json(content)
        return OwnMolecules.model_validate({"molecules": content.decode(), "format": kind})
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error
    except UnicodeDecodeError as error:
        raise RefusalError(("body",), "must be text in UTF-8.") from error


Own = Annotated[OwnMolecules, Depends(own_molecules)]


@router.post("/v1/predict", response_model=Predictions, responses=ANSWERS, openapi_extra=BODY)
async def predict(
    own: Own,
    interface: Here,
    predictor: Annotated[Predictor, Query(description="Who predicts.")] = "qm9-judge",
) -> Predictions | Response:
    """Predict properties of your own molecules, each with its 95 % interval."""
    made = await interface.apart(predicted, own.molecules, own.format, predictor)
    if isinstance(made, Refused):
        return _refused(made)
    found: Predictions = made.value
    return found.model_copy(update={"notes": made.notes})


@router.post("/v1/evaluate", response_model=Evaluation, responses=ANSWERS, openapi_extra=BODY)
async def evaluate(
    own: Own,
    interface: Here,
    reference: Annotated[Reference | None, Query(description="Real molecules to compare with.")] = None,
    parts: Annotated[
        str | None,
        Query(description=f"Of {', '.join(PARTS)}, joined by commas; left out, {', '.join(DEFAULT_PARTS)}."),
    ] = None,
) -> Evaluation | Response:
    """Measure your own molecules by both protocols: validity, plausibility, geometry, chemistry."""
    made = await interface.apart(measured, own.molecules, own.format, _parts(parts), reference)
    return _refused(made) if isinstance(made, Refused) else Evaluation(**made.value, notes=made.notes)


def _parts(text: str | None) -> tuple[str, ...] | None:
    names = [name.strip() for name in text.split(",")] if text is not None else None
    for name in names or ():
        if name not in PARTS:
            raise RefusalError(("query", "parts"), f"'{name[:60]}' is none of {', '.join(PARTS)}.")
    return None if names is None else tuple(dict.fromkeys(names))


def _refused(refused: Refused) -> Response:
    if refused.sentence is None:
        return failed()
    return problem(413 if refused.sentence.startswith(TOO_MANY) else 400, refused.sentence)
