"""Labels of clusters of codes first, one after another, then every code at once: CTF."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..core.distribution import Sampling
from ..core.errors import BadArgument, Intractable
from ..core.net import Net
from ..core.process import Ask, Losses, Process, State, begun, dues_of
from ..core.query import Answer
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Space, Tokens
from .autoregress import Autoregress, Growing
from .masked import asked


@dataclass(frozen=True)
class Labelling(State):
    """coarse: the sample of labels. tokens say of each label that is drawn the code that stands for it, and at the end the codes."""

    coarse: Growing
    given: Tensor | None

    def spoken(self) -> Tensor:
        return self.coarse.spoken()


class Clustered(Process[Labelling]):
    """log p(codes) = sum of log p(label | labels before it) + sum of log p(code | all labels), codes with near vectors having one label (CTF,
    arXiv:2503.16194, section 4).

    clusters: how many labels, of a k-means of the codec's code vectors. order, feed: Specs, of the labels' autoregression in stage "main", whose embedding and
    head are of so many labels. The stage "fine" then reads of each place the code nearest to the centre of its cluster and answers all codes in one full
    question; within: only codes of the place's cluster can be answered (ours: it can only help, and the factors above are then a distribution of codes as they
    stand). The nll is exact. With as many clusters as codes the second factor is 1, and with one cluster the first.
    """

    memory = "kv"
    likelihood = "exact"
    unlike = ("fine",)

    def __init__(self, space: Space, order: Spec, feed: Spec, codec: Any, clusters: int = 512, temperature: float = 1.0, within: bool = True):
        super().__init__()
        sorted_out = getattr(codec, "clusters", None)
        if sorted_out is None or len(space.vocab) != 1 or space.bits:
            raise BadArgument(f"Clustered needs a codec with one book of codes that have vectors, such as an Autoencoder with VQ, not {type(codec).__name__}")
        self.coarse = Autoregress(replace(space, vocab=(clusters,)), order, feed, codec)
        label, nearest = sorted_out(clusters)
        self.register_buffer("label", label)  # (V,) of each code
        self.register_buffer("nearest", nearest)  # (clusters,) the code that stands for each label
        self.within = within
        self.sampling = Sampling(temperature=temperature)

    def labelled(self, tokens: Tokens) -> Tokens:
        """The same places with the label of each code."""
        assert tokens.ids is not None
        return replace(tokens, ids=self.label[tokens.ids])

    def fine(self, net: Net, labels: Tokens, progress: Tensor) -> Answer:
        """What the second stage says of the codes, given all labels."""
        assert labels.ids is not None
        answer = net(replace(asked(replace(labels, ids=self.nearest[labels.ids]), labels.real, progress), stage="fine"))
        if not self.within:
            return answer
        other = self.label != labels.ids[..., None]  # (B, L, 1, V)
        return replace(answer, distribution=answer.distribution.mapped(lambda logits: logits.masked_fill(other, -torch.inf)))

    def _nll(self, net: Net, tokens: Tokens, rng: Rng, exact: bool = False) -> tuple[Tensor, Tensor, list[Answer]]:
        """(B, L) nats of the labels and of the codes given them."""
        labels = self.labelled(tokens)
        coarse, first = self.coarse._nll(net, labels, rng.split("coarse"), exact)
        second = self.fine(net, labels, torch.zeros(tokens.batch, device=tokens.doc.device))
        if exact and not second.distribution.exact:
            raise Intractable(f"{type(second.distribution).__name__} has no likelihood; compare the system by samples")
        return coarse, second.distribution.nll(tokens, rng=rng.split("fine")) * tokens.real, [first, second]

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        coarse, fine, answers = self._nll(net, tokens, rng)
        count = tokens.real.sum()
        dues: dict[str, Tensor] = {}
        for answer in answers:
            dues = {**dues, **{name: dues.get(name, 0) + value for name, value in dues_of(answer.dues, count).items()}}
        return Losses({"main": coarse.sum(), "fine": fine.sum(), **dues}, count)

    def bound(self, net: Net, tokens: Tokens, *, rng: Rng) -> Tensor:
        coarse, fine, _ = self._nll(net, tokens, rng, exact=True)
        return (coarse + fine).sum(-1)

    def asks(self, blank: Tokens) -> list[Ask]:
        return [*self.coarse.asks(blank), Ask(blank.length, stage="fine")]

    def init(self, blank: Tokens, *, rng: Rng, given: Tensor | None = None) -> Labelling:
        coarse = self.coarse.init(self.labelled(blank), rng=rng, given=given)
        return Labelling(tokens=blank, coarse=coarse, given=given, **begun(blank))

    def step(self, net: Net, state: Labelling, *, rng: Rng) -> Labelling:
        tokens = state.tokens
        kept = torch.zeros_like(tokens.real) if state.given is None else state.given
        if not bool(state.coarse.done.all()):
            coarse = self.coarse.but(sampling=self.sampling).step(net, state.coarse, rng=rng)
            assert coarse.tokens.ids is not None
            stands = replace(coarse.tokens, ids=self.nearest[coarse.tokens.ids])
            share = len(coarse.course.spans) / (len(coarse.course.spans) + 1)
            return replace(state, tokens=tokens.where(kept | ~coarse.spoken(), stands), coarse=coarse, at=coarse.at, progress=coarse.progress * share)
        drawn: Any = self.fine(net, state.coarse.tokens, state.progress).distribution.sample(rng=rng.split("fine"), how=self.sampling)
        done, whole = torch.ones_like(state.done), torch.ones_like(state.progress)
        return replace(state, tokens=tokens.where(kept, drawn), at=state.at + 1, progress=whole, done=done)
