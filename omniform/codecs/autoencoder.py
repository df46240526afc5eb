"""Pictures and clips through a convolutional encoder, a bottleneck and a decoder."""

from __future__ import annotations

import math
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omniform.codecs.codebook import clustered
from omniform.codecs.distortion import Absolute
from omniform.codecs.patch import grid_of
from omniform.codecs.patched import Timed
from omniform.core.codec import LearnedCodec
from omniform.core.distribution import Content
from omniform.core.errors import BadArgument
from omniform.core.process import Losses
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Tokens

_AT_ONCE = 256
"""Examples that settle looks at together (ours; memory)."""


@final
class Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), the second convolution starting at zero."""

    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList(_norm(width) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.convs[1].weight)
        nn.init.zeros_(self.convs[1].bias)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = conv(F.silu(norm(h)))
        return x + h


def _norm(width: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(width, 8), width)


def _widths(stride: int, width: int) -> list[int]:
    """The width at each resolution from fine to coarse; it doubles twice at the most."""
    return [width << min(level, 2) for level in range(max(int(math.log2(stride)), 1))]


def encoder(colours: int, out: int, stride: int, width: int, depth: int) -> nn.Sequential:
    """Pixels to latents.

    The first halving only rearranges pixels (space to depth): nothing is computed at full resolution, where it would
    cost the most.
    """
    widths = _widths(stride, width)
    first = min(stride, 2)
    layers: list[nn.Module] = [nn.PixelUnshuffle(first), nn.Conv2d(colours * first * first, widths[0], 3, padding=1)]
    for i, now in enumerate(widths):
        if i:
            layers.append(nn.Conv2d(widths[i - 1], now, 3, stride=2, padding=1))
        layers += [Residual(now) for _ in range(depth)]
    return nn.Sequential(*layers, _norm(widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], out, 3, padding=1))


def decoder(into: int, colours: int, stride: int, width: int, depth: int) -> nn.Sequential:
    """Latents to pixels: the encoder's mirror image."""
    widths = _widths(stride, width)
    last = min(stride, 2)
    layers: list[nn.Module] = [nn.Conv2d(into, widths[-1], 3, padding=1)]
    for i, now in reversed(list(enumerate(widths))):
        layers += [Residual(now) for _ in range(depth)]
        if i:
            layers += [nn.Conv2d(now, 4 * widths[i - 1], 1), nn.PixelShuffle(2)]
    out = nn.Conv2d(widths[0], colours * last * last, 3, padding=1)
    return nn.Sequential(*layers, _norm(widths[0]), nn.SiLU(), out, nn.PixelShuffle(last))


@final
class Autoencoder(LearnedCodec):
    """A convolutional autoencoder whose tokens are made by its bottleneck (KL, VQ, RVQ, FSQ, LFQ, Pyramid).

    shape: (C, H, W). stride: a power of two, pixels a latent. width: channels at half resolution, doubling twice at the
    most. depth: residual blocks a resolution. distortion: a Distortion, |difference| if not said. critic: a
    PatchCritic, or none. align: an alignment.Alignment of the latents, or none. network: Spec of convolutions.Convolutions
    in place of encoder and decoder of this file; its stride is the codec's, and width and depth are its own. With
    causal.CausalConvolutions the shape is a clip's, (1 + span n, C, H, W), and its tokens lie along (frame, y, x), 1 + n
    frames of them; critic and align look at pictures and are none there. noise: the decoder learns to take the last of it away (LTX-Video, arXiv:2501.00103,
    section 2.1): a share up to this one, drawn for each clip and told to it, is mixed into its latents; for patched.PatchedConvolutions with a time.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        bottleneck: Spec,
        stride: int = 4,
        width: int = 32,
        depth: int = 1,
        distortion: Spec | None = None,
        critic: Spec | None = None,
        align: Spec | None = None,
        network: Spec | None = None,
        noise: float = 0.0,
    ):
        super().__init__()
        both = None if network is None else network.build()
        span = 0 if both is None else both.span
        if len(shape) != (4 if span else 3):
            expected = "(frames, C, H, W)" if span else "(C, H, W)"
            advice = "its network is of clips" if span else "code clips by frame or with a network of causal.CausalConvolutions"
            raise BadArgument(f"Autoencoder expects a shape {expected} and found {tuple(shape)}; {advice}")
        if stride < 1 or stride & (stride - 1) or width < 1 or depth < 0:
            raise BadArgument(f"expected a stride that is a power of two, width of 1 or more and depth of 0 or more; found {stride}, {width}, {depth}")
        self.shape = tuple(shape)
        size: tuple[int, ...] = grid_of(self.shape, stride, "stride")
        axes = [Axis("y", size[0]), Axis("x", size[1])]
        if span:
            if shape[0] < 1 or (shape[0] - 1) % span:
                near = 1 + max(shape[0] - 1, 0) // span * span
                raise BadArgument(f"this codec takes clips of 1 + {span} n frames and found {shape[0]}; cut them to {near} or {near + span}")
            if critic is not None or align is not None:
                raise BadArgument("a critic and an alignment look at pictures, and this codec is of clips; leave them out")
            size = (1 + (shape[0] - 1) // span, *size)
            axes = [Axis("frame", size[0]), *axes]
        self.bottleneck = bottleneck.build(size=size)
        self.space = self.bottleneck.space(tuple(axes))
        colours = shape[-3]
        if both is None:
            self.encoder = encoder(colours, self.bottleneck.inputs, stride, width, depth)
            self.decoder = decoder(self.bottleneck.channels, colours, stride, width, depth)
        else:
            if both.stride != stride:
                raise BadArgument(f"the codec's stride is {stride} and its network's widths make one of {both.stride}; give that stride")
            self.encoder, self.decoder = both.encoder(colours, self.bottleneck.inputs), both.decoder(self.bottleneck.channels, colours)
        if not 0 <= noise <= 1 or noise and not isinstance(self.decoder, Timed):
            raise BadArgument(f"noise is a share from 0 to 1 that is told to a decoder, and this is {noise}; give 0, or a network whose decoder is told a time")
        self.noise = noise
        self.distortion = (distortion or Spec(Absolute)).build()
        self.critic = None if critic is None else critic.build(colours=colours)
        self.align = None if align is None else align.build(channels=self.bottleneck.channels)

    @property
    def channels(self) -> int:
        """How wide the latents are that the decoder and `context` speak of."""
        return self.bottleneck.channels

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        pixels = self._checked(data)
        content = self.bottleneck.encode(self.encoder(pixels), rng)
        blank = self.space.blank(len(pixels), device=pixels.device)
        return Tokens(content.ids, content.vec, blank.coord, blank.kind, blank.doc)

    def decode(self, tokens: Tokens) -> Tensor:
        return self.pictured(self.bottleneck.decode(Content(tokens.ids, tokens.vec)))

    def pictured(self, latent: Tensor) -> Tensor:
        """(B, channels, [t,] h, w) -> pixels in [-1, 1]; of a latent that is still growing, a preview."""
        return self.distortion.picture(self.decoder(latent))

    def loss(self, data: Any, *, rng: Rng) -> tuple[Losses, ...]:
        pixels = self._checked(data)
        latent, dues = self.bottleneck(self.encoder(pixels), pixels.numel(), rng)
        said = self._denoised(latent, rng) if self.noise else self.decoder(latent)
        off = self.distortion(said, pixels)
        parts = {**off, **dues}
        if self.align is not None:
            parts["align"] = self.align(latent, pixels, sum(off.values()), self.encoder[-1].weight)
        count = torch.tensor(float(pixels.numel()), device=pixels.device)
        if self.critic is None:
            return (Losses(parts, count),)
        picture = self.distortion.picture(said)
        last = [layer for layer in self.decoder if isinstance(layer, nn.Conv2d)][-1].weight
        opinion = self.critic.opinion(picture, sum(off.values()), last)
        return Losses({**parts, **opinion}, count), self.critic.loss(pixels, picture)

    def _denoised(self, latent: Tensor, rng: Rng) -> Tensor:
        """What the decoder makes of latents with some noise, told how much."""
        share = self.noise * rng.split("share").uniform((len(latent),)).to(latent.device)
        mixed = share.reshape(-1, *[1] * (latent.dim() - 1)).to(latent.dtype)
        return self.decoder((1 - mixed) * latent + mixed * rng.split("noise").normal(latent.shape).to(latent), share)

    @torch.no_grad()
    def settle(self, data: Any) -> None:
        self.bottleneck.settle(torch.cat([self.encoder(part) for part in self._checked(data).split(_AT_ONCE)]))

    def clusters(self, num: int) -> tuple[Tensor, Tensor]:
        """(V,) the cluster of each code by its vector, and (num,) the code nearest to each centre; of a bottleneck with one book."""
        every = torch.arange(self.space.vocab[0], device=self.decoder[0].weight.device)
        return clustered(self.bottleneck.lookup(every[None, :, None])[0], num)

    def context(self, tokens: Tokens) -> Tensor:
        """(B, L, channels): for each token what all coarser scales say together, at its place (a Pyramid's)."""
        return self.bottleneck.context(tokens)

    def alone(self, tokens: Tokens) -> Tensor:
        """(B, L, channels): what the tokens of each scale say by themselves (a Pyramid's)."""
        return self.bottleneck.alone(tokens)

    def grown(self, latent: Tensor | None, ids: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """One scale further, at the cost of one: (latent with it, context of the next scale)."""
        return self.bottleneck.grown(latent, ids, scale)
