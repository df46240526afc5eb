"""What stands between encoder and decoder and decides what tokens say: Gaussians, codes, rounded numbers, signs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omniform.codecs.codebook import Codebook
from omniform.core.distribution import Content
from omniform.core.errors import BadArgument, CodecError, ShapeError
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space, Tokens


class Bottleneck(nn.Module, ABC):
    """Latents (B, inputs, h, w) to content, in raster order, and back to latents (B, channels, h, w). size: (h, w), or (t, h, w) of clips."""

    inputs: int  # what the encoder must give
    channels: int  # what the decoder is given
    size: tuple[int, ...]

    @abstractmethod
    def space(self, axes: tuple[Axis, ...]) -> Space:
        """What its tokens say, along the axes of the grid that it stands in."""

    @abstractmethod
    def forward(self, z: Tensor, count: int, rng: Rng) -> tuple[Tensor, Mapping[str, Tensor]]:
        """In training: what the decoder is given, and its cost as sums, beside a distortion summed over count."""

    @abstractmethod
    def encode(self, z: Tensor, rng: Rng | None) -> Content: ...

    @abstractmethod
    def decode(self, content: Content) -> Tensor: ...

    def settle(self, z: Tensor) -> None:
        """Measure what unit variance needs, on latents of a large batch. Nothing to do for most."""

    def context(self, tokens: Tokens) -> Tensor:
        """(B, L, channels): for each token what all coarser ones say together, at its place."""
        raise CodecError(f"{type(self).__name__} has one scale, so there is nothing coarser to tell; use Pyramid")

    def alone(self, tokens: Tokens) -> Tensor:
        """(B, L, channels): what the tokens of each scale say by themselves, at their places."""
        raise CodecError(f"{type(self).__name__} has one scale, whose tokens say all there is; use Pyramid")

    def grown(self, latent: Tensor | None, ids: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """One scale further: latent and ids (B, n, 1) to the latent with them and the context of the next scale."""
        raise CodecError(f"{type(self).__name__} has one scale, so nothing can grow; use Pyramid")


def rows_of(z: Tensor) -> Tensor:
    """(B, C, ..., h, w) -> (B, ...*h*w, C)."""
    return z.flatten(2).transpose(1, 2)


def grid_from(rows: Tensor, size: tuple[int, ...]) -> Tensor:
    """The inverse of rows_of."""
    return rows.transpose(1, 2).unflatten(2, size)


def ids_of(content: Content, size: tuple[int, ...], books: int, vocab: int) -> Tensor:
    """The ids (B, h*w, books), checked."""
    expected = (math.prod(size), books)
    if content.ids is None or tuple(content.ids.shape[1:]) != expected:
        found = "no ids" if content.ids is None else f"ids of shape {tuple(content.ids.shape)}"
        raise ShapeError(f"expected ids of shape (B, {expected[0]}, {expected[1]}) and found {found}; give tokens of the codec's own space")
    return within(content.ids, vocab)


def within(ids: Tensor, vocab: int) -> Tensor:
    """The ids, if the book has them all."""
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= vocab):
        raise CodecError(f"expected ids in 0..{vocab - 1}, found {int(ids.min())}..{int(ids.max())}; give what this codec's own network said")
    return ids


def straight(z: Tensor, quantised: Tensor) -> Tensor:
    """The value of quantised with the gradient of z (straight-through; arXiv:1308.3432)."""
    return z + (quantised - z).detach()


@final
class KL(Bottleneck):
    """A diagonal Gaussian a place, held near N(0, 1) by weight times its KL divergence (VAE, arXiv:1312.6114).

    The weight is against the distortion summed over an example's numbers, as in LDM (arXiv:2112.10752), which uses
    1e-6. Content is the sample, or the mean when there is no rng, normalised by channel to unit variance with what
    `settle` measures: the variance of means plus the mean of variances.
    """

    def __init__(self, channels: int, size: tuple[int, ...], weight: float = 1e-6):
        super().__init__()
        if channels < 1 or weight < 0:
            raise BadArgument(f"expected 1 channel or more and a weight of 0 or more, found {channels} and {weight}")
        self.channels, self.inputs, self.size, self.weight = channels, 2 * channels, size, weight
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))

    def space(self, axes: tuple[Axis, ...]) -> Space:
        return Space(axes=axes, channels=self.channels)

    def gaussian(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, log of variance), each (B, channels, h, w); bounds of LDM's code."""
        mean, log_variance = z.chunk(2, 1)
        return mean, log_variance.clamp(-30, 20)

    def divergence(self, z: Tensor) -> Tensor:
        """(B,) nats: KL of the Gaussian to N(0, 1)."""
        mean, log_variance = (x.float() for x in self.gaussian(z))
        return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)

    def drawn(self, z: Tensor, rng: Rng | None) -> Tensor:
        """A sample, or the mean."""
        mean, log_variance = self.gaussian(z)
        return mean if rng is None else mean + (0.5 * log_variance).exp() * rng.normal(mean.shape).to(mean.dtype)

    def forward(self, z: Tensor, count: int, rng: Rng) -> tuple[Tensor, Mapping[str, Tensor]]:
        return self.drawn(z, rng.split("kl")), {"kl": self.weight * self.divergence(z).sum()}

    def encode(self, z: Tensor, rng: Rng | None) -> Content:
        return Content(vec=(rows_of(self.drawn(z, rng)) - self.centre) / self.spread)

    def decode(self, content: Content) -> Tensor:
        if content.vec is None or tuple(content.vec.shape[1:]) != (math.prod(self.size), self.channels):
            found = "no continuous content" if content.vec is None else f"content of shape {tuple(content.vec.shape)}"
            expected = f"(B, {math.prod(self.size)}, {self.channels})"
            raise ShapeError(f"expected content of shape {expected} and found {found}; give tokens of the codec's own space")
        return grid_from(content.vec * self.spread + self.centre, self.size)

    @torch.no_grad()
    def settle(self, z: Tensor) -> None:
        mean, log_variance = (rows_of(x).flatten(0, 1).double() for x in self.gaussian(z))
        self.centre.copy_(mean.mean(0))
        self.spread.copy_((mean.var(0, correction=0) + log_variance.exp().mean(0)).sqrt().clamp_min(1e-6))


@final
class VQ(Bottleneck):
    """The nearest code of a learned book (van den Oord et al. 2017, arXiv:1711.00937).

    `Codebook` says what ema, normalise and restart do. Cost: commitment * |z - sg(code)|^2, and |sg(z) - code|^2 where
    the codes are parameters (ema 0), both as means over latent numbers beside the mean distortion.
    """

    def __init__(
        self, codes: int, channels: int, size: tuple[int, int], commitment: float = 0.25, ema: float = 0.99, normalise: bool = False, restart: float = 0.1
    ):
        super().__init__()
        self.channels = self.inputs = channels
        self.size, self.commitment = size, commitment
        self.book = Codebook(codes, channels, ema, normalise, restart)

    def space(self, axes: tuple[Axis, ...]) -> Space:
        return Space(axes=axes, vocab=(self.book.num_codes,))

    def lookup(self, ids: Tensor) -> Tensor:
        """(B, L, 1) -> (B, L, channels)."""
        return self.book.lookup(ids.squeeze(-1))

    def alone(self, tokens: Tokens) -> Tensor:
        """(B, L, channels): the code of each token."""
        return self.lookup(ids_of(Content(tokens.ids), self.size, 1, self.book.num_codes))

    def forward(self, z: Tensor, count: int, rng: Rng) -> tuple[Tensor, Mapping[str, Tensor]]:
        rows = self.book.posed(rows_of(z))
        latent, cost = _looked_up(self.book, rows, self.commitment, rng, self.training)
        return grid_from(straight(rows, latent), self.size), {name: value * count for name, value in cost.items()}

    def encode(self, z: Tensor, rng: Rng | None) -> Content:
        return Content(ids=self.book.nearest(rows_of(z)).unsqueeze(-1))

    def decode(self, content: Content) -> Tensor:
        return grid_from(self.lookup(ids_of(content, self.size, 1, self.book.num_codes)), self.size)


def _looked_up(book: Codebook, rows: Tensor, commitment: float, rng: Rng, learning: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Codes nearest to rows (B, L, C) and their cost; a learning book prepares and observes."""
    flat = rows.detach().reshape(-1, book.channels)
    if learning:
        book.prepare(flat, rng)
    ids = book.nearest(flat)
    codes = book.lookup(ids).reshape(rows.shape)
    cost = {"commitment": commitment * F.mse_loss(rows, codes.detach())}
    if not book.ema:
        cost["codebook"] = F.mse_loss(codes, rows.detach())
    if learning:
        book.observe(flat, ids)
    return codes, cost


@final
class RVQ(Bottleneck):
    """Books in a row, each coding what the ones before left over (SoundStream, arXiv:2107.03312, section III-C)."""

    def __init__(self, codes: int, channels: int, size: tuple[int, int], books: int = 2, commitment: float = 0.25, ema: float = 0.99, restart: float = 0.1):
        super().__init__()
        if books < 1:
            raise BadArgument(f"expected 1 book or more, found {books}")
        self.channels = self.inputs = channels
        self.size, self.commitment = size, commitment
        self.books = nn.ModuleList(Codebook(codes, channels, ema, False, restart) for _ in range(books))

    def space(self, axes: tuple[Axis, ...]) -> Space:
        return Space(axes=axes, vocab=tuple(book.num_codes for book in self.books))

    def lookup(self, ids: Tensor) -> Tensor:
        """(B, L, books) -> (B, L, channels): the sum over the books."""
        return torch.stack([book.lookup(ids[..., q]) for q, book in enumerate(self.books)]).sum(0)

    def forward(self, z: Tensor, count: int, rng: Rng) -> tuple[Tensor, Mapping[str, Tensor]]:
        rows, total = rows_of(z), {}
        rest, latent = rows, torch.zeros_like(rows)
        for q, book in enumerate(self.books):
            codes, cost = _looked_up(book, rest, self.commitment, rng.split(q), self.training)
            latent, rest = latent + codes, rest - codes.detach()
            total = {name: total.get(name, 0) + value * count / len(self.books) for name, value in cost.items()}
        return grid_from(straight(rows, latent), self.size), total

    def encode(self, z: Tensor, rng: Rng | None) -> Content:
        rest, ids = rows_of(z), []
        for book in self.books:
            ids.append(book.nearest(rest))
            rest = rest - book.lookup(ids[-1])
        return Content(ids=torch.stack(ids, -1))

    def decode(self, content: Content) -> Tensor:
        return grid_from(self.lookup(ids_of(content, self.size, len(self.books), self.books[0].num_codes)), self.size)


@final
class FSQ(Bottleneck):
    """Each channel rounded to one of a few levels (Mentzer et al. 2023, arXiv:2309.15505, section 3 and appendix A).

    An id is the mixed-radix number of all channels, the first counting ones.
    """

    def __init__(self, levels: tuple[int, ...], size: tuple[int, int]):
        super().__init__()
        if not levels or min(levels) < 2:
            raise BadArgument(f"expected levels of 2 or more, found {tuple(levels)}; write for instance (8, 5, 5)")
        self.channels = self.inputs = len(levels)
        self.size, self.num_codes = size, math.prod(levels)
        level = torch.tensor(levels)
        self.register_buffer("levels", level, persistent=False)
        self.register_buffer("place", level.cumprod(0) // level, persistent=False)

    def space(self, axes: tuple[Axis, ...]) -> Space:
        return Space(axes=axes, vocab=(self.num_codes,))

    def bounded(self, rows: Tensor) -> Tensor:
        """(..., C) -> numbers whose rounding is a level: -(l // 2) .. (l - 1) // 2."""
        half = (self.levels - 1) * (1 + 1e-3) / 2  # the stretch keeps the outermost levels in reach (appendix A)
        offset = (self.levels % 2 == 0) * 0.5
        return (rows + (offset / half).atanh()).tanh() * half - offset

    def number(self, codes: Tensor) -> Tensor:
        """Codes (..., C) in [-1, 1] -> ids (...)."""
        half = self.levels // 2
        return ((codes * half).round().long() + half).mul(self.place).sum(-1)

    def lookup(self, ids: Tensor) -> Tensor:
        """ids (B, L, 1) -> codes (B, L, C) in [-1, 1]."""
        half = self.levels // 2
        return ((ids // self.place) % self.levels - half) / half

    def forward(self, z: Tensor, count: int, rng: Rng) -> tuple[Tensor, Mapping[str, Tensor]]:
        rows = self.bounded(rows_of(z))
        return grid_from(straight(rows, rows.round()) / (self.levels // 2), self.size), {}

    def encode(self, z: Tensor, rng: Rng | None) -> Content:
        return Content(ids=self.number(self.bounded(rows_of(z)).round() / (self.levels // 2)).unsqueeze(-1))

    def decode(self, content: Content) -> Tensor:
        return grid_from(self.lookup(ids_of(content, self.size, 1, self.num_codes)), self.size)


@final
class LFQ(Bottleneck):
    """The sign of each channel is a bit, an id is the number they spell (MAGVIT-v2, arXiv:2310.05737, section 3.1).

    sphere: latents and codes on the unit sphere (BSQ, arXiv:2406.07548). Cost: entropy * (mean entropy of a code -
    entropy of the mean code), equation 5, of codes softly assigned by squared distance over temperature, and commitment
    * |z - sg(code)|^2. The first entropy is a sum over bits, exactly; the second is exact within runs of `joint` bits
    and summed over them: an upper bound.
    """

    def __init__(
        self, bits: int, size: tuple[int, int], entropy: float = 0.1, commitment: float = 0.25, sphere: bool = False, temperature: float = 1.0, joint: int = 8
    ):
        super().__init__()
        if not 1 <= bits <= 62 or joint < 1 or temperature <= 0:
            raise BadArgument(f"expected 1 to 62 bits, joint of 1 or more and a temperature above 0; found {bits}, {joint}, {temperature}")
        self.channels = self.inputs = self.bits = bits
        self.size, self.entropy, self.commitment = size, entropy, commitment
        self.sphere, self.temperature, self.joint = sphere, temperature, joint
        self.length = bits**-0.5 if sphere else 1.0
        self.register_buffer("place", 1 << torch.arange(bits), persistent=False)

    def space(self, axes: tuple[Axis, ...]) -> Space:
        return Space(axes=axes, vocab=(1 << self.bits,), bits=self.bits)

    def posed(self, z: Tensor) -> Tensor:
        """(B, bits, h, w) -> (B, L, bits), on the sphere if the codes are."""
        rows = rows_of(z)
        return F.normalize(rows, dim=-1) if self.sphere else rows

    def number(self, codes: Tensor) -> Tensor:
        """Codes (..., bits) -> ids (...): positive is 1, the first channel the lowest bit."""
        return ((codes > 0) * self.place).sum(-1)

    def lookup(self, ids: Tensor) -> Tensor:
        """ids (B, L, 1) -> codes (B, L, bits)."""
        return (((ids & self.place) != 0) * 2.0 - 1.0) * self.length

    def entropies(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(mean entropy of a code, entropy of the mean code), nats, of soft assignments of rows (N, bits)."""
        # softmax over codes of -|z - c|^2 / temperature factorises: a bit is 1 with logit 4 z length / temperature
        logit = rows.float() * (4 * self.length / self.temperature)
        on, off = logit.sigmoid(), (-logit).sigmoid()
        each = -(on * F.logsigmoid(logit) + off * F.logsigmoid(-logit)).sum(-1).mean()
        whole = rows.new_zeros((), dtype=torch.float32)
        for first in range(0, self.bits, self.joint):
            share = torch.ones_like(on[:, :1])
            for bit in range(first, min(first + self.joint, self.bits)):
                share = torch.cat([share * off[:, bit, None], share * on[:, bit, None]], -1)
            whole = whole + torch.special.entr(share.mean(0)).sum()
        return each, whole

    def forward(self, z: Tensor, count: int, rng: Rng) -> tuple[Tensor, Mapping[str, Tensor]]:
        rows = self.posed(z)
        codes = torch.where(rows > 0, self.length, -self.length)
        each, whole = self.entropies(rows.flatten(0, 1))
        cost = {"entropy": self.entropy * (each - whole), "commitment": self.commitment * F.mse_loss(rows, codes)}
        return grid_from(straight(rows, codes), self.size), {name: value * count for name, value in cost.items()}

    def encode(self, z: Tensor, rng: Rng | None) -> Content:
        return Content(ids=self.number(self.posed(z)).unsqueeze(-1))

    def decode(self, content: Content) -> Tensor:
        return grid_from(self.lookup(ids_of(content, self.size, 1, 1 << self.bits)), self.size)
