"""A system: codec, conditioning, network, process and guidance, under the few verbs that a user needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..conditions.conditioning import Conditioning
from ..conditions.guidance import Batched, ClassifierFree, Guided, InTurn, Term
from ..conditions.source import SourceText
from ..core.batch import Batch, Parts
from ..core.codec import Codec, LearnedCodec
from ..core.distribution import Sampling
from ..core.errors import BadArgument, ConditionError, ShapeError
from ..core.net import Context, MemoryPolicy, Net
from ..core.process import Losses, Process, State, generate
from ..core.query import Answer, Query
from ..core.rng import Rng
from ..core.tokens import Tokens
from .network import Network
from .recipe import Recipe


class Counted:
    """A net that counts its questions, and the rows that were asked about (those of all of guidance's terms, which may share a question)."""

    def __init__(self, net: Net):
        self.net, self.calls, self.rows = net, 0, 0

    def __call__(self, query: Query, *, remember: bool = False) -> Answer:
        self.calls += 1
        self.rows += query.tokens.batch
        return self.net(query, remember=remember)

    def forget(self, turn: Tensor) -> None:
        self.net.forget(turn)

    def fork(self, rows: Tensor) -> Counted:
        return Counted(self.net.fork(rows))


class System(nn.Module):
    """Built by `system.build`. recipe: what it was built from, with every change in it."""

    def __init__(self, recipe: Recipe, codec: Codec):
        super().__init__()
        assert recipe.network is not None and recipe.process is not None
        self.recipe = recipe
        self.codec = codec
        space = codec.space
        self.network: Network = recipe.network.build(space=space)
        self.conditioning = Conditioning(self.network.width, recipe.conditions, recipe.drop)
        for part in self.conditioning.parts.values():
            if isinstance(part, SourceText) and part.tied:
                part.tie(tuple(next(iter(self.network.towers.values())).embed.tables))
        self.process: Process[Any] = recipe.process.build(space=space, codec=codec)
        self.guidance: ClassifierFree | None = recipe.guidance.build() if recipe.guidance is not None and recipe.conditions else None
        if self.process.second_order:
            self.network.differentiate_twice()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def recipe_json(self) -> dict[str, Any]:
        """The recipe, to stand beside the weights."""
        return self.recipe.to_json()

    def tokens(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        """Data, or tokens made earlier, as tokens on the network's device."""
        if isinstance(data, Tokens):
            return data.to(self.device)
        data = data.to(self.device) if isinstance(data, Tensor) else data
        if isinstance(self.codec, LearnedCodec):
            with torch.no_grad():
                return self.codec.encode(data, rng=rng)
        return self.codec.encode(data, rng=rng)

    def read(self, batch: Batch, *, rng: Rng) -> tuple[Tokens, Context]:
        """A batch as training sees it: tokens, and the conditions with some of them dropped."""
        tokens = self.tokens(self._read(batch), rng=rng.split("encode"))
        taken = {k: v for k, v in batch.condition.items() if k in self.conditioning.parts}
        return tokens, self.conditioning.context(taken, tokens.batch, rng=rng.split("condition"))

    def loss(self, batch: Batch, *, rng: Rng) -> tuple[Losses, ...]:
        """What a batch costs each player."""
        tokens, context = self.read(batch, rng=rng)
        losses = self.process.loss(self.network.open(context, memory=self.process.taught), tokens, rng=rng.split("process"))
        return losses if isinstance(losses, tuple) else (losses,)

    def _read(self, batch: Batch) -> Any:
        """The data, with what is told and is tokens of this codec."""
        if not self.codec.reads or isinstance(batch.data, Parts | Tokens):
            return batch.data
        for name in self.codec.reads:
            if name not in batch.condition:
                raise ConditionError(f"{self.recipe.name} reads {name!r} as tokens and these examples have none; use data that has it (glyphs with captions)")
        return Parts((*(batch.condition[name] for name in self.codec.reads), batch.data))

    @torch.no_grad()
    def score(self, data: Any, condition: Mapping[str, Any] | None = None, *, seed: int = 0, rows: Sequence[int] | None = None) -> Tensor:
        """(B,) nats of each example: exact or an upper bound (`process.likelihood` says which); Intractable where the family has neither.

        rows: which rows of the seed's stream, so that a bound's draws do not depend on how examples are batched.
        """
        tokens = self.tokens(data)
        context = self.conditioning.context(condition or {}, tokens.batch)
        with _evaluating(self):
            return self.process.bound(self.network.open(context), tokens, rng=Rng.seeded(seed, tokens.batch if rows is None else rows))

    def net(
        self,
        batch: int,
        condition: Mapping[str, Any] | None = None,
        *,
        scale: float | None = None,
        memory: MemoryPolicy | None = None,
        wrap: Callable[[Net], Net] | None = None,
    ) -> Net:
        """A conversation for generation: a session of all of guidance's terms, or one each where their conditions differ in length. scale None: the recipe's.
        wrap: put around each session (Counted)."""
        condition = condition or {}
        guidance = self.guidance
        if scale is not None and guidance is not None:
            guidance = ClassifierFree(scale, guidance.ramp, guidance.interval)
        elif scale not in (None, 1, 1.0):
            raise ConditionError("this system was built without guidance; give no scale")
        told = bool(condition) and guidance is not None
        terms: Sequence[Term] = guidance.terms() if told and guidance is not None else (Term(lambda p: torch.ones_like(p)),)
        policy = memory or self.process.memory
        contexts = [self.conditioning.context(condition, batch, keep=term.keep) for term in terms]
        shared = contexts[0] if len(contexts) == 1 else Context.stacked(contexts)
        nets: list[Net] = [self.network.open(context, memory=policy) for context in (contexts if shared is None else [shared])]
        nets = nets if wrap is None else [wrap(net) for net in nets]
        if len(terms) == 1:
            return nets[0]
        return Guided(InTurn(nets) if shared is None else Batched(nets[0], batch, len(terms)), terms)

    @torch.no_grad()
    def generate(
        self,
        num: int = 1,
        condition: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        rows: Sequence[int] | None = None,
        scale: float | None = None,
        sampling: Sampling | None = None,
        steps: int | None = None,
        given: tuple[Any, Tensor] | None = None,
        length: int | None = None,
        memory: MemoryPolicy | None = None,
        watch: Callable[[State], None] | None = None,
        decode: bool = True,
        wrap: Callable[[Net], Net] | None = None,
    ) -> Any:
        """`num` examples (or their tokens, where not decode).

        condition: name -> one value, or one a row. rows: which rows of the seed's stream (row i is the same in every batch). given: (data, keep) with keep
        (B, L) or (L,)
        true where the tokens of the data stay: a prompt, a picture to complete. length: of an open-ended sequence. steps: of processes that have steps.
        """
        if num < 1:
            raise BadArgument(f"at least one example is generated, not {num}")
        condition = {k: _spread(v, num) for k, v in (condition or {}).items()}
        process = self.process
        if sampling is not None:
            process = process.but(sampling=sampling)
        if steps is not None:
            process = process.stepped(steps)
        space = self.codec.space
        blank = space.blank(num, {space.axes[0].name: length} if length else None, device=self.device)
        known = None
        if given is not None:
            blank, known = self._given(blank, *given)
        rng = Rng.seeded(seed, rows if rows is not None else num)
        with _evaluating(self):
            net = self.net(num, condition, scale=scale, memory=memory, wrap=wrap)
            with torch.inference_mode() if _inferring(process) else torch.no_grad():
                tokens = generate(process, net, blank, rng=rng, given=known, watch=watch)
            tokens = tokens.plain()
            return self.codec.decode(tokens) if decode else tokens

    def _given(self, blank: Tokens, data: Any, keep: Tensor) -> tuple[Tokens, Tensor]:
        """What is given, laid onto the blank; shorter data is a prompt."""
        said = self.tokens(data)
        if said.batch == 1 and blank.batch > 1:
            said = said.rows(torch.zeros(blank.batch, dtype=torch.long))
        if said.batch != blank.batch:
            raise ShapeError(f"{said.batch} examples are given and {blank.batch} are asked for; give one, or as many")
        keep = (keep if keep.dim() == 2 else keep[None]).to(self.device).expand(blank.batch, -1)
        if keep.shape[1] != said.length:
            raise ShapeError(f"keep speaks of {keep.shape[1]} tokens and the given data has {said.length}; give a (B, {said.length}) boolean tensor")
        short = blank.length - said.length
        if short < 0:
            raise ShapeError(f"the given data has {said.length} tokens and there is room for {blank.length}; shorten it or ask for a greater length")
        keep = nn.functional.pad(keep & said.real, (0, short))

        def laid(new: Tensor | None, old: Tensor | None) -> Tensor | None:
            return old if new is None or old is None else torch.cat([new, old[:, said.length :]], 1)

        return replace(blank, ids=laid(said.ids, blank.ids), vec=laid(said.vec, blank.vec)), keep

    def cite(self) -> list[str]:
        """The papers in use."""
        return [f"{s.title}" + (f", arXiv:{s.arxiv}" if s.arxiv else "") for s in self.recipe.source]


class CodecSystem(nn.Module):
    """A learned codec by itself, to be trained by the same trainer."""

    def __init__(self, recipe: Recipe, codec: Codec):
        super().__init__()
        self.recipe, self.codec = recipe, codec

    def recipe_json(self) -> dict[str, Any]:
        """The recipe, to stand beside the weights."""
        return self.recipe.to_json()

    def loss(self, batch: Batch, *, rng: Rng) -> tuple[Losses, ...]:
        """What a batch costs each player."""
        if not isinstance(self.codec, LearnedCodec):
            raise BadArgument(f"{type(self.codec).__name__} has nothing to learn; it is ready as it is")
        data = batch.data.to(next(self.codec.parameters()).device) if isinstance(batch.data, Tensor) else batch.data
        return self.codec.loss(data, rng=rng)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Every part as it generates; then again as it was. Where the whole generates already, its parts are as its user left them, and are not visited: that takes
    as long as a small network's answer."""
    learning = [m for m in module.modules() if m.training] if module.training else []
    for m in learning:
        m.training = False
    try:
        yield
    finally:
        for m in learning:
            m.training = True


def _inferring(process: Process[Any]) -> bool:
    """Whether a sample is drawn in torch's inference mode, which takes a twentieth off the time of a small network's question. Not where a process
    differentiates, nor among several processes: sharded weights are gathered into tensors that training goes on with."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not several and not any(isinstance(p, Process) and p.differentiates for p in process.modules())


def _spread(value: Any, num: int) -> Any:
    """One value for all rows, or one a row."""
    if isinstance(value, Tensor):
        return value.expand(num) if value.dim() == 0 else value
    return list(value) if isinstance(value, list | tuple) else [value] * num
