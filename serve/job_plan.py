"""From what a client asks of a job to a generation in shards."""

from ead_platform.generation.estimate import estimate
from ead_platform.generation.plan import GenerationPlan

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.data.priors import SizeRange
from ead_core.errors import ConfigError
from serve.jobs_schema import Estimation
from serve.limits import Border
from serve.refusals import RefusalError, place_of
from serve.schema import JobRequest
from serve.settings import ServeSettings

PROBE = 32  # attempts that an estimate rests on
THREADS = 1  # of a process; a shard is the same to the byte only if their number is


class Planner:
    """Admits jobs within the limits of the service, as the border does requests.

    Args:
        checkpoint: the model.
        settings: of the service.

    Raises:
        ConfigError: as of `Border`.
    """

    def __init__(self, checkpoint: Checkpoint, settings: ServeSettings) -> None:
        self._checkpoint, self._settings = checkpoint, settings
        self.border = Border(checkpoint, settings.of_jobs())

    def plan(self, wanted: JobRequest) -> GenerationPlan:
        """How the molecules are made (RefusalError: a value outside its range, or more than a job may cost)."""
        request = self.border.admit(wanted)
        plan = GenerationPlan(
            self._checkpoint,
            request.num,
            self._settings.job_shard,
            request.seed,
            request.sizes if request.sizes is None or isinstance(request.sizes, SizeRange) else tuple(request.sizes),
            request.sampler,
            THREADS,
            self._settings.job_gpus,
            request.targets,
            self.border.order(wanted),
        )
        try:
            plan.check()
        except ConfigError as error:
            raise RefusalError(place_of(str(error)), str(error)) from error
        return plan


def estimated(settings: ServeSettings, body: str) -> Estimation:
    """What the job of a body will cost, measured here; it takes as long as some molecules do."""
    plan = Planner(settings.load(), settings).plan(JobRequest.model_validate_json(body))
    return Estimation.of(estimate(plan, PROBE), settings.job_actors)
