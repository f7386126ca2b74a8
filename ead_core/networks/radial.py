"""Distances as Gaussians on a grid: bounded inputs for a network, however far apart two atoms are."""

import torch
from torch import Tensor

RADIAL_BASIS = 16  # functions of a distance in the networks
HALF_WAY = 3.0  # Å, the distance in the middle of the grid


def radial_basis(distance: Tensor, count: int) -> Tensor:
    """R Gaussians of u = d / (d + 3 Å), centred on a uniform grid over [0, 1]: [...] → [..., R], without gradient."""
    offset = _bounded(distance)[..., None] - _centres(distance, count)
    return offset.mul_(count).square_().mul_(-0.5).exp_()


def radial_basis_backward(grad: Tensor, distance: Tensor, basis: Tensor) -> Tensor:
    """Gradient of the distances [...] from that of their basis functions [..., R].

    Args:
        grad: of the basis functions.
        distance: d.
        basis: `radial_basis(distance, R)`.
    """
    count = basis.shape[-1]
    offset = _centres(distance, count) - _bounded(distance)[..., None]
    return offset.mul_(basis).mul_(grad).sum(dim=-1) * (count**2 * HALF_WAY / (distance + HALF_WAY) ** 2)


def _bounded(distance: Tensor) -> Tensor:
    return distance / (distance + HALF_WAY)


def _centres(like: Tensor, count: int) -> Tensor:
    return torch.linspace(0, 1, count, device=like.device, dtype=like.dtype)
