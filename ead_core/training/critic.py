"""The critic of a distillation: a denoiser that follows what the student makes, so that its score is known."""

from torch import Tensor

from ead_core.config import Config
from ead_core.diffusion.loss import noise_loss
from ead_core.diffusion.parametrisation import level_weights, predicts_noise
from ead_core.diffusion.schedule import build_schedule
from ead_core.networks.denoiser import Denoiser
from ead_core.networks.precision import weight_type, with_precision
from ead_core.training.noised import Noised
from ead_core.training.optimizer import Optimizer
from ead_core.training.parallel import Workers

WEIGHTS, OPTIMIZER = "critic.", "critic_optimizer."  # prefixes in the memory


class Critic:
    """A denoiser with an optimiser of its own, `training.critic_rate` times as fast as the student's at its peak.

    Args:
        network: with the weights to begin with.
        config: the recipe.
        memory: of the objective. What it holds of a critic is continued; from then on it holds this one.

    Attributes:
        denoiser: gives ε̂.
    """

    def __init__(self, network: Denoiser, config: Config, memory: dict[str, Tensor]) -> None:
        self._training, self._parametrisation = config.training, config.diffusion.parametrisation
        self._workers, self._network, self._memory = Workers.joined(), network, memory
        network.to(self._workers.device, weight_type(config.training.precision))
        model = with_precision(self._workers.wrap(network), config.training.precision)
        self._schedule = build_schedule(config.diffusion)
        self.denoiser = predicts_noise(model, self._parametrisation, self._schedule)
        self._optimizer = Optimizer(network, config.training, self._workers)
        if weights := _part(memory, WEIGHTS):
            network.load_state_dict(weights)
            self._optimizer.load(_part(memory, OPTIMIZER))
        self._keep()

    def learn(self, noised: Noised, batch_size: int) -> None:
        """One step to the noise of what the student has made.

        Args:
            noised: this worker's part of it.
            batch_size: molecules of all workers.
        """
        weights = level_weights(self._parametrisation, noised.corrupted.levels, self._schedule)
        losses = noise_loss(noised.predict(noised.inputs), noised.corrupted, noised.learned, weights)
        rows, factor = self._workers.share(batch_size)
        calls = len(losses) // len(rows)
        self._optimizer.minimise(factor / calls * losses.sum(), self._training.critic_rate)
        self._keep()

    def _keep(self) -> None:
        """Let the memory hold the tensors of this critic themselves, which change with every step."""
        self._memory |= {WEIGHTS + name: parameter.detach() for name, parameter in self._network.named_parameters()}
        self._memory |= {OPTIMIZER + name: tensor for name, tensor in self._optimizer.tensors()}


def _part(memory: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in memory.items() if name.startswith(prefix)}
