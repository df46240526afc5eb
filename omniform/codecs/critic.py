"""Who tells reconstructions from data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from omniform.codecs.alignment import balance
from omniform.core.errors import BadArgument
from omniform.core.process import Losses

_MOST = 1e4
"""The largest ratio of gradients (the official code)."""


@final
class PatchCritic(nn.Module):
    """A convolutional critic that judges patch by patch (Isola et al. 2017, arXiv:1611.07004), a player of its own.

    Hinge loss as in VQGAN (arXiv:2012.09841). weight: of its opinion in the codec's loss; balanced: times the ratio of gradients at the decoder's last layer
    (equation 7, at most 1e4 as in the official code). start: batches of training before which neither side is moved by the other. r1: of the penalty r1/2
    |grad|^2 on data (arXiv:1801.04406, equation 9); 0: none.
    """

    player = "critic"

    def __init__(self, colours: int, width: int = 32, depth: int = 2, weight: float = 0.1, r1: float = 0.0, balanced: bool = False, start: int = 0):
        super().__init__()
        if depth < 1 or weight < 0 or r1 < 0 or start < 0:
            raise BadArgument(f"expected depth of 1 or more, weight, r1 and start of 0 or more; found {depth}, {weight}, {r1}, {start}")
        self.weight, self.r1, self.balanced, self.start = weight, r1, balanced, start
        self.register_buffer("heard", torch.zeros((), dtype=torch.long))  # batches of training so far
        layers: list[nn.Module] = []
        for i in range(depth):
            into = width << (i - 1) if i else colours
            layers += [nn.Conv2d(into, width << i, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Conv2d(width << (depth - 1), 1, 3, padding=1))

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, h, w): above 0 is data."""
        return self.net(pixels)

    @property
    def playing(self) -> Tensor:
        """1 from the start on, else 0."""
        return (self.heard >= self.start).float()

    def opinion(self, fake: Tensor, reconstruction: Tensor | None = None, layer: Tensor | None = None) -> Mapping[str, Tensor]:
        """What a reconstruction costs the codec, as a sum over its numbers. The critic's parameters get no gradient.

        reconstruction, layer: the sum and the weight whose gradient a balanced opinion is brought to.
        """
        frozen = {name: p.detach() for name, p in self.named_parameters()}
        loss = -functional_call(self, frozen, (fake,)).mean() * fake.numel()
        if self.balanced and reconstruction is not None and layer is not None:
            loss = balance(reconstruction, loss, layer, _MOST) * loss
        return {"adversarial": self.weight * self.playing * loss}

    def loss(self, real: Tensor, fake: Tensor) -> Losses:
        """What the critic itself pays; nothing flows into the fake."""
        playing = self.playing
        if self.training and torch.is_grad_enabled():
            self.heard += 1
        sloped = self.r1 > 0 and torch.is_grad_enabled()
        real = real.detach().requires_grad_(sloped)
        verdict = self(real)
        parts = {"real": F.relu(1 - verdict).mean() * len(real), "fake": F.relu(1 + self(fake.detach())).mean() * len(real)}
        if sloped:
            (slope,) = torch.autograd.grad(verdict.mean((1, 2, 3)).sum(), real, create_graph=True)
            parts["r1"] = self.r1 / 2 * slope.square().sum()
        return Losses({name: playing * x for name, x in parts.items()}, torch.tensor(float(len(real)), device=real.device), player="critic")
