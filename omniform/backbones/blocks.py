"""Residual blocks: a mixer and an MLP, normed before or after."""

from __future__ import annotations

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

Modulate = Literal["zero", "single"]


def _dropped(x: Tensor, share: float) -> Tensor:
    return F.dropout(x, share) if share else x


class PreNorm(Block):
    """x += gate mixer(mod(norm(x))), then cross-attention where there is one, then x += gate mlp(mod(norm(x))).

    modulate "zero": adaLN-Zero (DiT); "single": adaLN-single (PixArt-alpha); a Spec of such a map; None: plain pre-norm.
    affine: whether norms have weights (default: unless modulated).
    streams 2: the prefix is modulated by weights of its own (MM-DiT). dropout acts on both branches before the residual. space: for mixers that know the grid.
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
    ):
        super().__init__()
        affine = modulate is None if affine is None else affine
        make = lambda: make_norm(norm, width, affine=affine, eps=eps, bias=bias)  # noqa: E731
        self.mixer = mixer.build(width=width, streams=streams, space=space)
        self.mlp = mlp.build(width=width, streams=streams) if mlp else None
        self.norm_mixer, self.norm_mlp = make(), make() if mlp else None
        self.cross = cross.build(width=width) if cross else None
        self.norm_cross = make() if cross and modulate is None else None  # PixArt: modulated blocks cross-attend to the bare stream
        chunks = 6 if mlp else 3
        if modulate not in (None, "zero", "single") and not isinstance(modulate, Spec):
            raise BadArgument(f"modulate is 'zero', 'single', a Spec or None, not {modulate!r}")
        self.modulate = modulate
        part = modulate if isinstance(modulate, Spec) else {"zero": Spec(AdaLN), "single": Spec(SharedAdaLN)}.get(modulate or "")
        self.modulation = nn.ModuleList(part.build(width=width, chunks=chunks) for _ in range(streams)) if part else None
        self.dropout = dropout

    def _chunks(self, env: Env, length: int) -> list[Tensor]:
        """Shift, scale, gate of mixer and MLP, each (B, 1 or L, D)."""
        assert env.modulation is not None
        each = [m(env.modulation) for m in self.modulation or ()]
        if len(each) == 1 or env.prefix == 0:
            return list(each[0])
        spread = lambda x, first, last: x.expand(-1, last - first, -1) if x.shape[1] == 1 else x[:, first:last]  # noqa: E731
        return [torch.cat([spread(p, 0, env.prefix), spread(s, env.prefix, length)], 1) for s, p in zip(*each, strict=True)]

    def forward(self, x: Tensor, env: Env) -> Tensor:
        mlp, drop = self.mlp, self.dropout if self.training else 0.0
        if self.modulation is None:
            y = self.mixer(self.norm_mixer(x), env)
            x = x + (_dropped(y, drop) if drop else y)
            if self.cross is not None:
                x = x + self.cross(self.norm_cross(x), env)
            if mlp is None:
                return x
            y = mlp(self.norm_mlp(x), env)
            return x + (_dropped(y, drop) if drop else y)
        c = self._chunks(env, x.shape[1])
        x = torch.addcmul(x, c[2], _dropped(self.mixer(modulated(self.norm_mixer(x), c[0], c[1]), env), drop))
        if self.cross is not None:
            x = x + self.cross(x, env)
        if mlp is None:
            return x
        return torch.addcmul(x, c[5], _dropped(mlp(modulated(self.norm_mlp(x), c[3], c[4]), env), drop))


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
