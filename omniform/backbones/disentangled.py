"""What is known by itself, and what is hidden reading it; with what was thought about known places at the question before (ENAT)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument, PatternUnsupported
from ..core.net import Block, Env
from ..core.spec import Spec
from .attention.kernels import attend
from .norms import AdaLN, modulated


class Reader(Block):
    """x += gate attention of x over [others, x], then x += gate mlp(x), modulated (adaLN-Zero): others are read and not answered.

    Keys and values of the others are maps of their own, and their norm has shift and scale of its own, so that there are eight parts of modulation (ENAT's
    code; section 4.1). x (B, n, D), others (B, m, D) or None; mask (B, 1, n, m + n) bool or None. Without others it is a PreNorm with modulate "zero".
    """

    def __init__(self, width: int, heads: int, mlp: Spec, eps: float = 1e-6):
        super().__init__()
        if heads < 1 or width % heads:
            raise BadArgument(f"width {width} does not divide into {heads} heads; choose another number of heads")
        self.heads = heads
        self.q, self.own, self.others = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)
        self.out, self.mlp = nn.Linear(width, width), mlp.build(width=width)
        self.norm = nn.LayerNorm(width, eps=eps, elementwise_affine=False)
        self.modulation = AdaLN(width, 8)

    def forward(self, x: Tensor, env: Env, others: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        assert env.modulation is not None
        shift, scale, shift2, scale2, gate, shift3, scale3, gate3 = self.modulation(env.modulation)
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        own = modulated(self.norm(x), shift, scale)
        kv = self.own(own) if others is None else torch.cat([self.others(modulated(self.norm(others), shift2, scale2)), self.own(own)], 1)
        k, v = kv.chunk(2, -1)
        y = attend(split(self.q(own)), split(k), split(v), mask=mask, causal=False, plain=self.plain)
        x = torch.addcmul(x, gate, self.out(y.transpose(1, 2).flatten(2)))
        return torch.addcmul(x, gate3, self.mlp(modulated(self.norm(x), shift3, scale3), env))


@dataclass(frozen=True)
class Thoughts:
    """What was answered last, (B, L, D) before the last norm, and which places were known then (B, L)."""

    said: Tensor
    known: Tensor

    def rows(self, index: Tensor) -> Thoughts:
        """Some rows."""
        return Thoughts(self.said[index], self.known[index])


class Disentangled(Block):
    """An encoder of what is known, which reads nothing hidden, and a decoder of what is hidden, which reads the encoder's result (ENAT, arXiv:2411.06959,
    sections 4.1 and 4.2, and official code: libs/models.py).

    Each decoder block reads the finished encoding of the known places. In a conversation that keeps its last answer (memory "last") only places that have
    become known since then are encoded: the others are x + mlp(norm(x)) of what was said of them last, read by every block and answered so, and what they
    say now is kept for the next question. With nothing kept, or nothing known when it was, it is the split alone; with everything known it is the encoder,
    with nothing known the decoder: both a Stack of PreNorm blocks with modulate "zero". A prefix is known. block: Spec of Reader.
    """

    def __init__(self, width: int, encoder: int, decoder: int, block: Spec, mlp: Spec, reuse: bool = True, eps: float = 1e-6):
        super().__init__()
        if encoder < 1 or decoder < 1:
            raise BadArgument(f"encoder and decoder have a block or more each, not {encoder} and {decoder}")
        self.encoder = nn.ModuleList(block.build(width=width, mlp=mlp) for _ in range(encoder))
        self.decoder = nn.ModuleList(block.build(width=width, mlp=mlp) for _ in range(decoder))
        self.norm_again, self.again = (nn.LayerNorm(width, eps=eps), mlp.build(width=width)) if reuse else (None, None)
        self.final = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if env.record is not None:
            raise BadArgument('Disentangled remembers no keys and values, only its last answer; use a process that asks so (Reusing), or memory="nothing"')
        if env.pattern != "full" and bool((env.turn[:, env.prefix :] != env.turn[:, -1:]).any() | env.lane.any() | (env.doc > 0).any()):
            raise PatternUnsupported("Disentangled answers one turn of one document in one lane, everything at once; this process asks for more. Use a Stack")
        if env.modulation is None or env.modulation.shape[1] != 1:
            raise BadArgument('the blocks of Disentangled are modulated by one vector a row; place a condition "modulate"')
        rows, length = x.shape[:2]
        real = (env.doc >= 0).expand(rows, length)
        known = env.known.expand(rows, length) & real
        past: Thoughts | None = None if env.kept is None or self.again is None else env.kept.get(self.name)
        old = torch.zeros_like(known) if past is None else known & past.known
        new, hidden = _Some(known & ~old), _Some(real & ~known)
        done, before = torch.zeros_like(x), None
        if past is not None and self.again is not None and (places := _Some(old)).most:
            y = places.of(past.said.to(x.dtype))
            y = y + self.again(self.norm_again(y), env)
            done, before = places.back(y, done), (y, places)
        if new.most:
            done = new.back(self._through(self.encoder, new.of(x), new, env, before), done)
        if hidden.most:
            places = _Some(known)
            read = (places.of(done), places) if places.most else None
            done = hidden.back(self._through(self.decoder, hidden.of(x), hidden, env, read), done)
        if env.kept is not None and env.remember:
            env.kept[self.name] = Thoughts(done.detach(), known)
        return self.final(done)

    @staticmethod
    def _through(blocks: nn.ModuleList, x: Tensor, places: _Some, env: Env, read: tuple[Tensor, _Some] | None) -> Tensor:
        """x (B, n, D) of these places through all of the blocks, each reading the same others."""
        others = None if read is None else read[0]
        keys = places.real if read is None else torch.cat([read[1].real, places.real], 1)
        mask = None
        if not bool(keys.all()):
            own = F.pad(torch.eye(places.most, dtype=torch.bool, device=keys.device), (keys.shape[1] - places.most, 0))
            mask = (keys[:, None, :] | own)[:, None]  # what fills a shorter row sees itself at least
        for block in blocks:
            x = block(x, env, others, mask)
        return x


class _Some:
    """Some places of each row, (B, L) bool: as many of each as the row with the most has, in order, `real` where they are meant."""

    def __init__(self, where: Tensor):
        count = where.sum(1)
        self.most = int(count.max())
        self.where = where
        self.index = where.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : self.most, None]
        self.real = torch.arange(self.most, device=count.device) < count[:, None]

    def of(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, most, D)."""
        return x.gather(1, self.index.expand(-1, -1, x.shape[-1]))

    def back(self, y: Tensor, into: Tensor) -> Tensor:
        """`into` (B, L, D) with y (B, most, D) at these places."""
        there = torch.zeros_like(into, dtype=y.dtype).scatter(1, self.index.expand(-1, -1, y.shape[-1]), y)
        return torch.where(self.where[..., None], there, into.to(y.dtype))
