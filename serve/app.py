"""The HTTP interface and the application, for `python -m serve`, `serve run` and `serve deploy`."""

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from ray import serve
from ray.exceptions import RayActorError
from ray.serve import Application
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from ead_core.data.records import PASSPORT
from ead_core.sampling.order import MatchOrder, Order
from ead_core.sampling.passport import Passport
from ead_core.sampling.requests import Request as Attempts
from serve import jobs_routes, own_routes, page_routes
from serve.answer_schema import Health, Mistakes, ModelDescription, ModelList, Molecules, Problem
from serve.answers import MEDIA_TYPES, as_json, as_text, diverged
from serve.background import AT_ONCE, Background
from serve.document import tailored
from serve.errands import Made, Refused
from serve.fields import Format
from serve.jobs_desk import Desk
from serve.limits import Border
from serve.model import Answer, Sampling
from serve.models import describe, models
from serve.problems import explain_problems
from serve.reception import LARGEST_BODY, READ_SECONDS, Reception
from serve.replies import AnswerError, busy, failed, problem
from serve.schema import MoleculesRequest
from serve.settings import ServeSettings, command_line_errors

logger = logging.getLogger("ray.serve")

MANY = 2000  # far more than the model and the reception accept, so that health checks and refusals never queue
FIRST_PAUSE = 5.0  # seconds to wait when busy, until the first answer shows how long one takes
UNAVAILABLE = "The model is not available."
LATE = "The molecules were not finished after {:g} s; ask for fewer, or for fewer network calls."
ALL_DIVERGED = "The network diverged for every molecule with these settings; its positions are no numbers."

GENERATED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The molecules in the order of their ids, as JSON or in the text format asked for. In SMILES "
        "text, a line `SMILES<TAB>id` per molecule, the SMILES is empty where `smiles` is null in JSON.",
        "content": {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()},
        "headers": {
            "X-Batch-Requests": {
                "description": "Most requests that shared a network call with it, this one included.",
                "schema": {"type": "integer"},
            },
            "X-Ledger": {
                "description": "With `accept` or `match`: what became of all attempts, as `ledger` of the JSON "
                "answer; in an SDF and an XYZ also in the first record.",
                "schema": {"type": "string", "contentMediaType": "application/json"},
            },
            "X-Diverged": {
                "description": "Molecules that are left out because the network has diverged; usually 0.",
                "schema": {"type": "integer"},
            },
        },
    },
    408: {"model": Problem, "description": f"The request did not arrive within {READ_SECONDS:g} seconds."},
    413: {"model": Problem, "description": f"The body has more than {LARGEST_BODY:,} bytes."},
    422: {
        "model": Mistakes,
        "description": "The body is no request, a value is outside its range, or settings do not fit each other, the "
        "model or the limits of the service (`GET /v1/model`); the first twenty mistakes, each with its place.",
    },
    500: {"model": Problem, "description": "The server failed, and its log says why; or all molecules diverged."},
    503: {
        "model": Problem,
        "description": "Too many requests are waiting, or the model is not available.",
        "headers": {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}},
    },
    504: {"model": Problem, "description": "The molecules were not finished within `timeout`."},
}

api = FastAPI(
    title="EAD: 3D molecules",
    description="Molecules from a diffusion model in which every atom carries its own noise level. Requests share "
    "network calls, and each gets the same molecules as if it were alone, to rounding.",
    version="1",
    openapi_url=None,  # the document depends on the model, see below
)
api.add_middleware(Reception)
api.include_router(jobs_routes.router)
api.include_router(own_routes.router)
api.include_router(page_routes.router)
explain_problems(api)


# Above the class: Ray Serve pickles its methods as soon as it is defined, with the names known by then.
def running_replicas(model: DeploymentHandle[Any]) -> int:
    """Replicas that are up; asking the model itself would have to wait in its queue."""
    deployment = serve.status().applications[model.app_name].deployments[model.deployment_name]
    return sum(count for state, count in deployment.replica_states.items() if state == "RUNNING")


@serve.ingress(api)
class Api:
    """Checks what comes in, asks the model, and puts the answer into the format wanted.

    Args:
        model: handle of the `Sampling` deployment.
        background: handle of the `Background` deployment.
        settings: of the service, with the checkpoint located.

    Attributes:
        desk: takes jobs in.
    """

    def __init__(
        self, model: DeploymentHandle[Any], background: DeploymentHandle[Any], settings: ServeSettings
    ) -> None:
        self._model, self._background = model, background
        self._settings = settings
        self._border = Border(settings.load(), settings)
        self.desk = Desk(self._border.checkpoint, settings)
        self._description, self._models = describe(self._border), models(self._border)
        self._fingerprint = self._border.checkpoint.fingerprint()
        self._device = "cuda" if settings.num_gpus else "cpu"
        self._document = tailored(api.openapi(), self._border, self.desk.planner.border)
        self._pause = FIRST_PAUSE

    @api.post("/v1/molecules", response_model=Molecules, responses=GENERATED, tags=["molecules"])
    async def molecules(self, wanted: MoleculesRequest) -> Response:
        """Generate molecules."""
        request, order = self._border.admit(wanted), self._border.order(wanted)
        patience = wanted.timeout or self._settings.max_seconds
        start = time.monotonic()
        made: Answer | None = await self._waited(self._ask(request, order), patience)
        if made is None:
            return failed()
        self._pause = time.monotonic() - start
        matched = isinstance(order, MatchOrder)
        passport = Passport.of(self._description.name, self._fingerprint, request, self._device, matched=matched)
        return await asyncio.to_thread(self._respond, made, passport, wanted.format)

    async def apart(self, errand: Callable[..., Any], *given: Any, gpus: float = 0) -> Made | Refused:
        """Have an errand done in a process of its own (AnswerError: the service is busy, or too late)."""
        errand_done = self._background.apart.remote(errand, *given, gpus=gpus)
        found: Made | Refused = await self._waited(errand_done, self._settings.max_seconds)
        return found

    async def _waited(self, answer: Any, patience: float) -> Any:
        """What another deployment answers within so many seconds (AnswerError: nothing)."""
        try:
            return await asyncio.wait_for(answer, patience)
        except BackPressureError:
            raise AnswerError(busy("Too many requests are waiting.", math.ceil(self._pause))) from None
        except (DeploymentUnavailableError, RayActorError):
            raise AnswerError(busy(UNAVAILABLE, math.ceil(self._pause))) from None
        except TimeoutError:
            answer.cancel()
            raise AnswerError(problem(504, LATE.format(patience))) from None

    def _ask(self, request: Attempts, order: Order | MatchOrder | None) -> Any:
        """The answer of the model, once it comes."""
        if order is None:
            return self._model.generate.remote(request)
        asked = self._model.match if isinstance(order, MatchOrder) else self._model.deliver
        return asked.remote(request, order)

    def _respond(self, made: Answer, passport: Passport, kind: Format) -> Response:
        """The answer with the molecules that have not diverged."""
        lost = diverged(made.molecules)
        if lost.all() and len(lost):
            return problem(500, ALL_DIVERGED)
        molecules, missing = made.molecules.select(~lost), made.molecules.properties["id"][lost].tolist()
        if missing:
            logger.warning("%d of %d molecules diverged.", len(missing), len(lost))
        headers = {"X-Batch-Requests": str(made.companions), "X-Diverged": str(len(missing))}
        about = {PASSPORT: passport.to_text()}
        if made.ledger:
            about["ledger"] = headers["X-Ledger"] = json.dumps(made.ledger.to_json())
        if kind == "json":
            body = as_json(molecules, self._description.name, missing, made.ledger, made.unmet, passport)
            media_type, content = "application/json", body.model_dump_json(by_alias=True).encode()
        else:
            media_type, content = MEDIA_TYPES[kind], as_text(molecules, kind, about)
        return Response(content, media_type=media_type, headers=headers)

    @api.get("/v1/model", tags=["model"])
    async def model(self) -> ModelDescription:
        """The model: elements, sizes, measured quality, default sampler settings, and the limits of the service."""
        return self._description

    @api.get("/v1/models", tags=["model"])
    async def models(self) -> ModelList:
        """The models of the service."""
        return self._models

    @api.get("/openapi.json", include_in_schema=False)
    async def document(self) -> JSONResponse:
        """What this service accepts and answers."""
        return JSONResponse(self._document)

    @api.get("/v1/health/live", tags=["health"])
    async def live(self) -> Health:
        """Whether this process answers."""
        return Health(status="live")

    @api.get("/v1/health/ready", response_model=Health, responses={503: {"model": Problem}}, tags=["health"])
    async def ready(self) -> Health | Response:
        """Whether a replica of the model is up; it may still be busy."""
        if await asyncio.to_thread(running_replicas, self._model):
            return Health(status="ready")
        return busy("The model is not ready.", math.ceil(FIRST_PAUSE))


def build(args: ServeSettings) -> Application:
    """The application for `serve run` and `serve deploy`.

    Raises:
        ClickException: no such checkpoint, or one that cannot be served within the limits.
    """
    with command_line_errors():
        return application(args)


def application(wanted: ServeSettings) -> Application:
    """The application, whose model is known to be there and within the limits.

    Raises:
        EADError: no such checkpoint, or one that cannot be served within the limits.
    """
    settings = wanted.located()
    Desk(settings.load(), settings)  # fails here rather than in every replica, as what follows
    settings.job_store()
    return compose(Sampling, settings)


def compose(sampling: type[Sampling], settings: ServeSettings) -> Application:
    """The interface in front of replicas of `sampling`."""
    model = serve.deployment(
        name="Model",
        num_replicas=settings.replicas,
        max_ongoing_requests=2 * settings.batch_molecules,  # as many may wait in it as run
        max_queued_requests=settings.max_waiting,
        ray_actor_options={"num_cpus": settings.threads, "num_gpus": settings.num_gpus},
        logging_config={"enable_access_log": False},  # the interface logs every request already
    )(sampling)
    interface = serve.deployment(
        name="Api",
        num_replicas=settings.interfaces,
        max_ongoing_requests=MANY,
        ray_actor_options={"num_cpus": 0},
    )(Api)
    background = serve.deployment(
        name="Background",
        max_ongoing_requests=2 * AT_ONCE,
        max_queued_requests=settings.max_waiting,
        ray_actor_options={"num_cpus": 0},
        logging_config={"enable_access_log": False},
    )(Background)
    return interface.bind(model.bind(settings), background.bind(settings), settings)
