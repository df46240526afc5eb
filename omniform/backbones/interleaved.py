"""Groups of tokens with a few latents each: layers inside groups and layers among all latents take turns."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..core.errors import BadArgument
from ..core.net import Block, Env
from ..core.spec import Spec
from ..core.tokens import Space
from .attention.kernels import attend
from .attention.windows import tiled, whole_grid


class Reading(nn.Module):
    """x + attention to y, both normed, at the width and heads of the narrower (FIT's code: cross-attention without an MLP). x (B, N, D), y (B, M, E)."""

    def __init__(self, width: int, other: int, heads: int):
        super().__init__()
        inner = min(width, other)
        if inner % heads:
            raise BadArgument(f"a width of {inner} does not divide into {heads} heads; choose another number of heads")
        self.heads = heads
        self.norm, self.norm_other = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(other, eps=1e-6)
        self.q, self.kv, self.out = nn.Linear(width, inner), nn.Linear(other, 2 * inner), nn.Linear(inner, width)

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        split = lambda z: z.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        k, v = self.kv(self.norm_other(y)).chunk(2, -1)
        said = attend(split(self.q(self.norm(x))), split(k), split(v), mask=mask, causal=False)
        return x + self.out(said.transpose(1, 2).flatten(2))


class Interleaved(Block):
    """FIT (arXiv:2305.12689; official code FITDenoiser): in each group of `group` places local layers; its `latents` read them and what the system is told
    (time and "cross"); global layers over the latents of all groups; the group reads its latents. The last layers are local.

    layers: (local, global) counts, "(2)4(2)4(2)" being ((2, 4), (2, 4), (2, 0)). block, latent_block: of either kind, unmodulated. A place is known inside its
    group only, a group by its learned latents. With one group and no global layers it is a stack of `block`. Attention costs L n + (m L / n)^2 a pair of
    layers: L^(4/3) at n = L^(1/3). The latents of the last question are not kept for the next (the code's latent self-conditioning is left out).
    """

    def __init__(
        self,
        width: int,
        space: Space,
        group: tuple[int, ...],
        latents: int,
        latent_width: int,
        layers: tuple[tuple[int, int], ...],
        block: Spec,
        latent_block: Spec,
        heads: int = 8,
    ):
        super().__init__()
        if not layers or layers[-1][1]:
            raise BadArgument(f"the last layers are local, since nobody reads latents after them; end with (n, 0), not {layers[-1:]}")
        self.space = space
        order, _ = tiled(space, tuple(group), (0,) * len(space.axes))
        self.groups, self.places = order.shape
        self.register_buffer("order", order.flatten(), persistent=False)
        self.register_buffer("back", order.flatten().argsort(), persistent=False)
        self.enter = nn.LayerNorm(width, eps=1e-6)
        self.place = nn.Parameter(torch.randn(self.places, width) * 0.02)
        self.local = nn.ModuleList(nn.ModuleList(block.build(width=width) for _ in range(num)) for num, _ in layers)
        among = range(len(layers) - 1)
        self.codes = nn.Parameter(torch.randn(self.groups * latents, latent_width) * 0.02) if among else None
        self.told = nn.Linear(width, latent_width) if among else None
        self.reads = nn.ModuleList(Reading(latent_width, width, heads) for _ in among)
        self.listens = nn.ModuleList(Reading(latent_width, latent_width, heads) for _ in among)
        self.globals = nn.ModuleList(nn.ModuleList(latent_block.build(width=latent_width) for _ in range(num)) for _, num in layers[:-1])
        self.writes = nn.ModuleList(Reading(width, latent_width, heads) for _ in among)
        self.leave = nn.LayerNorm(width, eps=1e-6)

    def _said(self, env: Env) -> tuple[Tensor, Tensor]:
        """What latents are told (B, M, latent width), and which of it is real (B, 1, 1, M)."""
        parts, real = [], []
        if env.time is not None:
            parts, real = [env.time], [torch.ones_like(env.doc[:, :1], dtype=torch.bool)]
        if env.context.cross is not None:
            parts, real = [*parts, env.context.cross.tokens], [*real, env.context.cross.doc >= 0]
        if not parts:
            raise BadArgument('Interleaved has nothing to tell its latents; give the network a time, or a condition placed "cross"')
        return self.told(torch.cat(parts, 1)), torch.cat(real, 1)[:, None, None]  # type: ignore[misc]

    def forward(self, x: Tensor, env: Env) -> Tensor:
        whole_grid(self, env, self.space)
        rows, width = x.shape[0], x.shape[2]
        env = replace(env, rotation=None, modulation=None)
        x = (self.enter(x[:, self.order]).unflatten(1, (self.groups, -1)) + self.place).flatten(0, 1)
        z = None if self.codes is None else self.codes.expand(rows, -1, -1)
        said = None if z is None else self._said(env)
        for number, layers in enumerate(self.local):
            for layer in layers:
                x = layer(x, env)
            if number == len(self.reads):
                break
            own = lambda y: y.reshape(rows * self.groups, -1, y.shape[-1])  # noqa: E731
            z = self.reads[number](own(z), x).reshape(rows, -1, z.shape[-1])
            z = self.listens[number](z, said[0], said[1])
            for layer in self.globals[number]:
                z = layer(z, env)
            x = self.writes[number](x, own(z))
        return self.leave(x.reshape(rows, -1, width)[:, self.back])
