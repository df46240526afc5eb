"""Who tells reconstructions from data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from omniform.core.errors import BadArgument
from omniform.core.process import Losses


@final
class PatchCritic(nn.Module):
    """A convolutional critic that judges patch by patch (Isola et al. 2017, arXiv:1611.07004), a player of its own.

    Hinge loss as in VQGAN (arXiv:2012.09841). weight: of its opinion in the codec's loss. r1: of the penalty r1/2
    |grad|^2 on data (arXiv:1801.04406, equation 9); 0: none.
    """

    player = "critic"

    def __init__(self, colours: int, width: int = 32, depth: int = 2, weight: float = 0.1, r1: float = 0.0):
        super().__init__()
        if depth < 1 or weight < 0 or r1 < 0:
            raise BadArgument(f"expected depth of 1 or more, weight and r1 of 0 or more; found {depth}, {weight}, {r1}")
        self.weight, self.r1 = weight, r1
        layers: list[nn.Module] = []
        for i in range(depth):
            into = width << (i - 1) if i else colours
            layers += [nn.Conv2d(into, width << i, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Conv2d(width << (depth - 1), 1, 3, padding=1))

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, h, w): above 0 is data."""
        return self.net(pixels)

    def opinion(self, fake: Tensor) -> Mapping[str, Tensor]:
        """What a reconstruction costs the codec, as a sum over its numbers. The critic's parameters get no gradient."""
        frozen = {name: p.detach() for name, p in self.named_parameters()}
        return {"adversarial": -self.weight * functional_call(self, frozen, (fake,)).mean() * fake.numel()}

    def loss(self, real: Tensor, fake: Tensor) -> Losses:
        """What the critic itself pays; nothing flows into the fake."""
        sloped = self.r1 > 0 and torch.is_grad_enabled()
        real = real.detach().requires_grad_(sloped)
        verdict = self(real)
        parts = {"real": F.relu(1 - verdict).mean() * len(real), "fake": F.relu(1 + self(fake.detach())).mean() * len(real)}
        if sloped:
            (slope,) = torch.autograd.grad(verdict.mean((1, 2, 3)).sum(), real, create_graph=True)
            parts["r1"] = self.r1 / 2 * slope.square().sum()
        return Losses(parts, torch.tensor(float(len(real)), device=real.device), player="critic")
