"""Backbones: blocks one after another, and the encoder-decoder split of masked models."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument, PatternUnsupported
from ..core.net import Block, Env
from ..core.query import visible
from ..core.spec import Spec
from ..core.tokens import Space
from .norms import AdaLN, modulated, norm


class Stack(Block):
    """depth blocks, with rotary positions made once for all, and a norm at the end.

    block: a Spec, or several that take turns. scaled: (path, first, last, step) of numbers in the blocks that grow from block to block, rounded up to steps
    (layer-wise scaling, arXiv:2404.14619, section 2); blocks that have nothing there stay as they are.
    final: "layer", "rms", "adaln" (DiT's last layer: modulated, without weights), a Spec of norms.Modulated, or None. rotary: Spec of positions.Rotary.
    late, last: Specs of the blocks of the second half and of the last block, where they are others. skips: long skips from the first half to the second,
    joined by Linear(2 D, D) (U-ViT, arXiv:2209.12152), "normed" before that (EzAudio). shared: one adaLN map for all blocks, which modulate "single";
    "beside": they are handed the modulation as well (norms.LowRankAdaLN).
    told: how wide the modulation is, if not as the stream. constant: a learned vector modulates where neither time nor a condition does (MDLM's, EBT's code).
    relative: Spec of a bias of scores by distance, for all blocks (positions.Buckets). taps: "block.3" is the stream after the fourth block.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        block: Spec | tuple[Spec, ...],
        space: Space | None = None,
        final: Literal["layer", "rms", "adaln"] | Spec | None = "layer",
        rotary: Spec | None = None,
        skips: bool | Literal["normed"] = False,
        shared: bool | Literal["beside"] = False,
        eps: float = 1e-6,
        told: int | None = None,
        constant: bool = False,
        late: Spec | None = None,
        last: Spec | None = None,
        relative: Spec | None = None,
        scaled: tuple[tuple[str, float, float, int], ...] = (),
    ):
        super().__init__()
        kinds = (block,) if isinstance(block, Spec) else block
        specs = [late if late and i >= (depth + 1) // 2 else kinds[i % len(kinds)] for i in range(depth - (last is not None))]
        specs = [_scaled(spec, i / max(depth - 1, 1), scaled) for i, spec in enumerate(specs)]
        self.blocks = nn.ModuleList(spec.build(width=width, space=space) for spec in specs)
        self.last = last.build(width=width, space=space) if last else None
        if rotary is not None and space is None:
            raise BadArgument("rotary positions need the space that coordinates come from")
        self.rotary = rotary.build(space=space, width=width) if rotary else None
        self.relative = relative.build() if relative else None
        self.shared = AdaLN(width, 6) if shared else None
        self.beside = shared == "beside"
        join = lambda: nn.Sequential(nn.LayerNorm(2 * width, eps=eps), nn.Linear(2 * width, width))  # noqa: E731
        self.skips = nn.ModuleList(join() if skips == "normed" else nn.Linear(2 * width, width) for _ in range(depth // 2)) if skips else None
        self.modulated = final == "adaln"
        self.ending = final.build(width=width) if isinstance(final, Spec) else None
        plain = None if isinstance(final, Spec) else final
        self.final = None if plain is None else norm("layer" if self.modulated else plain, width, affine=not self.modulated, eps=eps)
        self.final_mod = AdaLN(width, 2, told=told) if self.modulated else None
        self.constant = nn.Parameter(torch.randn(told or width) * 0.02) if constant else None

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if self.constant is not None and env.modulation is None:
            env = replace(env, modulation=self.constant.expand(x.shape[0], 1, -1))
        last = env.modulation
        if self.rotary is not None:
            env.rotation = self.rotary.of(env)
        env.relative = self.relative
        if self.shared is not None:
            assert env.modulation is not None
            every = self.shared.out(F.silu(env.modulation))
            env = replace(env, modulation=torch.cat([every, env.modulation], -1) if self.beside else every)
        held: list[Tensor] = []
        blocks = self.blocks if self.last is None else (*self.blocks, self.last)
        half = len(blocks) // 2
        for number, block in enumerate(blocks):
            if self.skips is not None and number >= len(blocks) - half:
                x = self.skips[number - len(blocks) + half](torch.cat([x, held.pop()], -1))
            x = block(x, env)
            if self.skips is not None and number < half:
                held.append(x)
            if env.wanted and f"block.{number}" in env.wanted:
                env.taps[f"block.{number}"] = x
        if self.final is not None:
            x = self.final(x)
        if self.final_mod is not None:
            assert last is not None
            x = modulated(x, *self.final_mod(last[..., -self.final_mod.out.in_features :]))  # of two modulations the last
        if self.ending is not None:
            if last is None:
                raise BadArgument("the last norm is modulated and nothing modulates: give the network a time, or a condition placed modulate")
            x = self.ending(x, last)
        return x


def _scaled(block: Spec, share: float, scaled: tuple[tuple[str, float, float, int], ...]) -> Spec:
    """A block at a share of the depth."""
    there = {path for path, _ in block.walk()}
    return block.but({path: step * math.ceil((low + (high - low) * share) / step - 1e-9) for path, low, high, step in scaled if path in there})


class DeferredMask(Block):
    """A body that skips what is not known, after a small mixer through which all places have met (MicroDiT, arXiv:2407.15811, section 3.1 and official code).

    Known places go to the body, as many in each row; at the others nothing is answered (zeros). With everything known it is mixer and body one after the
    other; without a mixer, plain masking. mixer_width: the mixer's own width, with maps in and out.
    """

    def __init__(self, width: int, body: Spec, space: Space | None = None, mixer: Spec | None = None, mixer_width: int | None = None):
        super().__init__()
        inner = mixer_width or width
        self.mixer = mixer.build(width=inner, space=space) if mixer else None
        self.norm = nn.LayerNorm(width, eps=1e-6) if mixer else None
        self.enter, self.leave = (nn.Linear(width, inner), nn.Linear(inner, width)) if mixer else (None, None)
        self.body = body.build(width=width, space=space)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if env.pattern != "full" or env.record is not None or env.prefix:
            raise PatternUnsupported("DeferredMask answers everything at once and remembers nothing; use a process that asks so (Flow)")
        leave = lambda y: y if self.leave is None else self.leave(y)  # noqa: E731
        z = x if self.mixer is None else self.mixer(self.enter(self.norm(x)), env)
        count = env.known.sum(1)
        most = int(count[0])
        if bool((count != most).any()):
            raise BadArgument("DeferredMask needs as many known places in every row")
        if most == x.shape[1]:
            return self.body(leave(z), env)
        keep = env.known.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
        picked = lambda y: y.gather(1, keep.reshape(*keep.shape, *[1] * (y.dim() - 2)).expand(*keep.shape, *y.shape[2:]))  # noqa: E731
        own = {name: picked(getattr(env, name).expand(len(x), *getattr(env, name).shape[1:])) for name in ("coord", "kind", "turn", "lane", "doc", "known")}
        y = self.body(leave(picked(z)), replace(env, **own))
        return torch.zeros_like(x, dtype=y.dtype).scatter(1, keep[..., None].expand(-1, -1, y.shape[-1]), y)


class WordsFirst(Block):
    """The sequence alone through `first`, where it reads what is told word by word, then with its prefix through `then` (MMM, arXiv:2312.03596, section 3.2,
    and official code: models/t2m_trans.py).

    positions: Spec of places that are added between the two, the prefix at place 0 and the sequence from 1 on. Without them and with a `first` of no blocks it
    is `then`.
    """

    def __init__(self, width: int, space: Space, first: Spec, then: Spec, positions: Spec | None = None):
        super().__init__()
        self.first, self.then = first.build(width=width, space=space), then.build(width=width, space=space)
        self.positions = positions.build(width=width, space=space) if positions else None

    def forward(self, x: Tensor, env: Env) -> Tensor:
        front = env.prefix
        if env.record is not None:
            raise BadArgument("WordsFirst remembers nothing; use a process that asks afresh (Masked)")
        cut = lambda y: y[:, front:] if y is not None and y.shape[1] > 1 else y  # noqa: E731
        own = {name: cut(getattr(env, name)) for name in ("coord", "kind", "turn", "lane", "doc", "known", "modulation", "time", "ids")}
        alone = replace(env, **own, mask=None if env.mask is None else env.mask[..., front:, front:], prefix=0)
        y = self.first(x[:, front:], alone)
        if self.positions is not None:
            before = self.positions(torch.zeros_like(env.coord[:, :1]))
            x, y = x + before, y + self.positions(env.coord[:, front:] + 1)
        return self.then(torch.cat([x[:, :front], y.to(x.dtype)], 1), env)


class EncodeKnown(Block):
    """An encoder that reads only what is known and a decoder that reads everything (MAE, arXiv:2111.06377; MAR, arXiv:2406.11838, section 3.3).

    Hidden tokens are dropped before the encoder and come back, as a mask vector, before the decoder; each half adds places of its own. The prefix of
    conditions is
    always known. With nothing hidden it is encoder and decoder one after the other. buffer: how many copies of the prefix's one token stand before the
    sequence. prefix: of how many tokens a prefix is that stands there itself, in place of copies (MAR-3D's code: 257 of a picture); 1 is buffer 1.
    """

    def __init__(self, width: int, space: Space, encoder: Spec, decoder: Spec, positions: tuple[Spec, ...] = (), buffer: int = 1, last_positions: bool = False,
                 prefix: int = 0):  # fmt: skip
        super().__init__()
        buffer = prefix or buffer
        self.encoder, self.decoder = encoder.build(width=width, space=space), decoder.build(width=width, space=space)
        place = lambda: nn.ModuleList(p.build(width=width, space=space) for p in positions)  # noqa: E731
        self.encode_places, self.decode_places = place(), place()
        self.last_places = place() if last_positions else None
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.enter = nn.Linear(width, width)
        self.mask = nn.Parameter(torch.randn(width) * 0.02)
        self.buffer_places = nn.Parameter(torch.randn(2, buffer, width) * 0.02)
        self.buffer, self.itself = buffer, prefix > 0

    def _own(self, env: Env) -> tuple[nn.ModuleList, nn.ModuleList, Tensor, Tensor]:
        """Places of encoder and of decoder, those of the buffer (2, buffer, D), and the mask (D,) or (L, D) of this question."""
        return self.encode_places, self.decode_places, self.buffer_places, self.mask

    def _half(self, half: Block, x: Tensor, here: Env, env: Env) -> Tensor:
        """Encoder or decoder. here: what it consults; env: what the whole does."""
        return half(x, here)

    def _placed(self, x: Tensor, env: Env, parts: nn.ModuleList, buffer: Tensor) -> Tensor:
        places = sum((p(env.coord[:, env.prefix :]) for p in parts), torch.zeros((), device=x.device))
        if not env.prefix:
            return x + places
        return torch.cat([x[:, : self.buffer] + buffer, x[:, self.buffer :] + places], 1)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if env.record is not None:
            raise BadArgument("EncodeKnown cannot remember: what it reads changes from question to question; use a process that asks afresh (Masked)")
        if env.prefix and (env.prefix != (self.buffer if self.itself else 1) or (self.itself and bool((env.doc[:, : env.prefix] < 0).any()))):
            takes = f"the {self.buffer} real tokens that prefix says" if self.itself else "one token"
            raise BadArgument(f"EncodeKnown takes a condition of {takes} before the sequence, not of {env.prefix}")
        if env.pattern != "full" and bool((env.turn[:, env.prefix :] != env.turn[:, -1:]).any() | env.lane.any()):
            raise PatternUnsupported("EncodeKnown answers one turn in one lane, everything at once; this process asks for more. Use a Stack")
        if env.prefix and not self.itself:
            x = torch.cat([x[:, :1].expand(-1, self.buffer, -1), x[:, 1:]], 1)
        front = self.buffer if env.prefix else 0
        ahead = lambda y, one: torch.cat([one.expand(y.shape[0], front, *y.shape[2:]), y[:, env.prefix :]], 1)  # noqa: E731
        real = ahead(env.doc >= 0, torch.ones_like(env.known[:1, :1]))
        known = ahead(env.known, torch.ones_like(env.known[:1, :1])) & real
        coord = ahead(env.coord, torch.zeros_like(env.coord[:1, :1]))
        encode_places, decode_places, buffer, mask = self._own(env)
        if mask.dim() == 2:
            mask = torch.cat([mask.new_zeros(front, mask.shape[1]), mask])
        x = self.norm(self._placed(x, env, encode_places, buffer[0]))
        count = known.sum(1)
        most = int(count.max())
        z = mask.to(x.dtype).expand(x.shape[0], x.shape[1], -1)
        if most:
            keep = known.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
            inside = torch.arange(most, device=count.device) < count[:, None]
            spread = lambda y: keep[..., None].expand(-1, -1, y.shape[-1])  # noqa: E731
            y = self.enter(self._half(self.encoder, x.gather(1, spread(x)), self._env(env, inside, coord.gather(1, spread(coord)), front), env))
            at = torch.where(inside, keep, keep[:, :1])
            z = z.to(y.dtype).scatter(1, at[..., None].expand(-1, -1, x.shape[-1]), torch.where(inside[..., None], y, y[:, :1]))
            z = torch.where(known[..., None], z, mask.to(y.dtype))  # a row that knows nothing has written something to its first place
        z = self._placed(z, env, decode_places, buffer[1])
        z = self._half(self.decoder, z, self._env(env, real, coord, front), env)
        if env.prefix and not self.itself:
            z = torch.cat([z[:, :1], z[:, front:]], 1)
        for part in self.last_places or ():
            z = torch.cat([z[:, : env.prefix], z[:, env.prefix :] + part(env.coord[:, env.prefix :])], 1)
        return z

    def _env(self, env: Env, inside: Tensor, coord: Tensor, front: int) -> Env:
        """What the half consults: full attention among the places inside."""
        whole = bool(inside.all())
        doc = torch.where(inside, 0, -1)
        zero = torch.zeros_like(doc)
        mask = None if whole else visible(zero, zero, doc)[:, None]
        return replace(env, coord=coord, kind=zero, turn=zero, lane=zero, doc=doc, known=inside, pattern="full" if whole else "any", mask=mask, prefix=front)


class EncodeKnownTwice(EncodeKnown):
    """EncodeKnown for two phases, told apart by the kind of the last place (0: the first): tables of places, of the buffer and of the mask, a vector a
    place, are each phase's own; its halves are told the phase by a map that all their blocks share, and stretch it (norms.ScaleAware).

    Hi-MAR, arXiv:2505.20288, section 3.2, and official code.
    """

    def __init__(self, width: int, space: Space, encoder: Spec, decoder: Spec, positions: tuple[Spec, ...] = (), buffer: int = 1, last_positions: bool = False):
        super().__init__(width, space, encoder, decoder, positions, buffer, last_positions)
        self.mask, self.buffer_places = (nn.Parameter(torch.randn(2, n, width) * 0.02) for n in (space.length, 2 * buffer))
        place = lambda: nn.ModuleList(p.build(width=width, space=space) for p in positions)  # noqa: E731
        self.encode_places_again, self.decode_places_again = place(), place()
        self.phases = nn.ModuleList(nn.Embedding(2, width) for _ in range(2))
        self.tell = nn.ModuleList(nn.Linear(width, 4 * width) for _ in range(2))
        for table in self.phases:
            nn.init.normal_(table.weight, std=0.02)

    def _own(self, env: Env) -> tuple[nn.ModuleList, nn.ModuleList, Tensor, Tensor]:
        again = int(env.kind[0, -1] != 0)
        buffer = self.buffer_places[again].unflatten(0, (2, -1))
        places = (self.encode_places_again, self.decode_places_again) if again else (self.encode_places, self.decode_places)
        return *places, buffer, self.mask[again]

    def _half(self, half: Block, x: Tensor, here: Env, env: Env) -> Tensor:
        which, again = int(half is self.decoder), int(env.kind[0, -1] != 0)
        c = self.tell[which](F.silu(self.phases[which].weight[again]))
        phase = F.one_hot(torch.tensor(again, device=c.device), 2).to(c)
        return half(x, replace(here, modulation=torch.cat([phase, c]).expand(x.shape[0], 1, -1)))
