"""Finished molecules on the way down once more: noised to a level, at the top of a grid that begins there.

Legend: B molecules, N padded atoms.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.common.noise import Stream, normal
from ead_core.config import SamplerConfig
from ead_core.data.tensors import MoleculeBatch, about
from ead_core.diffusion.process import Process
from ead_core.errors import ConfigError
from ead_core.sampling.build import build_process
from ead_core.sampling.state import SamplerState, initial_state


def process_below(
    checkpoint: Checkpoint,
    config: SamplerConfig,
    level: int,
    largest: int,
    pinned: bool = False,
    formula: bool = False,
) -> Process:
    """The sampler on the part of its grid below `level`, which becomes the top; no higher than its own top.

    Args:
        checkpoint: the model.
        config: settings of the sampler.
        level: 1 … T.
        largest: atoms of the biggest molecule.
        pinned: whether molecules have held atoms.
        formula: whether molecules are to have a composition.

    Raises:
        ConfigError: settings that do not fit each other or the checkpoint, or one that decides sizes by itself.
    """
    if checkpoint.atom_types.has_dummies:
        raise ConfigError(f"{checkpoint.name} decides sizes by itself, so that molecules cannot enter it with theirs.")
    process = build_process(checkpoint, config, largest, pinned, formula=formula)
    if process.solver.stays:
        return replace(process, grid=process.grid.clamp_max(level), start=None)
    top = process.grid[-1:].clamp_max(level)
    return replace(process, grid=torch.cat([process.grid[process.grid < top], top]), start=None)


def noised(
    checkpoint: Checkpoint,
    batch: MoleculeBatch,
    process: Process,
    seeds: Tensor,
    ids: Tensor,
    *,
    held: Tensor | None = None,
    context: Tensor | None = None,
) -> SamplerState:
    """Molecules at the top of the grid, their held atoms clean; at T their trace of 0.3 % is left out, as in a sample.

    Args:
        checkpoint: the model.
        batch: the molecules.
        process: from `process_below`, pinned if atoms are held.
        seeds, ids: [B] key of the noise.
        held: [B, N] atoms that stay, at least one per molecule, whose centroid becomes the origin; None for none.
        context: [B, 2P] what the network is told of each molecule; None leaves everything open.
    """
    like = next(checkpoint.denoiser.parameters())
    batch, level = batch.to(like.device), process.grid[-1]
    seeds, ids = seeds.to(like.device), ids.to(like.device)
    context = torch.zeros(len(ids), checkpoint.denoiser.context) if context is None else context
    clean = batch.state(checkpoint.atom_types).to(like.dtype)
    state = initial_state(seeds, ids, batch.mask, clean.shape[-1], process, like.dtype, context.to(like.device))
    nothing_left = bool(level == checkpoint.config.diffusion.steps)
    if held is None and nothing_left:
        return state
    if held is not None:
        held = held.to(like.device)
        state = replace(state, held=held, grid_index=state.grid_index * ~held)
        clean = about(clean, held) * batch.mask[..., None]
    gauge = process.gauge(state.held)
    shape = clean.shape[1], clean.shape[2]
    noise = gauge.noise(normal(seeds, ids, 0, Stream.PRIOR, shape, like.dtype), batch.mask)
    alpha, sigma = float(checkpoint.schedule.alpha(level)), float(checkpoint.schedule.sigma(level))
    z = noise if nothing_left else alpha * clean + sigma * noise
    z = torch.where(state.held[..., None], clean, z)
    return replace(state, z=gauge.project_state(z, process.grid[state.grid_index], state.mask))
