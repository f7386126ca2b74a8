"""Random pauses that take as many network calls as another schedule, with the clamp and the patience at work.

Who pauses by chance does so whatever the molecule is like, so that the calls of a run are known without the network.

Legend: B molecules, N padded atoms.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ead_platform.sweep.study import Campaign
from scipy.optimize import brentq

from ead_core.data.tensors import size_mask
from ead_core.diffusion.policy import PolicyState

SIMULATED = 256  # molecules; the mean of their calls is good to a call
LOWEST = 1e-3  # of all rates together: practically nobody advances before patience ends
RATE = "sampler.advance_rate"


def matched_rates(campaign: Campaign, settings: Mapping[str, Any], measured: Mapping[str, Any]) -> list[float]:
    """The rates P(advance) at grid steps 1, 2, … with which random pauses take the calls of a measured row.

    Whole molecules have the same rate everywhere. Atoms have those of the row times a factor: what the row was forced
    to by the clamp is in its rates, and the clamp will force these, too.

    Args:
        campaign: the molecules.
        settings: of the random pauses, without the rates.
        measured: `rates` and `nfe_per_molecule` of the row.
    """
    profile = [1.0] if settings.get("sampler.together") else measured["rates"]
    wanted: float = measured["nfe_per_molecule"]

    def excess(factor: float) -> float:
        return random_calls(campaign, {**settings, RATE: _scaled(profile, factor)}) - wanted

    highest = 1 / min(profile)
    if excess(LOWEST) <= 0:
        return _scaled(profile, LOWEST)
    if excess(highest) >= 0:
        return _scaled(profile, highest)
    return _scaled(profile, brentq(excess, LOWEST, highest, xtol=1e-4))


def _scaled(profile: Sequence[float], factor: float) -> list[float]:
    return [round(min(max(factor * rate, 1e-4), 1.0), 4) for rate in profile]


def random_calls(campaign: Campaign, settings: Mapping[str, Any]) -> float:
    """Mean network calls per molecule of a run with the policy `random`, the decoding included."""
    process = campaign.process(settings)
    top, start = len(process.grid) - 1, process.policy.branch_index(len(process.grid) - 1)
    mask, ids = size_mask(campaign.sizes[:SIMULATED]), campaign.ids[:SIMULATED]
    grid_index, pauses = mask.long() * start, torch.zeros_like(mask, dtype=torch.long)
    iterations, none = torch.full_like(ids, top - start), torch.zeros(*mask.shape, 1)
    while bool(grid_index.any()):
        seeds = torch.full_like(ids, campaign.seed)
        now = PolicyState(seeds, ids, grid_index, mask, none, pauses, pauses, iterations, process.grid)
        advancing = process.policy.advance(now)
        iterations = iterations + grid_index.any(dim=1).long()
        pauses = (pauses + 1) * (mask & (grid_index > 0) & ~advancing)
        grid_index = grid_index - advancing.long()
    return float(iterations.double().mean()) + 1
