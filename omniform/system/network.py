"""Networks: embed, backbone, head, by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..core.errors import BadArgument, nearest
from ..core.net import Block, Context, Env, MemoryPolicy
from ..core.query import PRELUDE, Query, one_row
from ..core.spec import Spec
from ..core.tokens import Space
from .session import Session


class Stage(nn.Module):
    """What answers the questions of one stage: an embedding, a backbone and a head, its own or another's."""

    player: str = "main"
    """Whose optimizer it belongs to."""

    def follow(self, towers: nn.ModuleDict) -> None:
        """All towers of the network, for those that begin as another does."""


class Tower(Stage):
    """Embed -> backbone -> head, all of them its own. player: "critic" for a critic's."""

    def __init__(self, width: int, space: Space, embed: Spec, backbone: Spec, head: Spec, player: str = "main"):
        super().__init__()
        self.player = player
        self.embed = embed.build(width=width, space=space)
        self.backbone = backbone.build(width=width, space=space)
        self.head = head.build(width=width, space=space)
        if self.head.tied:
            self.head.tie(tuple(self.embed.tables))


class Branch(Stage):
    """A tower that begins as another does: embedding and first blocks are the other's; its last blocks and the head are its own (HMAR, arXiv:2506.04421).

    As many of the other's last blocks are left out as there are own ones. Where a place is hidden its content stays and a vector is added: what is known
    besides is in the content. of: the stage that it branches from.
    """

    def __init__(self, width: int, space: Space, backbone: Spec, head: Spec, of: str = "main"):
        super().__init__()
        self.of = of
        self.mask = nn.Parameter(torch.randn(width) * 0.02)
        self.own = backbone.build(width=width, space=space)
        self.head = head.build(width=width, space=space)
        self._trunk: tuple[Tower, ...] = ()

    def follow(self, towers: nn.ModuleDict) -> None:
        """Where the beginning lives: the other tower owns it, this one looks it up."""
        if self.of not in towers or isinstance(towers[self.of], Branch):
            raise BadArgument(f"a branch begins as a tower of the network does, and there is no {self.of!r}; {nearest(self.of, towers)}")
        self._trunk = (towers[self.of],)

    @property
    def embed(self) -> _Beside:
        """The other's, with a vector where places are hidden."""
        return _Beside(self._trunk[0].embed, self.mask)

    def backbone(self, x: Tensor, env: Env) -> Tensor:
        """The other's first blocks, then its own."""
        blocks = self._trunk[0].backbone.blocks
        for block in blocks[: max(len(blocks) - len(self.own.blocks), 0)]:
            x = block(x, env)
        return self.own(x, env)


class _Beside:
    """A branch's embedding."""

    def __init__(self, embed: Any, mask: Tensor):
        self.embed, self.mask, self.places, self.ahead = embed, mask, embed.places, embed.ahead

    def __call__(self, query: Query, start: Tensor | None = None, add: Tensor | None = None, places: list[Tensor] | None = None) -> Tensor:
        x = self.embed(replace(query, known=torch.ones_like(query.known)), None, add, places)
        return x + self.mask.to(x.dtype) * ~query.known[..., None]


class Network(nn.Module):
    """Towers by stage, and the embedding of time that they share.

    stages: 0 for one tower, "main"; else as many towers "b0", "b1"... of the same shape. towers: more of them, by stage (a critic). init: how linear maps
    start that do not start at zero: "xavier" (ViT, DiT),
    "normal" with std 0.02 (GPT-2), or "torch". told: the stages that are told the conditions (None: all); the others know nothing of them.
    """

    def __init__(
        self,
        width: int,
        space: Space,
        embed: Spec,
        backbone: Spec,
        head: Spec,
        time: Spec | None = None,
        stages: int = 0,
        init: Literal["xavier", "normal", "torch"] = "xavier",
        towers: Mapping[str, Spec] | None = None,
        told: tuple[str, ...] | None = None,
    ):
        super().__init__()
        self.width, self.space, self.told = width, space, told
        names = [f"b{i}" for i in range(stages)] or ["main"]
        self.towers = nn.ModuleDict({n: Tower(width, space, embed, backbone, head) for n in names})
        for name, tower in (towers or {}).items():
            self.towers[name] = tower.build(width=width, space=space)
        for tower in self.towers.values():
            tower.follow(self.towers)  # type: ignore[operator]
        self.time = time.build(width=width) if time else None
        for path, module in self.towers.named_modules():
            if isinstance(module, Block):
                module.name = path
        if init != "torch":
            self._start(init)

    def _start(self, init: str) -> None:
        for path, module in self.named_modules():
            if not isinstance(module, nn.Linear) or module.weight.is_meta or ".head." in path or path.startswith("time") or not bool(module.weight.any()):
                continue
            if init == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def open(self, context: Context, *, memory: MemoryPolicy = "nothing", taps: frozenset[str] = frozenset()) -> Session:
        """A conversation: this network, a context, and a memory of its own."""
        return Session(self, context, memory, taps)

    def differentiate_twice(self) -> None:
        """Attention by elementary operations, for processes that take gradients of gradients."""
        for module in self.modules():
            if isinstance(module, Block):
                module.plain = True

    def timed(self, query: Query, front: int) -> Tensor | None:
        """(B, 1 or front + L, D): time alone. A prefix is clean (time 1), unless the question is one with it."""
        if query.time is None or self.time is None:
            return None
        time = query.time
        if front and (time.shape[1] > 1 or not bool((one_row(query.turn) == PRELUDE).all())):
            time = torch.cat([time.new_ones(time.shape[0], front), time.expand(-1, query.tokens.length)], 1)
        return self.time(time)

    @staticmethod
    def modulation(time: Tensor | None, context: Context) -> Tensor | None:
        """(B, 1 or front + L, D): time and pooled conditions."""
        told = None if context.modulate is None else context.modulate[:, None]
        return told if time is None else time if told is None else time + told
