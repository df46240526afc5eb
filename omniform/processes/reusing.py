"""Masked, with a network that reads what it said last of the places that are shown: ENAT."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..core.net import Net
from ..core.process import Losses
from ..core.query import Answer, Query
from ..core.rng import Rng
from ..core.tokens import Tokens
from .masked import Masked

_TOLD = 0.5
"""How often training is told (the official code's reuse_prob)."""


class Reusing(Masked):
    """A Masked whose network keeps its last answer (backbones.disentangled), so that a question costs what has been shown since (ENAT, arXiv:2411.06959,
    section 4.2, and official code: train.py).

    In half of the training steps the network is asked before, without gradients, with a uniform share of the shown places hidden as well, and reads what it
    said then. (The code asks its running average; here it is the network itself.) A network that keeps nothing is one of Masked.
    """

    memory = "last"
    taught = "last"

    def loss(self, net: Net, tokens: Tokens, *, rng: Rng) -> Losses:
        posed, again = self.pose(tokens, rng=rng), rng.split("reuse")
        if float(again.split("told").uniform((1,))) < _TOLD:
            known = posed.query.known & tokens.real
            share = again.split("share").uniform((1,)).to(known.device)
            rank = again.split("which").uniform(tuple(known.shape)).to(known.device).masked_fill(~known, 2.0).argsort(-1).argsort(-1)
            earlier = known & (rank >= (share * known.sum(1, keepdim=True)).round())
            with torch.no_grad():
                net(replace(posed.query, known=earlier), remember=True)
        return self._priced(posed, net(posed.query))

    def _answered(self, net: Net, query: Query) -> Answer:
        return net(query, remember=True)
