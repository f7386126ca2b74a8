"""What `mechanism.py` measures on the way: how much noise the network finds in states, beside partners at their levels.

Legend: M molecules, N padded atoms, F features.
"""

from dataclasses import replace

import torch
from held_out_loss import EDGES
from torch import Tensor

from ead_core.common.noise import Stream, normal
from ead_core.diffusion.corruption import noised
from ead_core.diffusion.process import Process
from ead_core.sampling.sampler import advance, predict
from ead_core.sampling.state import SamplerState, join

PARTS = ("coordinates", "features")


class Thermometer:
    """Sums of ε̂² of visited states, and of partners noised to the same levels.

    Args:
        process: how molecules move; its network is asked.
        clean: [M, N, 3 + F] the partners, by the id of the molecule.

    Attributes:
        sums: [M, 2, bands, 2] by molecule, visited or partner, band of levels, coordinates or features.
    """

    def __init__(self, process: Process, clean: Tensor) -> None:
        self._process, self._clean = process, clean
        self._edges = torch.tensor(EDGES[1:-1], dtype=torch.float64) * process.schedule.steps
        self.sums = torch.zeros(len(clean), 2, len(EDGES) - 1, len(PARTS), dtype=torch.float64)

    def partners(self, state: SamplerState, other: int = 1) -> SamplerState:
        """The partners of molecules at their levels, with noise of the iteration and of a seed that is another's."""
        levels, gauge = self._process.grid[state.grid_index], self._process.gauge(state.held)
        shape = state.z.shape[1], state.z.shape[2]
        noise = normal(state.seeds + other, state.ids, state.iterations, Stream.PRIOR, shape, state.z.dtype)
        clean = self._clean[state.ids, : shape[0]]
        return replace(state, z=noised(clean, levels, state.mask, gauge, noise).z)

    def __call__(self, state: SamplerState, eps: Tensor) -> None:
        """Add a network call, of which `eps` is what it has predicted."""
        levels = self._process.grid[state.grid_index]
        bands = torch.nn.functional.one_hot(torch.bucketize(levels.double(), self._edges, right=True), len(EDGES) - 1)
        bands = bands * (state.mask & (levels > 0))[..., None]
        for kind, found in enumerate((eps, predict(self.partners(state), self._process))):
            squares = self._process.gauge(state.held).project_noise(found, levels, state.mask).double().square()
            parts = torch.stack([squares[..., :3].sum(dim=-1), squares[..., 3:].sum(dim=-1)], dim=-1)
            self.sums[state.ids, kind] += torch.einsum("bnk,bnp->bkp", bands.double(), parts)


def to_the_end(state: SamplerState, process: Process, see: Thermometer) -> SamplerState:
    """The molecules, clean, in the order of their ids; every network call is seen."""
    ended = []
    while len(state.ids):
        eps = predict(state, process)
        see(state, eps)
        state = advance(state, eps, process)
        clean = state.grid_index.amax(dim=1) == 0
        ended.append(state.select(clean))
        state = state.select(~clean)
    whole = join(ended)
    return whole.select(whole.ids.argsort())


def as_real(state: SamplerState, process: Process, see: Thermometer) -> None:
    """See partners at every level of the grid as if they had been visited."""
    top = len(process.grid) - 1
    for made in range(top):
        now = replace(state, grid_index=state.mask.long() * (top - made), iterations=torch.full_like(state.ids, made))
        visited = see.partners(now, other=2)
        see(visited, predict(visited, process))
