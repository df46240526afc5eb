"""The convolutional network of LTX-Video's autoencoder, as published: patches of pixels are its channels, and a clip becomes few and wide latents."""

from __future__ import annotations

import math
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omniform.codecs.causal import Turned
from omniform.codecs.convolutions import Widening
from omniform.core.errors import BadArgument

Down = Literal["none", "strided", "space", "time", "both"]
Up = Literal["none", "widened", "unfolded"]
_FOLDS: dict[str, tuple[int, int, int]] = {"none": (1, 1, 1), "strided": (2, 2, 2), "space": (1, 2, 2), "time": (2, 1, 1), "both": (2, 2, 2)}
_PERIODS = 256


def fold(x: Tensor, by: tuple[int, int, int]) -> Tensor:
    """(B, C, t, h, w) to (B, C by..., t / by, h / by, w / by): neighbours become channels, of each channel (frame, row, column)."""
    for dim, size in ((4, by[2]), (3, by[1]), (2, by[0])):
        x = x.unflatten(dim, (-1, size))
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)


def unfold(x: Tensor, by: tuple[int, int, int]) -> Tensor:
    """The inverse of fold."""
    return x.unflatten(1, (-1, *by)).permute(0, 1, 5, 2, 6, 3, 7, 4).flatten(6, 7).flatten(4, 5).flatten(2, 3)


@final
class Even(nn.Module):
    """Each place divided by the root mean square of its channels; no weights. x (B, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


@final
class Centred(nn.LayerNorm):
    """A norm of each place over its channels. x (B, C, t, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


@final
class Held(nn.Conv3d):
    """A convolution of 3 x 3 x 3 with zeros around each frame; before and behind the clip its first and last frame stand still. causal: two frames before, none
    behind."""

    def __init__(self, into: int, out: int, causal: bool, stride: int = 1):
        super().__init__(into, out, 3, stride=stride, padding=(0, 1, 1))
        self.ends = (0, 0, 0, 0, 2, 0) if causal else (0, 0, 0, 0, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.ends, mode="replicate"))


@final
class Packed(nn.Module):
    """Neighbours folded into channels behind a convolution, plus the means of as many of theirs as there are channels for. A first frame that time halves is
    seen twice."""

    def __init__(self, into: int, out: int, by: tuple[int, int, int], causal: bool):
        super().__init__()
        self.by, self.group = by, into * math.prod(by) // out
        self.conv = Held(into, out // math.prod(by), causal)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x[:, :, : self.by[0] - 1], x], 2)
        return fold(self.conv(x), self.by) + fold(x, self.by).unflatten(1, (-1, self.group)).mean(2)


@final
class Unpacked(nn.Module):
    """Channels of a convolution laid out as neighbours, 2 x 2 x 2, without the first frame. past: plus its own channels laid out so, as often as needed."""

    by = (2, 2, 2)

    def __init__(self, into: int, out: int, causal: bool, past: bool):
        super().__init__()
        self.conv, self.times = Held(into, 8 * out, causal), 8 * out // into if past else 0

    def forward(self, x: Tensor) -> Tensor:
        y = unfold(self.conv(x), self.by)
        return (y + unfold(x, self.by).repeat(1, self.times, 1, 1, 1) if self.times else y)[:, :, 1:]


@final
class Clock(nn.Module):
    """(B,) numbers to (B, num, width, 1, 1, 1): what a time says to num norms."""

    def __init__(self, num: int, width: int):
        super().__init__()
        out = num * width
        self.net = nn.Sequential(nn.Linear(_PERIODS, out), nn.SiLU(), nn.Linear(out, out))
        self.register_buffer("frequency", torch.exp(-math.log(10000.0) * torch.arange(_PERIODS // 2) / (_PERIODS // 2)), persistent=False)
        self.num = num

    def forward(self, time: Tensor) -> Tensor:
        angle = time[:, None].float() * self.frequency
        return self.net(torch.cat([angle.cos(), angle.sin()], 1)).unflatten(1, (self.num, -1))[..., None, None, None]


def _table(num: int, width: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(num, width) / math.sqrt(width))


@final
class Told(nn.Module):
    """Residual blocks of one width whose norms a time shifts and scales: one clock, and a table a block that is added to what it says."""

    def __init__(self, width: int, blocks: list[Widening]):
        super().__init__()
        self.clock, self.blocks = Clock(4, width), nn.ModuleList(blocks)
        self.tables = nn.ParameterList(_table(4, width) for _ in blocks)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        said = self.clock(time)
        for block, table in zip(self.blocks, self.tables, strict=True):
            shift, scale, then_shift, then_scale = (said + table[..., None, None, None]).unbind(1)
            x = block(x, ((shift, scale), (then_shift, then_scale)))
        return x


@final
class ToldLast(nn.Module):
    """The last norm, shifted and scaled by a time."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.clock, self.table = Even(), Clock(2, width), _table(2, width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        shift, scale = (self.clock(time) + self.table[..., None, None, None]).unbind(1)
        return self.norm(x) * (1 + scale) + shift


@final
class Timed(nn.Sequential):
    """Layers of which some are told how much noise their input has, of 1. usual: if nothing is said."""

    def __init__(self, usual: float, *layers: nn.Module):
        super().__init__(*layers)
        self.usual = usual
        self.register_buffer("scale", torch.tensor(1000.0))

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        time = (x.new_full((len(x),), self.usual) if time is None else time) * self.scale
        for layer in self:
            x = layer(x, time) if isinstance(layer, Told | ToldLast) else layer(x)
        return x


@final
class Patch(nn.Module):
    """Pixels (B, t, C, H, W) to (B, C patch patch, t, H / patch, W / patch), or back."""

    def __init__(self, patch: int, back: bool = False):
        super().__init__()
        self.by, self.back, self.turned = (1, patch, patch), back, Turned()

    def forward(self, x: Tensor) -> Tensor:
        return self.turned(unfold(x, self.by)) if self.back else fold(self.turned(x), self.by)


@final
class Shared(nn.Module):
    """The last channel, a log of variance, said for all the others."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, :-1], x[:, -1:].expand(-1, x.shape[1] - 1, -1, -1, -1)], 1)


@final
class PatchedConvolutions:
    """Encoder and decoder of LTX-Video (HaCohen et al. 2025, arXiv:2501.00103, section 2.1, and causal_video_autoencoder.py of the official code).

    Patches of pixels are the channels of the first convolution; norms have no weights; one variance is said for all channels of a latent. widths: of each
    level, fine to coarse, and of the middle; depths: residual blocks of each. down: what lies behind each level but the last: "strided", a convolution that
    halves time, rows and columns (0.9); "space", "time", "both", what is halved is folded into channels (0.9.5); "none". A width that folding does not change
    is changed by a residual block behind it.

    back: widths and depths of the decoder, else the encoder's. up: "widened", a residual block to the next width where it is another, then channels laid out as
    neighbours; "unfolded", straight to the next width, with what came in beside it (0.9.1); "none"; if not said, widened wherever the encoder goes down.
    causal: of encoder and decoder, whether a frame knows no later one. time: how noisy latents are to a decoder that nobody tells, of one that is told (0.9.1);
    None: it is not. eps: of the norms before a change of width.
    """

    def __init__(
        self,
        patch: int = 4,
        widths: tuple[int, ...] = (128, 256, 512, 512, 512),
        depths: tuple[int, ...] = (4, 3, 3, 3, 4),
        down: tuple[Down, ...] = ("strided", "strided", "strided", "none"),
        back: tuple[tuple[int, ...], tuple[int, ...]] | None = None,
        up: tuple[Up, ...] | None = None,
        causal: tuple[bool, bool] = (True, False),
        time: float | None = None,
        eps: float = 1e-6,
    ):
        self.patch, self.widths, self.depths, self.down = patch, tuple(widths), tuple(depths), tuple(down)
        self.back = (self.widths, self.depths) if back is None else (tuple(back[0]), tuple(back[1]))
        self.up: tuple[Up, ...] = tuple("none" if d == "none" else "widened" for d in down) if up is None else tuple(up)
        self.causal, self.time, self.eps = tuple(causal), time, eps
        for (wide, deep), steps, kinds in (((self.widths, self.depths), self.down, (*_FOLDS,)), (self.back, self.up, ("none", "widened", "unfolded"))):
            if not wide or len(deep) != len(wide) or len(steps) != len(wide) - 1 or min(wide) < 1 or min(deep) < 0:
                raise BadArgument(f"expected as many depths as widths and one step less; found {wide}, {deep} and {steps}")
            if not set(steps) <= set(kinds):
                raise BadArgument(f"a step is one of {', '.join(map(repr, kinds))}, and these are {steps}")
        for a, b, step in zip(self.widths, self.widths[1:], self.down, strict=False):
            if step in ("space", "time", "both") and (b % math.prod(_FOLDS[step]) or a * math.prod(_FOLDS[step]) % b):
                raise BadArgument(f"{a} channels folded by {step!r} do not make {b}; take twice, four times or eight times as many, or as many")
        for a, b, back_step in zip(self.back[0], self.back[0][1:], self.up, strict=False):
            if back_step == "unfolded" and (b % 8 or 8 * a % b):
                raise BadArgument(f"{b} channels do not unfold into {a}, 2 x 2 x 2; take multiples of eight")
            if time is not None and back_step != "unfolded" and a != b:
                raise BadArgument("a residual block that changes the width is told no time; let the width stay, or unfold to it")
        self.stride = patch << sum(_FOLDS[d][1] == 2 for d in self.down)
        self.span = 1 << sum(_FOLDS[d][0] == 2 for d in self.down)
        ups = sum(u != "none" for u in self.up)
        if self.stride != patch << ups or self.span != 1 << ups:
            raise BadArgument(f"the encoder halves rows to {self.stride} and frames to {self.span}, and {ups} times two is what the decoder makes of both")

    def _widening(self, into: int, out: int, causal: bool) -> Widening:
        def conv(into: int, out: int, side: int) -> nn.Module:
            return Held(into, out, causal) if side == 3 else nn.Sequential(Centred(into, eps=self.eps), nn.Conv3d(into, out, 1))

        return Widening(into, out, lambda _: Even(), conv)

    def encoder(self, colours: int, out: int) -> nn.Sequential:
        """Clips (B, 1 + span n, colours, H, W) to latents (B, out, 1 + n, H / stride, W / stride), the second half of whose channels are one."""
        causal = self.causal[0]
        layers: list[nn.Module] = [Patch(self.patch), Held(colours * self.patch**2, self.widths[0], causal)]
        for level, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            layers += [self._widening(width, width, causal) for _ in range(depth)]
            if level == len(self.down):
                break
            step, after = self.down[level], self.widths[level + 1]
            if step in ("space", "time", "both"):
                layers.append(Packed(width, after, _FOLDS[step], causal))
                continue
            layers += [Held(width, width, causal, 2)] if step == "strided" else []
            layers += [self._widening(width, after, causal)] if width != after else []
        return nn.Sequential(*layers, Even(), nn.SiLU(), Held(self.widths[-1], out // 2 + 1, causal), Shared())

    def decoder(self, into: int, colours: int) -> nn.Sequential:
        """The way back; with a time, latents (and how noisy each is) to clips."""
        (widths, depths), causal = self.back, self.causal[1]
        layers: list[nn.Module] = [Held(into, widths[-1], causal)]
        for level, (width, depth) in reversed(list(enumerate(zip(widths, depths, strict=True)))):
            if level < len(self.up):
                step, before = self.up[level], widths[level + 1]
                layers += [self._widening(before, width, causal)] if step != "unfolded" and before != width else []
                layers += [Unpacked(before if step == "unfolded" else width, width, causal, step == "unfolded")] if step != "none" else []
            blocks = [self._widening(width, width, causal) for _ in range(depth)]
            layers += blocks if self.time is None else [Told(width, blocks)]
        end = Held(widths[0], colours * self.patch**2, causal)
        if self.time is None:
            return nn.Sequential(*layers, Even(), nn.SiLU(), end, Patch(self.patch, back=True))
        return Timed(self.time, *layers, ToldLast(widths[0]), nn.SiLU(), end, Patch(self.patch, back=True))
