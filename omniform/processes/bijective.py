"""Normalizing flows: invertible maps of the data to a base, with exact likelihood."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.distribution import Content, Sampling
from ..core.errors import BadArgument
from ..core.net import Net
from ..core.order import Order, Raster
from ..core.process import Ask, Losses, Process, State, begun, dues_of
from ..core.query import Query, one_row
from ..core.rng import Rng
from ..core.tokens import Space, Tokens
from .feeds import Shift, taken


@dataclass(frozen=True)
class Inverting(State):
    """map: the map being inverted (counted from the base). backward: whether it reads from the end. turn: next turn of it. out: what is already known of its
    input."""

    map: int
    backward: bool
    turn: int
    out: Tensor
    wanted: Tensor | None
    given: Tensor | None

    def so_far(self) -> Tokens:
        """The map's input where its inversion has come, its output where it has not."""
        if not self.turn:
            return self.tokens
        done = torch.arange(self.tokens.length, device=self.out.device)[:, None] < self.turn
        laid = Bijective.laid(self.tokens, self.backward)
        return Bijective.laid(replace(laid, vec=torch.where(done, self.out, laid.vec)), self.backward)


class Bijective(Process[Inverting]):
    """`maps` autoregressive affine maps, each asked of a tower of its own ("b0"...), the order turned round from map to map (TarFlow, arXiv:2412.06329).

    Map b takes x to z = (x - shift) exp(-log_scale), shift and scale being answered from what lies before in its order; the last z is standard normal.
    noise: standard deviation of Gaussian noise on the data in training (section 2.4); denoise: one step of Tweedie's formula after generation (section 2.5).
    temperature scales the base's noise. Guidance acts in every map that is told something. deep: the map next to the noise is asked of the tower "deep", which
    may have more layers than the others (STARFlow, arXiv:2506.06276, section 3.2).
    first: a sequence's first token, in the order of a map, is "asked" about like any other, from nothing; or it is "kept" as it is, and each token is fed at
    its own place (TarFlow's code). backward: which maps read from the end, counted from the one next to the data, which is even. places: the tokens of such a
    map lie where they do ("own"), or where the tokens of their turns do ("turns": STARFlow's code, which reverses tokens and not rotations).
    `given` places are kept at every inversion of the first map (the one next to the data): exact only where the prompt comes first in its order.
    """

    memory = "kv"
    likelihood = "exact"
    differentiates = True

    def __init__(
        self,
        space: Space,
        maps: int = 4,
        noise: float = 0.05,
        denoise: bool = True,
        temperature: float = 1.0,
        deep: bool = False,
        first: Literal["asked", "kept"] = "asked",
        places: Literal["own", "turns"] = "own",
        backward: Literal["odd", "even"] = "odd",
    ):
        super().__init__()
        if maps < 1:
            raise BadArgument(f"a normalizing flow has at least one map, not {maps}")
        if not space.channels:
            raise BadArgument("a normalizing flow needs continuous tokens; use a codec such as Patches or a KL autoencoder")
        if first not in ("asked", "kept"):
            raise BadArgument(f"the first token is 'asked' about or 'kept' as it is, not {first!r}")
        self.maps, self.noise, self.denoise, self.temperature, self.deep, self.kept = maps, noise, denoise, temperature, deep, first == "kept"
        if places not in ("own", "turns"):
            raise BadArgument(f"the tokens of a reversed map lie at their 'own' places or those of their 'turns', not at {places!r}")
        if backward not in ("odd", "even"):
            raise BadArgument(f"the maps that read from the end are the 'odd' or the 'even' ones, not {backward!r}")
        self.own, self.rest = places == "own", int(backward == "odd")
        self.unlike = ("deep",) if deep else ()
        self.sampling = Sampling()
        self._orders: tuple[Order, Order] = (Raster(), Raster(reverse=True))
        self._feed = Shift(space)

    def _asked(self, tokens: Tokens, number: int, places: slice, progress: Tensor, pattern: Any) -> Query:
        """The question of one map. Its tower always sees a causal sequence: a reversed map lays the tokens in reverse, each with its own coordinate."""
        turn = torch.arange(tokens.length, device=tokens.doc.device)[None].expand(tokens.batch, -1)
        whole = _whole(tokens)
        if not self.own and self.backwards(number):
            tokens = replace(tokens, coord=one_row(tokens.coord).flip(1).expand(tokens.coord.shape))
        if self.kept:  # places begin at the second: each slot is fed the token before it, where that one lies
            first, last, _ = places.indices(tokens.length)
            fed = tokens.at(slice(first - 1, last - 1))
            known = torch.ones_like(fed.doc, dtype=torch.bool)
            if not whole:  # what lies before the first real token is seen by nobody
                fed, pattern = replace(fed, doc=torch.where(self._opens(tokens.doc)[:, places], -1, tokens.doc[:, places])), "any"
        else:
            fed, known = self._feed.fed(tokens, self._feed.plan(tokens, turn, self._orders[0]), places)
            if not whole:  # a reversed map has the padding first: the first real slot is fed nothing, as in a row without padding
                known = known & ~self._opens(tokens.doc)[:, places]
                fed, pattern = fed.where(known, Content(vec=torch.zeros_like(fed.vec))), "any"  # type: ignore[arg-type]
        here = turn[:, places]
        lane = torch.zeros_like(here[:1]).expand(tokens.batch, -1)
        return Query(tokens=fed, known=known, turn=here, lane=lane, progress=progress, stage=self.stage(number), pattern=pattern)

    @staticmethod
    def _opens(doc: Tensor) -> Tensor:
        """(B, L): nothing of its document lies before it."""
        return torch.cat([torch.ones_like(doc[:, :1], dtype=torch.bool), doc[:, 1:] != doc[:, :-1]], 1)

    def stage(self, number: int) -> str:
        """The tower of a map."""
        return "deep" if self.deep and number + 1 == self.maps else f"b{number}"

    def backwards(self, number: int) -> bool:
        """Whether a map reads from the end."""
        return number % 2 == self.rest

    @staticmethod
    def laid(tokens: Tokens, backward: bool) -> Tokens:
        """In the order of a map, and out of it again."""
        if not backward:
            return tokens
        flip = lambda x: None if x is None else x.flip(1)  # noqa: E731
        shared = lambda x: one_row(x).flip(1).expand(x.shape)  # noqa: E731  # a row for all stays one
        return Tokens(flip(tokens.ids), flip(tokens.vec), shared(tokens.coord), shared(tokens.kind), shared(tokens.doc))

    def forward_map(self, net: Net, tokens: Tokens, progress: Tensor | None = None) -> tuple[Tokens, Tensor, dict[str, Tensor]]:
        """Data to base: the z of all maps, log|det| (B,) of what is no padding, and the backbones' dues. progress: of a sample, else that of training (0)."""
        log_det = torch.zeros(tokens.batch, device=tokens.doc.device)
        dues: dict[str, Tensor] = {}
        progress = torch.zeros(tokens.batch, device=tokens.doc.device) if progress is None else progress
        for number in range(self.maps):
            laid = self.laid(tokens, self.backwards(number))
            answer = net(self._asked(laid, number, slice(int(self.kept), None), progress, "causal"))
            affine: Any = answer.distribution
            z, each = affine.whiten(laid.vec[:, int(self.kept) :].float())
            if self.kept:
                opens = self._opens(laid.doc)
                z = torch.where(opens[..., None], laid.vec.float(), F.pad(z, (0, 0, 1, 0)))
                each = F.pad(each, (1, 0)).masked_fill(opens, 0.0)
            log_det = log_det + (each * laid.real).sum(-1)
            tokens = self.laid(replace(laid, vec=z), self.backwards(number))
            for name, due in answer.dues.items():
                dues[name] = dues.get(name, 0) + due
        return tokens, log_det, dues

    def _nats(self, net: Net, tokens: Tokens, progress: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        base, log_det, dues = self.forward_map(net, tokens, progress)
        assert base.vec is not None
        each = (0.5 * base.vec.square() + 0.5 * math.log(2 * math.pi)).sum(-1)
        return (each * tokens.real).sum(-1) - log_det, dues

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        vec = tokens.vec
        assert vec is not None
        noisy = vec if not self.noise else vec + self.noise * rng.split("noise").normal(vec.shape).to(vec)
        nats, dues = self._nats(net, replace(tokens, vec=noisy))
        count = tokens.real.sum()
        return Losses({"main": nats.sum(), **dues_of(dues, count)}, count)

    def bound(self, net: Net, tokens: Tokens, *, rng: Rng) -> Tensor:
        """Exact nats of the data with the training noise on it."""
        vec = tokens.vec
        assert vec is not None
        noisy = vec if not self.noise else vec + self.noise * rng.split("noise").normal(vec.shape).to(vec)
        return self._nats(net, replace(tokens, vec=noisy))[0]

    def asks(self, blank: Tokens) -> list[Ask]:
        return [Ask(1, seen, self.stage(number)) for number in range(self.maps) for seen in range(blank.length - self.kept)]

    def after(self, blank: Tokens) -> list[Ask]:
        return [Ask(blank.length, stage=self.stage(number), slope=True) for number in range(self.maps if self.denoise and self.noise else 0)]

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Inverting:
        assert blank.vec is not None
        z = self.temperature * rng.split("base").normal(blank.vec.shape).to(blank.vec)
        wanted = blank.vec if given is not None and bool(given.any()) else None
        if self.kept and blank.length < 2:
            raise BadArgument("a flow that keeps the first token needs a second one to map; write first='asked'")
        first = {"map": self.maps - 1, "backward": False, "turn": 0}
        state = Inverting(tokens=replace(blank, vec=z), **first, out=torch.zeros_like(z), wanted=wanted, given=given, **begun(blank))
        return self._entered(state)

    def _entered(self, state: Inverting) -> Inverting:
        """At the beginning of a map's inversion."""
        backward = self.backwards(state.map)
        z = self.laid(state.tokens, backward).vec
        out = torch.zeros_like(z)
        if self.kept:
            out[:, 0] = z[:, 0]
            if state.wanted is not None and state.map == 0:
                opens = slice(-1, None) if backward else slice(0, 1)
                out[:, :1] = torch.where(taken(state.given, opens)[..., None], state.wanted[:, opens], out[:, :1])
        return replace(state, backward=backward, turn=int(self.kept), out=out)

    def step(self, net: Net, state: Inverting, *, rng: Rng) -> Inverting:
        """One turn of one map."""
        number, turn, length = state.map, state.turn, state.tokens.length
        z = self.laid(state.tokens, state.backward)
        query = self._asked(replace(z, vec=state.out), number, slice(turn, turn + 1), state.progress, "full")
        affine: Any = net(query, remember=True).distribution
        here = affine.colour(z.vec[:, turn : turn + 1].float())
        if self.kept and not _whole(z):
            here = torch.where(self._opens(z.doc)[:, turn : turn + 1, None], z.vec[:, turn : turn + 1].float(), here)
        if state.wanted is not None and number == 0:
            place = length - 1 - turn if state.backward else turn
            here = torch.where(taken(state.given, slice(place, place + 1))[..., None], state.wanted[:, place : place + 1], here)
        out = state.out.clone()
        out[:, turn : turn + 1] = here.to(out)
        turns = length - self.kept
        asked = (self.maps - number) * turns - length + turn + 1
        state = replace(state, out=out, turn=turn + 1, at=state.at + 1, progress=torch.full_like(state.progress, asked / (self.maps * turns)))
        if turn + 1 < length:
            return state
        tokens = self.laid(replace(z, vec=out), state.backward)
        if number:
            return self._entered(replace(state, tokens=tokens, map=number - 1))
        state = replace(state, tokens=tokens, map=-1, backward=False, turn=0, out=torch.zeros_like(out))
        if self.denoise and self.noise:
            tokens = self._cleaned(net, tokens, state)
        return replace(state, tokens=tokens, done=torch.ones_like(state.done))

    def _cleaned(self, net: Net, tokens: Tokens, state: Inverting) -> Tokens:
        """x + sigma^2 grad log p(x): the mean of the clean data given the noisy (Tweedie). Sessions that remember are asked from the start."""
        net.forget(torch.full((tokens.batch,), -1, dtype=torch.long, device=tokens.doc.device))
        with torch.enable_grad():
            x = tokens.vec.detach().requires_grad_()
            nats, _ = self._nats(net, replace(tokens, vec=x), state.progress)
            (slope,) = torch.autograd.grad(nats.sum(), x)
        clean = (tokens.vec - self.noise**2 * slope).detach()
        if state.wanted is not None:
            clean = torch.where(state.given[..., None], state.wanted, clean)
        return replace(tokens, vec=clean)


def _whole(tokens: Tokens) -> bool:
    """One document and no padding."""
    doc = tokens.doc
    return doc.stride(0) == 0 or bool(((doc == doc[:, :1]) & (doc >= 0)).all())
