"""A waveform, a spectrogram or a motion through convolutions along time, a bottleneck and back."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniform.codecs.distortion import Absolute
from omniform.core.codec import LearnedCodec
from omniform.core.distribution import Content
from omniform.core.errors import BadArgument
from omniform.core.process import Losses
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Tokens


@final
class _Dilated(nn.Module):
    """x + conv1(elu(conv3(elu(x)))), three places `reach` apart; the second map starts at zero."""

    def __init__(self, width: int, reach: int):
        super().__init__()
        self.wide, self.back = nn.Conv1d(width, width, 3, padding=reach, dilation=reach), nn.Conv1d(width, width, 1)
        nn.init.zeros_(self.back.weight)
        nn.init.zeros_(self.back.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.back(F.elu(self.wide(F.elu(x))))


@final
class _Shorter(nn.Module):
    """One place for `factor`: a convolution of twice their number."""

    def __init__(self, width: int, into: int, factor: int):
        super().__init__()
        self.factor, self.conv = factor, nn.Conv1d(width, into, 2 * factor, factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(F.elu(x), (self.factor // 2, self.factor - self.factor // 2)))


@final
class _Longer(nn.Module):
    """Its mirror image."""

    def __init__(self, width: int, into: int, factor: int):
        super().__init__()
        self.factor, self.conv = factor, nn.ConvTranspose1d(width, into, 2 * factor, factor)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(F.elu(x))
        return y[..., self.factor // 2 : y.shape[-1] - (self.factor - self.factor // 2)]


@final
class Waves(LearnedCodec):
    """Channels along time as prod(factors) times fewer tokens, made by a bottleneck (RVQ, VQ, KL, FSQ).

    shape: (T,) of one channel, or (C, H, T) of C H channels. factors: how much shorter each level of the encoder makes it. width: at the first level; it
    doubles at each where `doubled` (EnCodec, arXiv:2210.13438, section 3.1; without its LSTM). depth: residual blocks a level, their reach growing by three
    (Jukebox, arXiv:2005.00341, appendix B). distortion: |difference| if not said. network: Spec of along_time.AlongTime in place of encoder and decoder of
    this file, and of factors, width and depth.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        bottleneck: Spec,
        factors: tuple[int, ...] = (2, 2),
        width: int = 32,
        depth: int = 1,
        doubled: bool = True,
        distortion: Spec | None = None,
        network: Spec | None = None,
    ):
        super().__init__()
        if len(shape) not in (1, 3):
            raise BadArgument(f"Waves expects a shape (T,) or (C, H, T) and found {tuple(shape)}")
        self.shape, self.inner, time = tuple(shape), math.prod(shape[:-1]), shape[-1]
        both = None if network is None else network.build()
        factors = factors if both is None else (both.stride,)
        if not factors or min(factors) < 1 or time % math.prod(factors):
            raise BadArgument(f"{time} places do not divide by {' x '.join(map(str, factors))}; choose other factors or another length")
        length = time // math.prod(factors)
        self.bottleneck = bottleneck.build(size=(1, length))
        self.space = self.bottleneck.space((Axis("time", length, "frame"),))
        self.distortion = (distortion or Spec(Absolute)).build()
        if both is not None:
            self.encoder, self.decoder = both.encoder(self.inner, self.bottleneck.inputs), both.decoder(self.bottleneck.channels, self.inner)
            return
        widths = [width << i if doubled else width for i in range(len(factors) + 1)]
        blocks = lambda n, turned: [_Dilated(n, 3**i) for i in (reversed(range(depth)) if turned else range(depth))]  # noqa: E731
        down: list[nn.Module] = [nn.Conv1d(self.inner, width, 7, padding=3)]
        up: list[nn.Module] = [nn.Conv1d(self.bottleneck.channels, widths[-1], 7, padding=3)]
        for a, b, factor in zip(widths[:-1], widths[1:], factors, strict=True):
            down += [*blocks(a, False), _Shorter(a, b, factor)]
        for a, b, factor in zip(widths[::-1][:-1], widths[::-1][1:], factors[::-1], strict=True):
            up += [_Longer(a, b, factor), *blocks(b, True)]
        self.encoder = nn.Sequential(*down, nn.ELU(), nn.Conv1d(widths[-1], self.bottleneck.inputs, 7, padding=3))
        self.decoder = nn.Sequential(*up, nn.ELU(), nn.Conv1d(width, self.inner, 7, padding=3))

    @property
    def channels(self) -> int:
        """How wide what `alone` says is."""
        return self.bottleneck.channels

    def alone(self, tokens: Tokens) -> Tensor:
        """(B, L, channels): what each token says by itself (a VQ's code, a Pyramid's scale)."""
        return self.bottleneck.alone(tokens)

    def latents(self, data: Tensor) -> Tensor:
        """(B, inputs, 1, L)."""
        return self.encoder(data.reshape(len(data), self.inner, -1))[:, :, None]

    def said(self, latents: Tensor) -> Tensor:
        """(B, channels, 1, L) -> data."""
        return self.decoder(latents[:, :, 0]).reshape(len(latents), *self.shape)

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        data = self._checked(data)
        content = self.bottleneck.encode(self.latents(data), rng)
        blank = self.space.blank(len(data), device=data.device)
        return Tokens(content.ids, content.vec, blank.coord, blank.kind, blank.doc)

    def decode(self, tokens: Tokens) -> Tensor:
        return self.said(self.bottleneck.decode(Content(tokens.ids, tokens.vec)))

    def loss(self, data: Any, *, rng: Rng) -> tuple[Losses, ...]:
        data = self._checked(data)
        latent, dues = self.bottleneck(self.latents(data), data.numel(), rng)
        return (Losses({**self.distortion(self.said(latent), data), **dues}, torch.tensor(float(data.numel()), device=data.device)),)

    @torch.no_grad()
    def settle(self, data: Any) -> None:
        self.bottleneck.settle(torch.cat([self.latents(part) for part in self._checked(data).split(256)]))
