"""A condition made into a stream of the data's shape: the encoder of a flow's source."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..core.errors import BadArgument
from ..core.net import Block, Env
from ..core.query import Query
from ..core.spec import Spec
from ..core.tokens import Space
from .attention import Attention
from .blocks import PostNorm
from .embed import Embedding
from .mlp import Mlp


class Unread(Embedding):
    """An embedding that says nothing, (B, L, D) of zeros: for towers that read their conditions only."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, query: Query, start: Tensor | None = None, add: Tensor | None = None, places: list[Tensor] | None = None) -> Tensor:
        return torch.zeros(*query.known.shape, self.width, device=query.known.device)


class TextSource(Block):
    """The condition placed "cross", `length` tokens of `context` channels, as (B, L, D): post-norm blocks, then `halvings` more, each followed by a map to
    half the width, and one linear map from all that is left to all tokens (CrossFlow's text variational encoder, arXiv:2412.15213, section 4.1 and
    trans_autoencoder.py). The stream that comes in is not read. Padding is not seen.
    """

    def __init__(self, width: int, space: Space, context: int, length: int, depth: int = 11, halvings: int = 3, heads: int = 8, hidden: int = 1024):
        super().__init__()
        if context % (heads << halvings):
            raise BadArgument(f"{context} channels cannot be halved {halvings} times and still divide into {heads} heads; change one of them")
        self.length = length
        widths = [context] * depth + [context >> i for i in range(halvings)]
        mlp = Spec(Mlp, {"hidden": hidden, "activation": "relu"})
        self.blocks = nn.ModuleList(PostNorm(w, Spec(Attention, {"heads": heads}), mlp, eps=1e-5) for w in widths)
        self.halve = nn.ModuleList(nn.Linear(w, w // 2) for w in widths[depth:])
        self.out = nn.Linear(length * (context >> halvings), space.length * width)
        self.depth = depth

    def forward(self, x: Tensor, env: Env) -> Tensor:
        told = env.context.cross
        if told is None or told.tokens.shape[1] != self.length:
            raise BadArgument(f'TextSource needs a condition of {self.length} tokens placed "cross"; add one to the recipe\'s conditions')
        y, doc = told.tokens.to(self.out.weight.dtype), told.doc
        alone = torch.eye(self.length, dtype=torch.bool, device=doc.device)  # padding is a row of its own, not of -inf
        mask = None if bool((doc >= 0).all()) else (doc >= 0)[:, None, None, :] | alone
        inside = replace(env, pattern="full" if mask is None else "any", mask=mask, record=None, prefix=0, rotation=None)
        for number, block in enumerate(self.blocks):
            y = block(y, inside)
            if number >= self.depth:
                y = self.halve[number - self.depth](y)
        y = torch.where((doc >= 0)[..., None], y, 0.0)
        return self.out(y.flatten(1)).reshape(x.shape)
