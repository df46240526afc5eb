"""The convolutional network of motion codecs along time, as published."""

from __future__ import annotations

from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from omniform.core.errors import BadArgument


@final
class Wider(nn.Module):
    """x + conv1(relu(conv3(relu(x)))), three places `reach` apart."""

    def __init__(self, width: int, reach: int):
        super().__init__()
        self.wide, self.back = nn.Conv1d(width, width, 3, padding=reach, dilation=reach), nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.back(F.relu(self.wide(F.relu(x))))


@final
class AlongTime:
    """Encoder and decoder of T2M-GPT (Zhang et al. 2023, arXiv:2301.06052, section 3.1 and figure 2) and MMM, whose official codes agree.

    Channels along time, halved `halvings` times; depth: residual blocks at each length, the widest reach growth^(depth - 1) first on both ways (the code's
    default; Jukebox, arXiv:2005.00341, has it last on the way in). No norms.
    """

    def __init__(self, width: int = 512, halvings: int = 2, depth: int = 3, growth: int = 3):
        if min(width, depth, growth) < 1 or halvings < 0:
            raise BadArgument(f"expected width, depth and growth of 1 or more and halvings of 0 or more; found {width}, {depth}, {growth} and {halvings}")
        self.width, self.halvings, self.depth, self.growth = width, halvings, depth, growth
        self.stride = 1 << halvings

    def _blocks(self) -> list[nn.Module]:
        return [Wider(self.width, self.growth**i) for i in reversed(range(self.depth))]

    def encoder(self, channels: int, out: int) -> nn.Sequential:
        """(B, channels, T) to (B, out, T / stride)."""
        layers: list[nn.Module] = [nn.Conv1d(channels, self.width, 3, padding=1), nn.ReLU()]
        for _ in range(self.halvings):
            layers += [nn.Conv1d(self.width, self.width, 4, stride=2, padding=1), *self._blocks()]
        return nn.Sequential(*layers, nn.Conv1d(self.width, out, 3, padding=1))

    def decoder(self, into: int, channels: int) -> nn.Sequential:
        """The way back: each place twice, then a convolution."""
        conv = lambda a, b: nn.Conv1d(a, b, 3, padding=1)  # noqa: E731
        layers: list[nn.Module] = [conv(into, self.width), nn.ReLU()]
        for _ in range(self.halvings):
            layers += [*self._blocks(), nn.Upsample(scale_factor=2), conv(self.width, self.width)]
        return nn.Sequential(*layers, conv(self.width, self.width), nn.ReLU(), conv(self.width, channels))
