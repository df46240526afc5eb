"""The convolutional network of Wan's video autoencoder, as published: what is said of a frame depends on no later one."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omniform.codecs.convolutions import Looking, Widening
from omniform.core.errors import BadArgument


def by_frame(change: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A change of pictures (N, C, h, w), frame by frame of x (B, C, t, h, w)."""
    return change(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


@final
class Turned(nn.Module):
    """Clips (B, t, C, h, w) to (B, C, t, h, w), or back."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


@final
class Level(nn.Module):
    """Each place divided by the root mean square of its channels, times a weight a channel: no statistics over places or frames. x (B, C, ...)."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        square = x.square().sum(1, keepdim=True).clamp_min(1e-24) / x.shape[1]  # vector_norm took a quarter of a step on a CPU
        return x * square.rsqrt() * self.weight.reshape(-1, *[1] * (x.dim() - 2))


@final
class Causal(nn.Conv3d):
    """A convolution of (frames, side, side) that keeps the size: zeros around each frame, and before the first as many frames as it looks back."""

    def __init__(self, into: int, out: int, frames: int = 3, side: int = 3):
        super().__init__(into, out, (frames, side, side), padding=(0, side // 2, side // 2))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 0, 0, 0, self.kernel_size[0] - 1, 0)))


def _widening(into: int, out: int) -> Widening:
    return Widening(into, out, Level, lambda into, out, side: Causal(into, out, side, side))


@final
class Glance(Looking):
    """Looking over the places of each frame by itself; it starts at nothing."""

    def __init__(self, width: int):
        super().__init__(width, Level(width))
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        return by_frame(super().forward, x)


@final
class Shortened(nn.Module):
    """Half the rows and columns, frame by frame; and where time is true 1 + 2n frames to 1 + n: the first as it is, then one of each two and of the one before
    them."""

    def __init__(self, width: int, time: bool):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)
        self.time = nn.Conv3d(width, width, (3, 1, 1), stride=(2, 1, 1)) if time else None

    def forward(self, x: Tensor) -> Tensor:
        x = by_frame(lambda y: self.conv(F.pad(y, (0, 1, 0, 1))), x)
        return x if self.time is None or x.shape[2] == 1 else torch.cat([x[:, :, :1], self.time(x)], 2)


@final
class Lengthened(nn.Module):
    """Twice the rows and columns and half the channels, frame by frame; and where time is true 1 + n frames to 1 + 2n: the first as it is, then two of each.

    The frames behind the first do not see it here, as in the official code, whose memory of it is zeros.
    """

    def __init__(self, width: int, time: bool):
        super().__init__()
        self.time = Causal(width, 2 * width, 3, 1) if time else None
        self.conv = nn.Conv2d(width, width // 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.time is not None and x.shape[2] > 1:
            pairs = self.time(x[:, :, 1:]).unflatten(1, (2, -1))  # (B, 2, C, n, h, w)
            x = torch.cat([x[:, :, :1], pairs.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)], 2)
        return by_frame(lambda y: self.conv(F.interpolate(y, scale_factor=2.0)), x)


@final
class CausalConvolutions:
    """Encoder and decoder of Wan-VAE (Wan team 2025, arXiv:2503.20314, section 4.1, and wan/modules/vae.py of the official code), over whole clips.

    The code goes through a clip in pieces of four frames and remembers the last two at each convolution; that is this network, which sees all frames at once.
    The first frame stands by itself, so that a picture is a clip of one frame. widths: of each resolution, fine to coarse, halved between them. depth: residual
    blocks a resolution, one more in the decoder. in_time: of each halving, whether time is halved too. span: frames a latent behind the first one.
    """

    def __init__(self, widths: tuple[int, ...] = (96, 192, 384, 384), depth: int = 2, in_time: tuple[bool, ...] = (False, True, True)):
        if not widths or depth < 1 or min(widths) < 1 or any(w % 2 for w in widths[1:]):
            raise BadArgument(f"expected widths of 1 or more, even ones behind the first, and a depth of 1 or more; found {tuple(widths)} and {depth}")
        if len(in_time) != len(widths) - 1:
            raise BadArgument(f"{len(widths)} widths have {len(widths) - 1} halvings between them, and in_time speaks of {len(in_time)}; say yes or no of each")
        self.widths, self.depth, self.in_time = tuple(widths), depth, tuple(in_time)
        self.stride, self.span = 1 << (len(widths) - 1), 1 << sum(in_time)

    def _middle(self) -> list[nn.Module]:
        width = self.widths[-1]
        return [_widening(width, width), Glance(width), _widening(width, width)]

    def encoder(self, colours: int, out: int) -> nn.Sequential:
        """Clips (B, 1 + span n, colours, H, W) to latents (B, out, 1 + n, H / stride, W / stride)."""
        layers: list[nn.Module] = [Turned(), Causal(colours, self.widths[0])]
        for level, width in enumerate(self.widths):
            before = self.widths[max(level - 1, 0)]
            layers += [Shortened(before, self.in_time[level - 1])] if level else []
            layers += [_widening(width if i else before, width) for i in range(self.depth)]
        last = self.widths[-1]
        return nn.Sequential(*layers, *self._middle(), Level(last), nn.SiLU(), Causal(last, out), Causal(out, out, 1, 1))

    def decoder(self, into: int, colours: int) -> nn.Sequential:
        """The way back."""
        layers: list[nn.Module] = [Causal(into, into, 1, 1), Causal(into, self.widths[-1]), *self._middle()]
        before = self.widths[-1]
        for level, width in reversed(list(enumerate(self.widths))):
            layers += [_widening(width if i else before, width) for i in range(self.depth + 1)]
            layers += [Lengthened(width, self.in_time[level - 1])] if level else []
            before = width // 2 if level else width
        return nn.Sequential(*layers, Level(before), nn.SiLU(), Causal(before, colours), Turned())
