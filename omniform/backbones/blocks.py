"""Residual blocks: a mixer and an MLP, normed before or after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument
from ..core.net import Block, Env
from ..core.spec import Spec
from ..core.tokens import Space
from .norms import AdaLN, SharedAdaLN, modulated
from .norms import norm as make_norm
from .streams import Streams

Modulate = Literal["zero", "single"]


def _dropped(x: Tensor, share: float) -> Tensor:
    return F.dropout(x, share) if share else x


class PreNorm(Block):
    """x += gate mixer(mod(norm(x))), then cross-attention where there is one, then x += gate mlp(mod(norm(x))).

    modulate "zero": adaLN-Zero (DiT); "single": adaLN-single (PixArt-alpha); a Spec of such a map; None: plain pre-norm.
    affine: whether norms have weights (default: unless modulated).
    norm_cross: whether cross-attention reads the stream through a norm with weights (default: unless modulated).
    streams 2: the prefix is modulated by weights of its own (MM-DiT). ends: it is read for the last time, gives keys and values and stays as it is.
    mlp_eps: of the MLP's norm, if not eps. dropout acts on both branches before the residual. space: for mixers that know the grid.
    """

    def __init__(
        self,
        width: int,
        mixer: Spec,
        mlp: Spec | None = None,
        cross: Spec | None = None,
        modulate: Modulate | Spec | None = None,
        norm: Literal["layer", "rms"] = "layer",
        eps: float = 1e-6,
        affine: bool | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        streams: int = 1,
        space: Space | None = None,
        norm_cross: bool | None = None,
        ends: bool = False,
        mlp_eps: float | None = None,
    ):
        super().__init__()
        if ends and not (streams == 2 and modulate):
            raise BadArgument("a prefix that ends has a modulation of its own: give streams=2 and modulate")
        affine = modulate is None if affine is None else affine
        make = lambda small=eps: make_norm(norm, width, affine=affine, eps=small, bias=bias)  # noqa: E731
        self.ends = ends
        self.mixer = mixer.build(width=width, streams=streams, ends=ends, space=space)
        self.mlp = mlp.build(width=width, streams=1 if ends else streams) if mlp else None
        self.norm_mixer, self.norm_mlp = make(), make(eps if mlp_eps is None else mlp_eps) if mlp else None
        self.cross = cross.build(width=width) if cross else None
        normed = modulate is None if norm_cross is None else norm_cross  # PixArt: modulated blocks cross-attend to the bare stream
        self.norm_cross = make_norm(norm, width, eps=eps, bias=bias) if cross and normed else None
        chunks = 6 if mlp else 3
        if modulate not in (None, "zero", "single") and not isinstance(modulate, Spec):
            raise BadArgument(f"modulate is 'zero', 'single', a Spec or None, not {modulate!r}")
        self.modulate = modulate
        part = modulate if isinstance(modulate, Spec) else {"zero": Spec(AdaLN), "single": Spec(SharedAdaLN)}.get(modulate or "")
        self.modulation = nn.ModuleList(part.build(width=width, chunks=2 if ends and i else chunks) for i in range(streams)) if part else None
        self.dropout = dropout

    def _chunks(self, env: Env, length: int) -> Sequence[Tensor]:
        """Shift, scale, gate of mixer and MLP, each (B, 1 or L, D)."""
        assert env.modulation is not None and self.modulation is not None
        maps = self.modulation._modules.values()
        if len(maps) == 1 or env.prefix == 0:
            return next(iter(maps))(env.modulation)
        each = [m(env.modulation) for m in maps]
        spread = lambda x, first, last: x.expand(-1, last - first, -1) if x.shape[1] == 1 else x[:, first:last]  # noqa: E731
        return [torch.cat([spread(p, 0, env.prefix), spread(s, env.prefix, length)], 1) for s, p in zip(*each, strict=True)]

    def forward(self, x: Tensor, env: Env) -> Tensor:
        part, drop = self._modules, self.dropout if self.training else 0.0  # as attributes, parts are looked up in Python: six times a block
        mlp, cross = part.get("mlp"), part.get("cross")
        if part.get("modulation") is None:
            y = part["mixer"](part["norm_mixer"](x), env)
            x = x + (_dropped(y, drop) if drop else y)
            if cross is not None:
                x = x + cross(self.norm_cross(x), env)
            if mlp is None:
                return x
            y = mlp(part["norm_mlp"](x), env)
            return x + (_dropped(y, drop) if drop else y)
        if self.ends and env.prefix:
            return self._ended(x, env, drop)
        c = self._chunks(env, x.shape[1])
        y = part["mixer"](modulated(part["norm_mixer"](x), c[0], c[1]), env)
        x = torch.addcmul(x, c[2], _dropped(y, drop) if drop else y)
        if cross is not None:
            x = x + cross(x if self.norm_cross is None else self.norm_cross(x), env)
        if mlp is None:
            return x
        y = mlp(modulated(part["norm_mlp"](x), c[3], c[4]), env)
        return torch.addcmul(x, c[5], _dropped(y, drop) if drop else y)

    def _ended(self, x: Tensor, env: Env, drop: float) -> Tensor:
        """The last block of two streams (MM-DiT's code): the prefix is only read."""
        front, told = env.prefix, env.modulation
        assert told is not None and self.modulation is not None and self.mlp is not None
        mine, its = (told, told) if told.shape[1] == 1 else (told[:, front:], told[:, :front])
        c, p = self.modulation[0](mine), self.modulation[1](its)
        before, x = x[:, :front], x[:, front:]
        read = torch.cat([modulated(self.norm_mixer(before), *p), modulated(self.norm_mixer(x), c[0], c[1])], 1)
        x = torch.addcmul(x, c[2], _dropped(self.mixer(read, env), drop))
        x = torch.addcmul(x, c[5], _dropped(self.mlp(modulated(self.norm_mlp(x), c[3], c[4]), env), drop))
        return torch.cat([before, x], 1)


class PostNorm(Block):
    """norm(x + mixer(x)), then norm(x + mlp(x)): BERT and MaskGIT."""

    def __init__(self, width: int, mixer: Spec, mlp: Spec, eps: float = 1e-12, dropout: float = 0.0):
        super().__init__()
        self.mixer, self.mlp = mixer.build(width=width), mlp.build(width=width)
        self.norm_mixer, self.norm_mlp = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.dropout = dropout

    def forward(self, x: Tensor, env: Env) -> Tensor:
        drop = self.dropout if self.training else 0.0
        x = self.norm_mixer(x + _dropped(self.mixer(x, env), drop))
        return self.norm_mlp(x + _dropped(self.mlp(x, env), drop))


class ToldTwice(Block):
    """Self-attention modulated by the first half of the modulation, cross-attention to what is told, an MLP modulated by the second half.

    Both are gated; the halves are time, and time with hidden state (FlowAR's official code, the block of its larger sizes). modulation (B, n, 2 D).
    With the cross-attention silent and both halves alike it is a PreNorm that is modulated by one map.
    """

    def __init__(self, width: int, mixer: Spec, cross: Spec, mlp: Spec, norm: Literal["layer", "rms"] = "rms", eps: float = 1e-6):
        super().__init__()
        self.mixer, self.cross, self.mlp = (part.build(width=width) for part in (mixer, cross, mlp))
        self.norms = nn.ModuleList(make_norm(norm, width, affine=False, eps=eps) for _ in range(3))
        self.mods = nn.ModuleList(AdaLN(width, 3, zero=False) for _ in range(2))

    def forward(self, x: Tensor, env: Env) -> Tensor:
        assert env.modulation is not None
        (shift, scale, gate), (shift2, scale2, gate2) = (mod(half) for mod, half in zip(self.mods, env.modulation.chunk(2, -1), strict=True))
        x = torch.addcmul(x, gate, self.mixer(modulated(self.norms[0](x), shift, scale), env))
        x = x + self.cross(self.norms[1](x), env)
        return torch.addcmul(x, gate2, self.mlp(modulated(self.norms[2](x), shift2, scale2), env))


class BranchNorm(Block):
    """x + norm(mixer(x)), then x + norm(mlp(x)): each branch normed before it is added (Chameleon, arXiv:2405.09818, section 2.3; Swin v2).

    kinds: everything apart for each kind of token, attention alone joins them (mixture of transformers, arXiv:2411.04996, equation 2). 0: one for all.
    """

    def __init__(self, width: int, mixer: Spec, mlp: Spec, norm: Literal["layer", "rms"] = "rms", eps: float = 1e-5, kinds: int = 0):
        super().__init__()
        self.mixer, self.mlp = mixer.build(width=width, kinds=kinds), mlp.build(width=width, kinds=kinds)
        make = lambda: make_norm(norm, width, eps=eps)  # noqa: E731
        self.norm_mixer, self.norm_mlp = Streams(1, make, kinds), Streams(1, make, kinds)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        x = x + self.norm_mixer.through(self.mixer(x, env), env)
        return x + self.norm_mlp.through(self.mlp(x, env), env)


class Sandwich(Block):
    """x += tanh(g) norm(mixer((1 + s) norm(x))), then the same with the MLP: a branch is normed before it and behind it, without weights, stretched and gated.

    s and g of both branches are a map's four parts, which starts at zero, so that a fresh block changes nothing (LaVin-DiT, arXiv:2411.11505, section 3.3,
    and blocks.py of its code). modulation (B, 1, D). kinds: map, mixer and MLP are apart for each kind of token, and so is the modulation, (B, kinds, D).
    """

    def __init__(self, width: int, mixer: Spec, mlp: Spec, norm: Literal["layer", "rms"] = "rms", eps: float = 1e-6, kinds: int = 0):
        super().__init__()
        self.mixer, self.mlp = mixer.build(width=width, kinds=kinds), mlp.build(width=width, kinds=kinds)
        self.norms = nn.ModuleList(make_norm(norm, width, affine=False, eps=eps) for _ in range(4))
        self.maps = nn.ModuleList(AdaLN(width, 4) for _ in range(max(kinds, 1)))

    def forward(self, x: Tensor, env: Env) -> Tensor:
        told, num = env.modulation, len(self.maps)
        if told is None or told.shape[1] != num:
            found = "none" if told is None else f"{told.shape[1]}"
            raise BadArgument(f"a sandwiched block of {num} kinds of tokens is told {num} modulations a row, not {found}; give the network a time, or ByRole")
        each = zip(*(m(told[:, i : i + 1]) for i, m in enumerate(self.maps)), strict=True)
        scale, gate, scale2, gate2 = (self._spread(torch.cat(parts, 1), env.kind) for parts in each)
        x = x + gate.tanh() * self.norms[1](self.mixer(self.norms[0](x) * (1 + scale), env))
        return x + gate2.tanh() * self.norms[3](self.mlp(self.norms[2](x) * (1 + scale2), env))

    @staticmethod
    def _spread(parts: Tensor, kind: Tensor) -> Tensor:
        """(B, kinds, D) at (B, L) -> (B, L, D); of one kind as it is."""
        return parts if parts.shape[1] == 1 else parts.gather(1, kind[..., None].expand(-1, -1, parts.shape[-1]))


class Chain(Block):
    """Blocks one after another as one: where a layer is several (VDT: time, then space and an MLP). One block in a chain is that block."""

    def __init__(self, width: int, blocks: tuple[Spec, ...], space: Space | None = None):
        super().__init__()
        if not blocks:
            raise BadArgument("a chain has a block or more; give blocks")
        self.blocks = nn.ModuleList(b.build(width=width, space=space) for b in blocks)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        for block in self.blocks:
            x = block(x, env)
        return x


class Parallel(Block):
    """x + mixer(norm(x)) + mlp(norm'(x)): both read the same stream (GPT-J; GPT-NeoX with a norm each, arXiv:2204.06745, section 2.1)."""

    def __init__(self, width: int, mixer: Spec, mlp: Spec, norm: Literal["layer", "rms"] = "layer", eps: float = 1e-5, dropout: float = 0.0):
        super().__init__()
        self.mixer, self.mlp = mixer.build(width=width), mlp.build(width=width)
        self.norm_mixer, self.norm_mlp = make_norm(norm, width, eps=eps), make_norm(norm, width, eps=eps)
        self.dropout = dropout

    def forward(self, x: Tensor, env: Env) -> Tensor:
        drop = self.dropout if self.training else 0.0
        return x + _dropped(self.mixer(self.norm_mixer(x), env), drop) + _dropped(self.mlp(self.norm_mlp(x), env), drop)


class SingleStream(Block):
    """x + gate (mixer(m) + mlp(m)) with m = mod(norm(x)): attention and MLP beside each other under one modulation of three parts (ViT-22B, arXiv:2302.05442,
    section 2; FLUX's and Meissonic's single-modal blocks, whose one map of [attention, hidden units] is the sum of an output map each).

    With shift and scale 0 and gate 1 it is a Parallel whose norms have no weights. A mixer without a bias at its output leaves that to the MLP.
    """

    def __init__(self, width: int, mixer: Spec, mlp: Spec, norm: Literal["layer", "rms"] = "layer", eps: float = 1e-6):
        super().__init__()
        self.mixer, self.mlp = mixer.build(width=width), mlp.build(width=width)
        self.norm = make_norm(norm, width, affine=False, eps=eps)
        self.modulation = AdaLN(width, 3)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        assert env.modulation is not None
        shift, scale, gate = self.modulation(env.modulation)
        m = modulated(self.norm(x), shift, scale)
        return torch.addcmul(x, gate, self.mixer(m, env) + self.mlp(m, env))
