"""GPT, DiT and MaskGIT as one writes them for a single paper: plain functions on the weights of a built system.

In the manner of nanoGPT's model.py, with a preallocated cache, and of DiT's models.py: no query, no turn, no session, no module call.
This is what the engine is measured against, so it takes every short cut that its one family allows: fused maps, positions made once, both
sides of guidance in one batch.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Weights = dict[str, Tensor]
PREFIX = "network.towers.main."


def weights_of(system: nn.Module, *, own: bool = False) -> Weights:
    """The parameters by name: the system's own tensors, or copies to be trained beside it."""
    return {n: p.detach().clone().requires_grad_() if own else p.detach() for n, p in system.named_parameters()}


class Block(NamedTuple):
    """A transformer block's tensors; norms without weights have None."""

    qkv: tuple[Tensor, Tensor]
    out: tuple[Tensor, Tensor]
    up: tuple[Tensor, Tensor]
    down: tuple[Tensor, Tensor]
    norm_mixer: tuple[Tensor | None, Tensor | None]
    norm_mlp: tuple[Tensor | None, Tensor | None]
    modulation: tuple[Tensor | None, Tensor | None]


def pair(w: Weights, name: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a map that is called so."""
    return w.get(name + ".weight"), w.get(name + ".bias")  # type: ignore[return-value]


def blocks_of(w: Weights) -> list[Block]:
    """The blocks in their order."""
    paths = {"qkv": "mixer.qkv.each.0", "out": "mixer.out.each.0", "up": "mlp.feed.each.0.up", "down": "mlp.feed.each.0.down",
             "norm_mixer": "norm_mixer", "norm_mlp": "norm_mlp", "modulation": "modulation.0.out"}
    depth = 1 + max(int(n.split("blocks.")[1].split(".")[0]) for n in w if ".blocks." in n)
    return [Block(**{field: pair(w, f"{PREFIX}backbone.blocks.{i}.{path}") for field, path in paths.items()}) for i in range(depth)]


def attention(x: Tensor, b: Block, heads: int, causal: bool = False) -> Tensor:
    """Every token sees every token, or every earlier one."""
    rows, length, width = x.shape
    q, k, v = (y.view(rows, length, heads, width // heads).transpose(1, 2) for y in F.linear(x, *b.qkv).split(width, 2))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return F.linear(y.transpose(1, 2).reshape(rows, length, width), *b.out)


def mlp(x: Tensor, b: Block) -> Tensor:
    """Linear, GELU, Linear."""
    return F.linear(F.gelu(F.linear(x, *b.up), approximate="tanh"), *b.down)


# ---- GPT --------------------------------------------------------------------------------------------------------------------------------------------


class Gpt:
    """GPT-2: causal, pre-norm, learned positions, tied output."""

    def __init__(self, w: Weights, heads: int, start: int):
        self.blocks, self.heads, self.start = blocks_of(w), heads, start
        self.table, self.places = w[PREFIX + "embed.tables.0.weight"], w[PREFIX + "embed.positions.0.table"]
        self.norm = pair(w, PREFIX + "backbone.final")
        self.width = self.table.shape[1]

    def logits(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, V): what follows each."""
        x = F.embedding(ids, self.table) + self.places[: ids.shape[1]]
        for b in self.blocks:
            x = x + attention(F.layer_norm(x, (self.width,), *b.norm_mixer, 1e-5), b, self.heads, causal=True)
            x = x + mlp(F.layer_norm(x, (self.width,), *b.norm_mlp, 1e-5), b)
        return F.linear(F.layer_norm(x, (self.width,), *self.norm, 1e-5), self.table)

    def loss(self, ids: Tensor) -> Tensor:
        """Mean nats a token."""
        begun = torch.cat([torch.full_like(ids[:, :1], self.start), ids[:, :-1]], 1)
        logits = self.logits(begun)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), ids.reshape(-1))

    @torch.no_grad()
    def decode(self, rows: int, length: int, choose: Callable[[Tensor, int], Tensor]) -> Tensor:
        """(rows, length) ids, one after the other; choose(logits (B, V), step) -> (B,)."""
        heads, each = self.heads, self.width // self.heads
        cache = [(torch.empty(rows, heads, length, each), torch.empty(rows, heads, length, each)) for _ in self.blocks]
        ids = torch.full((rows, length + 1), self.start)
        for t in range(length):
            x = F.embedding(ids[:, t: t + 1], self.table) + self.places[t]
            for b, (keys, values) in zip(self.blocks, cache, strict=True):
                q, k, v = F.linear(F.layer_norm(x, (self.width,), *b.norm_mixer, 1e-5), *b.qkv).split(self.width, 2)
                keys[:, :, t: t + 1] = k.view(rows, 1, heads, each).transpose(1, 2)
                values[:, :, t: t + 1] = v.view(rows, 1, heads, each).transpose(1, 2)
                y = F.scaled_dot_product_attention(q.view(rows, 1, heads, each).transpose(1, 2), keys[:, :, : t + 1], values[:, :, : t + 1])
                x = x + F.linear(y.transpose(1, 2).reshape(rows, 1, self.width), *b.out)
                x = x + mlp(F.layer_norm(x, (self.width,), *b.norm_mlp, 1e-5), b)
            ids[:, t + 1] = choose(F.linear(F.layer_norm(x, (self.width,), *self.norm, 1e-5), self.table)[:, 0], t)
        return ids[:, 1:]


def greedy(logits: Tensor, step: int) -> Tensor:
    """The likeliest."""
    return logits.argmax(-1)


def drawn(logits: Tensor, step: int) -> Tensor:
    """A draw, from torch's own generator."""
    return torch.multinomial(logits.softmax(-1), 1)[:, 0]


# ---- DiT --------------------------------------------------------------------------------------------------------------------------------------------


def sines(rows: int, columns: int, width: int) -> Tensor:
    """(rows * columns, width): DiT's fixed positions, made once."""
    frequency = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    y, x = torch.meshgrid(torch.arange(rows, dtype=torch.float64), torch.arange(columns, dtype=torch.float64), indexing="ij")
    angles = [place.reshape(-1, 1) * frequency for place in (x, y)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], 1).float()


class Dit:
    """DiT with a velocity: time and class by adaLN-zero."""

    def __init__(self, w: Weights, heads: int, side: int):
        self.blocks, self.heads = blocks_of(w), heads
        self.enter, self.out = pair(w, PREFIX + "embed.enter"), pair(w, PREFIX + "head.out")
        self.last = pair(w, PREFIX + "backbone.final_mod.out")
        self.time = pair(w, "network.time.net.0"), pair(w, "network.time.net.2")
        self.labels = w["conditioning.parts.label.table.weight"]
        self.width = self.labels.shape[1]
        self.places = sines(side, side, self.width)
        self.frequency = torch.exp(-math.log(10000.0) * torch.arange(128) / 128)

    @property
    def null(self) -> int:
        """The label that says nothing."""
        return len(self.labels) - 1

    def __call__(self, z: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """z (B, L, C), t (B,), label (B,) -> velocity."""
        angle = 1000.0 * (1 - t)[:, None] * self.frequency
        c = F.linear(F.silu(F.linear(torch.cat([angle.cos(), angle.sin()], 1), *self.time[0])), *self.time[1]) + F.embedding(label, self.labels)
        x = F.linear(z, *self.enter) + self.places
        told = F.silu(c)[:, None]
        for b in self.blocks:
            shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = F.linear(told, *b.modulation).chunk(6, 2)
            x = x + gate * attention(F.layer_norm(x, (self.width,), None, None, 1e-6) * (1 + scale) + shift, b, self.heads)
            x = x + gate_mlp * mlp(F.layer_norm(x, (self.width,), None, None, 1e-6) * (1 + scale_mlp) + shift_mlp, b)
        shift, scale = F.linear(told, *self.last).chunk(2, 2)
        return F.linear(F.layer_norm(x, (self.width,), None, None, 1e-6) * (1 + scale) + shift, *self.out)

    @torch.no_grad()
    def sample(self, noise: Tensor, label: Tensor, steps: int, scale: float = 1.0) -> Tensor:
        """Euler from noise to data; guided where scale is not 1, both sides in one batch."""
        z, rows = noise, len(noise)
        both = torch.cat([label, torch.full_like(label, self.null)])
        for i in range(steps):
            t = torch.full((rows,), i / steps)
            if scale == 1:
                v = self(z, t, label)
            else:
                said, unsaid = self(torch.cat([z, z]), torch.cat([t, t]), both).chunk(2)
                v = unsaid + scale * (said - unsaid)
            z = z + v / steps
        return z

    def loss(self, x: Tensor, label: Tensor, t: Tensor, noise: Tensor, drop: Tensor) -> Tensor:
        """Mean half squared error a token; where drop (B,), the label is unsaid."""
        s = t[:, None, None]
        v = self(s * x + (1 - s) * noise, t, torch.where(drop, self.null, label))
        return 0.5 * (v - (x - noise)).square().sum(-1).mean()


# ---- MaskGIT ----------------------------------------------------------------------------------------------------------------------------------------


class Draws(NamedTuple):
    """Where MaskGIT's randomness comes from: ids (B, L) of logits, and noise on the confidence."""

    ids: Callable[[Tensor, int], Tensor]
    noise: Callable[[tuple[int, int], int], Tensor]


def own_draws() -> Draws:
    """From torch's own generator."""
    return Draws(lambda logits, step: torch.multinomial(logits.flatten(0, 1).softmax(-1), 1).view(logits.shape[:2]),
                 lambda shape, step: -torch.log(-torch.log(torch.rand(shape).clamp_(min=1e-20))))


def with_mask_row(w: Weights) -> Weights:
    """The mask vector as the last row of the table of codes."""
    name = PREFIX + "embed.tables.0.weight"
    table = torch.cat([w[name], w[PREFIX + "embed.mask"][None]]).detach().requires_grad_(w[name].requires_grad)
    return {n: table if n == name else p for n, p in w.items() if n != PREFIX + "embed.mask"}


class MaskGit:
    """MaskGIT: post-norm, the class as a token in front, the mask as one more row of the table."""

    def __init__(self, w: Weights, heads: int):
        self.blocks, self.heads = blocks_of(w), heads
        self.table = w[PREFIX + "embed.tables.0.weight"]
        self.codes = len(self.table) - 1
        self.places, self.labels = w[PREFIX + "embed.positions.0.table"], w["conditioning.parts.label.table.weight"]
        self.norm, self.dense, self.after = pair(w, PREFIX + "embed.norm"), pair(w, PREFIX + "head.transform.0"), pair(w, PREFIX + "head.transform.2")
        self.bias = w[PREFIX + "head.bias"]
        self.width = self.table.shape[1]

    def logits(self, ids: Tensor, label: Tensor) -> Tensor:
        """(B, L), with `codes` where hidden -> (B, L, V)."""
        x = F.layer_norm(F.embedding(ids, self.table) + self.places, (self.width,), *self.norm, 1e-12)
        x = torch.cat([F.embedding(label, self.labels)[:, None], x], 1)
        for b in self.blocks:
            x = F.layer_norm(x + attention(x, b, self.heads), (self.width,), *b.norm_mixer, 1e-12)
            x = F.layer_norm(x + mlp(x, b), (self.width,), *b.norm_mlp, 1e-12)
        x = F.layer_norm(F.gelu(F.linear(x[:, 1:], *self.dense), approximate="tanh"), (self.width,), *self.after, 1e-12)
        return F.linear(x, self.table[: self.codes], self.bias)

    @torch.no_grad()
    def sample(self, rows: int, label: Tensor, steps: int, noise: float, draws: Draws) -> Tensor:
        """(rows, L): the most confident stay, the others are hidden again, a cosine's share at each step."""
        length = len(self.places)
        ids = torch.full((rows, length), self.codes)
        for i in range(steps):
            u = torch.tensor((i + 1) / steps)
            logits = self.logits(ids, label)
            guess = draws.ids(logits, i)
            hidden = ids == self.codes
            if i + 1 == steps:
                return torch.where(hidden, guess, ids)
            belief = logits.log_softmax(-1).gather(2, guess[..., None])[..., 0] + noise * (1 - u) * draws.noise((rows, length), i)
            left = max(1, min(int(torch.cos(u * math.pi / 2) * length), int(hidden[0].sum()) - 1))
            again = belief.masked_fill(~hidden, torch.inf).topk(left, largest=False).indices
            ids = torch.where(hidden, guess, ids).scatter(1, again, self.codes)
        return ids

    def loss(self, ids: Tensor, label: Tensor, share: Tensor, key: Tensor) -> Tensor:
        """Mean nats a hidden code, labels smoothed by 0.1; share (B,) hidden, lowest key (B, L) first."""
        count = (share * ids.shape[1]).ceil().clamp(min=1)
        hidden = key.argsort(1).argsort(1) < count[:, None]
        logits = self.logits(torch.where(hidden, self.codes, ids), label)
        return F.cross_entropy(logits[hidden], ids[hidden], label_smoothing=0.1)
