"""GPT, DiT and MaskGIT as one writes them for a single paper, on the weights of a built system: no query, no turn, no session.

In the manner of nanoGPT's model.py, with a preallocated cache, and of DiT's models.py. Each family takes the short cuts that only it allows: fused maps,
positions made once, both sides of guidance in one batch. In two styles: "modules", as people write them, where every linear map, norm and block is
an nn.Module that is called; and "functions", the same code on bare tensors, which no library's user writes and nothing undercuts.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Weights = dict[str, Tensor]
Style = Literal["modules", "functions"]
PREFIX = "network.towers.main."


def weights_of(system: nn.Module, *, own: bool = False) -> Weights:
    """The parameters by name: the system's own tensors, or copies to be trained beside it."""
    return {n: p.detach().clone().requires_grad_() if own else p.detach() for n, p in system.named_parameters()}


class Parts:
    """Makes a network's parts from the weights, in a style."""

    def __init__(self, weights: Weights, style: Style):
        self.weights, self.style = weights, style
        self.depth = 1 + max(int(n.split("blocks.")[1].split(".")[0]) for n in weights if ".blocks." in n)

    def called(self, module: nn.Module) -> Any:
        """A module to be called, or its bare forward."""
        return module if self.style == "modules" else module.forward

    def linear(self, name: str) -> Any:
        """x W^T + b."""
        weight, bias = self.weights[name + ".weight"], self.weights.get(name + ".bias")
        if self.style == "functions":
            return partial(F.linear, weight=weight, bias=bias)
        made = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=bias is not None)
        return _holding(made, weight, bias)

    def norm(self, name: str, width: int, eps: float) -> Any:
        """LayerNorm, with weights where there are some."""
        weight, bias = self.weights.get(name + ".weight"), self.weights.get(name + ".bias")
        if self.style == "functions":
            return partial(F.layer_norm, normalized_shape=(width,), weight=weight, bias=bias, eps=eps)
        return _holding(nn.LayerNorm(width, eps=eps, elementwise_affine=weight is not None), weight, bias)

    def attention(self, name: str, heads: int) -> Any:
        return self.called(Attention(self.linear(name + ".qkv.each.0"), self.linear(name + ".out.each.0"), heads))

    def mlp(self, name: str) -> Any:
        return self.called(Mlp(self.linear(name + ".feed.each.0.up"), self.linear(name + ".feed.each.0.down")))


def _holding(module: nn.Module, weight: Tensor | None, bias: Tensor | None) -> nn.Module:
    """The module on these tensors."""
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None:
            module.register_parameter(name, x if isinstance(x, nn.Parameter) else nn.Parameter(x, requires_grad=x.requires_grad))
    return module


class Attention(nn.Module):
    """Every token sees every token, or every earlier one."""

    def __init__(self, qkv: Any, out: Any, heads: int):
        super().__init__()
        self.qkv, self.out, self.heads = qkv, out, heads

    def forward(self, x: Tensor, causal: bool = False, cache: tuple[Tensor, Tensor] | None = None, at: int = 0) -> Tensor:
        rows, length, width = x.shape
        q, k, v = self.qkv(x).split(width, 2)
        q = q.view(rows, length, self.heads, width // self.heads).transpose(1, 2)
        k = k.view(rows, length, self.heads, width // self.heads).transpose(1, 2)
        v = v.view(rows, length, self.heads, width // self.heads).transpose(1, 2)
        if cache is not None:
            keys, values = cache
            keys[:, :, at: at + length], values[:, :, at: at + length] = k, v
            k, v = keys[:, :, : at + length], values[:, :, : at + length]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out(y.transpose(1, 2).reshape(rows, length, width))


class Mlp(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, up: Any, down: Any):
        super().__init__()
        self.up, self.down = up, down

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


# ---- GPT ------------------------------------------------------------------------------------------------------------


class GptBlock(nn.Module):
    """Pre-norm."""

    def __init__(self, parts: Parts, name: str, width: int, heads: int):
        super().__init__()
        self.norm_mixer, self.attention = parts.norm(name + ".norm_mixer", width, 1e-5), parts.attention(name + ".mixer", heads)
        self.norm_mlp, self.mlp = parts.norm(name + ".norm_mlp", width, 1e-5), parts.mlp(name + ".mlp")

    def forward(self, x: Tensor, causal: bool, cache: tuple[Tensor, Tensor] | None = None, at: int = 0) -> Tensor:
        x = x + self.attention(self.norm_mixer(x), causal, cache, at)
        return x + self.mlp(self.norm_mlp(x))


class Gpt:
    """GPT-2: causal, pre-norm, learned positions, tied output."""

    def __init__(self, weights: Weights, heads: int, start: int, style: Style = "functions"):
        parts = Parts(weights, style)
        self.table, self.places = weights[PREFIX + "embed.tables.0.weight"], weights[PREFIX + "embed.positions.0.table"]
        self.width, self.heads, self.start = self.table.shape[1], heads, start
        self.blocks = [parts.called(GptBlock(parts, f"{PREFIX}backbone.blocks.{i}", self.width, heads)) for i in range(parts.depth)]
        self.norm = parts.norm(PREFIX + "backbone.final", self.width, 1e-5)

    def loss(self, ids: Tensor) -> Tensor:
        """Mean nats a token."""
        begun = torch.cat([torch.full_like(ids[:, :1], self.start), ids[:, :-1]], 1)
        x = F.embedding(begun, self.table) + self.places[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, True)
        logits = F.linear(self.norm(x), self.table)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), ids.reshape(-1))

    @torch.no_grad()
    def decode(self, rows: int, length: int, stop: int, choose: Callable[[Tensor, int], Tensor]) -> Iterator[Tensor]:
        """(rows, up to length) ids, growing by one at a time until every row has stopped; choose(logits (B, V), step) -> (B,)."""
        shape = (rows, self.heads, length, self.width // self.heads)
        caches = [(torch.empty(shape), torch.empty(shape)) for _ in self.blocks]
        ids, done = torch.full((rows, length + 1), self.start), torch.zeros(rows, dtype=torch.bool)
        for t in range(length):
            x = F.embedding(ids[:, t: t + 1], self.table) + self.places[t]
            for block, cache in zip(self.blocks, caches, strict=True):
                x = block(x, False, cache, t)
            ids[:, t + 1] = choose(F.linear(self.norm(x), self.table)[:, 0], t)
            done |= ids[:, t + 1] == stop
            yield ids[:, 1: t + 2]
            if done.all():
                return


def greedy(logits: Tensor, step: int) -> Tensor:
    """The likeliest."""
    return logits.argmax(-1)


def drawn(logits: Tensor, step: int) -> Tensor:
    """A draw, from torch's own generator."""
    return torch.multinomial(logits.softmax(-1), 1)[:, 0]


# ---- DiT ------------------------------------------------------------------------------------------------------------


def sines(side: int, width: int) -> Tensor:
    """(side * side, width): DiT's fixed positions, made once."""
    frequency = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    y, x = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 2, indexing="ij")
    angles = [place.reshape(-1, 1) * frequency for place in (x, y)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], 1).float()


class DitBlock(nn.Module):
    """adaLN-zero."""

    def __init__(self, parts: Parts, name: str, width: int, heads: int):
        super().__init__()
        self.modulation = parts.linear(name + ".modulation.0.out")
        self.norm_mixer, self.attention = parts.norm(name + ".norm_mixer", width, 1e-6), parts.attention(name + ".mixer", heads)
        self.norm_mlp, self.mlp = parts.norm(name + ".norm_mlp", width, 1e-6), parts.mlp(name + ".mlp")

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = self.modulation(F.silu(c)).unsqueeze(1).chunk(6, 2)
        x = x + gate * self.attention(self.norm_mixer(x) * (1 + scale) + shift)
        return x + gate_mlp * self.mlp(self.norm_mlp(x) * (1 + scale_mlp) + shift_mlp)


class Dit:
    """DiT with a velocity: time and class by adaLN-zero."""

    def __init__(self, weights: Weights, heads: int, side: int, style: Style = "functions"):
        parts = Parts(weights, style)
        self.labels = weights["conditioning.parts.label.table.weight"]
        self.width, self.null = self.labels.shape[1], len(self.labels) - 1
        self.enter, self.out, self.last = (parts.linear(PREFIX + n) for n in ("embed.enter", "head.out", "backbone.final_mod.out"))
        self.time = [parts.linear("network.time.net.0"), parts.linear("network.time.net.2")]
        self.blocks = [parts.called(DitBlock(parts, f"{PREFIX}backbone.blocks.{i}", self.width, heads)) for i in range(parts.depth)]
        self.norm = parts.norm(PREFIX + "backbone.final", self.width, 1e-6)
        self.places = sines(side, self.width)
        self.frequency = torch.exp(-math.log(10000.0) * torch.arange(128) / 128)

    def velocity(self, z: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """z (B, L, C), t (B,), label (B,) -> (B, L, C)."""
        angle = 1000.0 * (1 - t)[:, None] * self.frequency
        c = self.time[1](F.silu(self.time[0](torch.cat([angle.cos(), angle.sin()], 1)))) + F.embedding(label, self.labels)
        x = self.enter(z) + self.places
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.last(F.silu(c)).unsqueeze(1).chunk(2, 2)
        return self.out(self.norm(x) * (1 + scale) + shift)

    @torch.no_grad()
    def sample(self, noise: Tensor, label: Tensor, steps: int, scale: float = 1.0) -> Iterator[Tensor]:
        """Euler from noise to data; guided where scale is not 1, both sides in one batch."""
        z, rows = noise, len(noise)
        both = torch.cat([label, torch.full_like(label, self.null)])
        for i in range(steps):
            t = torch.full((rows,), i / steps)
            if scale == 1:
                v = self.velocity(z, t, label)
            else:
                said, unsaid = self.velocity(torch.cat([z, z]), torch.cat([t, t]), both).chunk(2)
                v = unsaid + scale * (said - unsaid)
            z = z + v / steps
            yield z

    def loss(self, x: Tensor, label: Tensor, t: Tensor, noise: Tensor, drop: Tensor) -> Tensor:
        """Mean half squared error a token; where drop (B,), the label is unsaid."""
        s = t[:, None, None]
        v = self.velocity(s * x + (1 - s) * noise, t, torch.where(drop, self.null, label))
        return 0.5 * (v - (x - noise)).square().sum(-1).mean()


# ---- MaskGIT --------------------------------------------------------------------------------------------------------


class Draws(NamedTuple):
    """Where MaskGIT's randomness comes from: ids (B, L) of logits, and noise on the confidence."""

    ids: Callable[[Tensor, int], Tensor]
    noise: Callable[[tuple[int, int], int], Tensor]


def own_draws() -> Draws:
    """From torch's own generator."""
    return Draws(lambda logits, step: torch.multinomial(logits.flatten(0, 1).softmax(-1), 1).view(logits.shape[:2]),
                 lambda shape, step: -torch.log(-torch.log(torch.rand(shape).clamp_(min=1e-20))))


def with_mask_row(weights: Weights) -> Weights:
    """The mask vector as the last row of the table of codes."""
    name = PREFIX + "embed.tables.0.weight"
    table = torch.cat([weights[name], weights[PREFIX + "embed.mask"][None]]).detach().requires_grad_(weights[name].requires_grad)
    return {n: table if n == name else p for n, p in weights.items() if n != PREFIX + "embed.mask"}


class MaskGitBlock(nn.Module):
    """Post-norm."""

    def __init__(self, parts: Parts, name: str, width: int, heads: int):
        super().__init__()
        self.attention, self.norm_mixer = parts.attention(name + ".mixer", heads), parts.norm(name + ".norm_mixer", width, 1e-12)
        self.mlp, self.norm_mlp = parts.mlp(name + ".mlp"), parts.norm(name + ".norm_mlp", width, 1e-12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_mixer(x + self.attention(x))
        return self.norm_mlp(x + self.mlp(x))


class MaskGit:
    """MaskGIT: post-norm, the class as a token in front, the mask as one more row of the table."""

    def __init__(self, weights: Weights, heads: int, style: Style = "functions"):
        parts = Parts(weights, style)
        self.table, self.places = weights[PREFIX + "embed.tables.0.weight"], weights[PREFIX + "embed.positions.0.table"]
        self.codes, self.width = len(self.table) - 1, self.table.shape[1]
        self.labels, self.bias = weights["conditioning.parts.label.table.weight"], weights[PREFIX + "head.bias"]
        self.norm, self.dense = parts.norm(PREFIX + "embed.norm", self.width, 1e-12), parts.linear(PREFIX + "head.transform.0")
        self.after = parts.norm(PREFIX + "head.transform.2", self.width, 1e-12)
        self.blocks = [parts.called(MaskGitBlock(parts, f"{PREFIX}backbone.blocks.{i}", self.width, heads)) for i in range(parts.depth)]

    def logits(self, ids: Tensor, label: Tensor) -> Tensor:
        """(B, L), with `codes` where hidden -> (B, L, V)."""
        x = self.norm(F.embedding(ids, self.table) + self.places)
        x = torch.cat([F.embedding(label, self.labels)[:, None], x], 1)
        for block in self.blocks:
            x = block(x)
        x = self.after(F.gelu(self.dense(x[:, 1:]), approximate="tanh"))
        return F.linear(x, self.table[: self.codes], self.bias)

    @torch.no_grad()
    def sample(self, rows: int, label: Tensor, steps: int, noise: float, draws: Draws) -> Iterator[Tensor]:
        """(rows, L): the most confident stay, the others are hidden again, a cosine's share at each step."""
        length = len(self.places)
        ids = torch.full((rows, length), self.codes)
        for i in range(steps):
            u = torch.tensor((i + 1) / steps)
            logits = self.logits(ids, label)
            guess = draws.ids(logits, i)
            hidden = ids == self.codes
            ids = torch.where(hidden, guess, ids)
            if i + 1 < steps:
                belief = logits.log_softmax(-1).gather(2, guess[..., None])[..., 0] + noise * (1 - u) * draws.noise((rows, length), i)
                left = max(1, min(int(torch.cos(u * math.pi / 2) * length), int(hidden[0].sum()) - 1))
                ids = ids.scatter(1, belief.masked_fill(~hidden, torch.inf).topk(left, largest=False).indices, self.codes)
            yield ids

    def loss(self, ids: Tensor, label: Tensor, share: Tensor, key: Tensor) -> Tensor:
        """Mean nats a hidden code, labels smoothed by 0.1; share (B,) hidden, lowest key (B, L) first."""
        count = (share * ids.shape[1]).ceil().clamp(min=1)
        hidden = key.argsort(1).argsort(1) < count[:, None]
        logits = self.logits(torch.where(hidden, self.codes, ids), label)
        return F.cross_entropy(logits[hidden], ids[hidden], label_smoothing=0.1)
