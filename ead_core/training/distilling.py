"""The objective `distil`: to make in a few network calls what a teacher makes in many (distribution matching).

A student, which begins as its teacher, makes molecules with the sampler of the recipe. What it predicts in each of its
calls is noised, and pushed to where the teacher finds it likelier than it is among the student's own: along the
difference between the scores of the two laws, the gradient of the divergence between them (DMD2, Yin et al. 2024,
arXiv 2405.14867; for molecules FlashMol, arXiv 2605.07020). A critic learns the score of the student's molecules
meanwhile. At which levels each call is judged, and why: docs/decisions/033-distillation.md.

Legend: B molecules, N padded atoms, F features, K calls, S = K B states.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.common.noise import Stream, normal, uniforms
from ead_core.diffusion.context import hide
from ead_core.diffusion.corruption import Corrupted, noised
from ead_core.diffusion.loss import matching_gradient, noise_loss
from ead_core.diffusion.parametrisation import predicts_noise
from ead_core.diffusion.process import Process
from ead_core.diffusion.temperature import ScoreRescaling
from ead_core.errors import ConfigError
from ead_core.networks.denoiser import Denoiser
from ead_core.networks.inputs import DenoiserFunction, DenoiserInput
from ead_core.networks.precision import weight_type
from ead_core.sampling.build import build_process
from ead_core.sampling.network_calls import predict_noise
from ead_core.sampling.sampler import advance
from ead_core.sampling.state import SamplerState, initial_state, join
from ead_core.training.critic import Critic
from ead_core.training.denoising import Denoising
from ead_core.training.noised import Noised
from ead_core.training.objective import TrainingStep
from ead_core.training.parallel import Workers

WIDTH = 0.2  # of what the teacher's temperature acts on, as by default in sampling
SEEDS = 2**62  # every run of the student, and every noising of what it predicts, draws one


@dataclass(frozen=True)
class Distilling(Denoising):
    """The objective of a generator for few calls; its examples, and their loss as an anchor, are those of `Denoising`.

    What changes of the critic is in `memory`.

    Raises:
        ConfigError: the sampler of the recipe is not one that a student can be trained for; a trained one takes any.
    """

    def __post_init__(self) -> None:
        sampler = self.config.sampler
        if (sampler.policy, sampler.solver) != ("synchronous", "rtk_renoise") or sampler.steps is None:
            raise ConfigError(
                "training.objective=distil needs sampler.policy=synchronous, sampler.solver=rtk_renoise and "
                "sampler.steps, the calls that the model is trained for."
            )

    def losses(self, step: TrainingStep) -> tuple[Tensor, Tensor]:
        """The losses of a training step (see `Objective`), after which the critic has learnt from its molecules."""
        anchor, levels = super().losses(step)
        process = self._process(step)
        states, predicted = self._run(step, process)
        start = predicted.detach()
        made = self._plain_gauge.centred(process.moves.predict(states.z, start, states.grid_index), states.mask)
        gradient = self._gradient(process, states, made, self._judged(step, process, states, made))
        target = Corrupted(states.z, start + gradient, process.grid[states.grid_index])
        matching = noise_loss(predicted, target, states.mask, torch.ones_like(states.z[..., 0]))
        for _ in range(self.config.training.critic_updates):
            self._critic.learn(self._judged(step, process, states, made), len(step.batch.mask))
        return matching.view(-1, len(anchor)).mean(dim=0) + self.config.training.anchor * anchor, levels

    def _process(self, step: TrainingStep) -> Process:
        """How the student makes molecules, each of which goes straight down."""
        student = Checkpoint("student", self.config, self.statistics, cast(Denoiser, step.network))
        process = build_process(student, self.config.sampler, step.batch.mask.shape[1])
        denoiser = predicts_noise(step.model, self.config.diffusion.parametrisation, self._schedule)
        return replace(process, denoiser=denoiser, restarts=None, corrector=None)

    def _run(self, step: TrainingStep, process: Process) -> tuple[SamplerState, Tensor]:
        """The student's states [S] before its calls, and ε̂ there [S, N, 3 + F], of which no other call has a gradient.

        The molecules are of the sizes of those of the batch, and asked for what is known of them.
        """
        batch, rows = step.batch, step.rows.to(step.batch.mask.device)
        context = None if batch.context is None else hide(batch.context, self.config.conditioning, step.generator)[rows]
        dtype, channels = weight_type(self.config.training.precision), 3 + self.atom_types.num_features
        state = initial_state(self._seeds(step, rows), rows, batch.mask[rows], channels, process, dtype, context)
        states, predicted = [], []
        for _ in range(len(process.grid) - 1):
            states.append(state)
            predicted.append(predict_noise(process.denoiser, [(state, process)])[0])
            state = advance(state, predicted[-1].detach(), process)
        whole = join(states)
        levels = process.grid[whole.grid_index]
        return whole, self._plain_gauge.project_noise(torch.cat(predicted), levels, whole.mask)

    def _judged(self, step: TrainingStep, process: Process, states: SamplerState, made: Tensor) -> Noised:
        """What the student has predicted [S, N, 3 + F], noised to levels between this call and the next."""
        seeds, mask, keys = self._seeds(step, states.ids), states.mask, (states.ids, states.iterations)
        top = states.grid_index.amax(dim=1, keepdim=True)
        low, high = process.grid[top - 1], process.grid[top]
        share = uniforms(seeds, *keys, Stream.POLICY, 1, torch.float64)
        levels = (low + (share * (high - low)).long()).expand_as(mask)
        noise = normal(seeds, *keys, Stream.RENOISE, (made.shape[1], made.shape[2]), made.dtype)
        corrupted = noised(made, levels, mask, self._plain_gauge, noise)
        draws = uniforms(seeds, *keys, Stream.NETWORK, process.num_draws, made.dtype) if process.num_draws else None
        context = states.context if states.context.shape[1] else None
        inputs = DenoiserInput(corrupted.z, levels, mask, context, draws)
        return Noised(corrupted, inputs, mask, self._plain_gauge, self._critic.denoiser)

    @torch.no_grad()
    def _gradient(self, process: Process, states: SamplerState, made: Tensor, judged: Noised) -> Tensor:
        """Of the divergence between the laws of student and cooled teacher, by what has been made [S, N, 3 + F]."""
        cooling = ScoreRescaling(self.config.training.teacher_temperature, WIDTH)
        factors = cooling.factors(self._schedule, process.grid)[states.grid_index][..., None].to(made.dtype)
        taught = replace(judged, denoiser=self._teacher)
        student = judged.clean(judged.predict(judged.inputs))
        teacher = judged.clean(factors * taught.predict(judged.inputs))
        return matching_gradient(made, student, teacher, judged.learned)

    def _seeds(self, step: TrainingStep, ids: Tensor) -> Tensor:
        """A new seed of this step, the same for all molecules [S], whose ids tell them apart."""
        return torch.randint(SEEDS, (1,), generator=step.generator, device=step.batch.mask.device).expand(len(ids))

    @cached_property
    def _critic(self) -> Critic:
        return Critic(cast(Denoiser, self.at_start()), self.config, self.memory)

    @cached_property
    def _teacher(self) -> DenoiserFunction:
        teacher = load_checkpoint(str(self.config.training.initial))
        teacher.denoiser.to(Workers.joined().device, weight_type(self.config.training.precision))
        return teacher.noise_predictor(self.config.training.precision)
