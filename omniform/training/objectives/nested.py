"""Nested MLPs: the first hidden units of every MLP are a smaller network, trained together with the large one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from omniform.backbones.mlp.dense import Feed, Mlp
from omniform.core.batch import Batch
from omniform.core.errors import BadArgument
from omniform.core.process import Losses
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.system.build import assemble
from omniform.system.system import System
from omniform.training.objectives.objective import Objective, of_a_system


class Nested(Objective):
    """The loss with several shares of each MLP's hidden units: all of them summed ("sum", the released code) or one drawn a step ("draw", equation 2).

    Attention, norms and embeddings are shared in full. `cut` makes a small system of a share. Source: arXiv:2310.07707, sections 3.1 and 3.2.
    """

    def __init__(self, system: Any, shares: Sequence[float] = (1.0, 0.5, 0.25, 0.125), how: Literal["sum", "draw"] = "sum"):
        super().__init__()
        if how not in ("sum", "draw"):
            raise BadArgument(f"shares are learnt by 'sum' or by 'draw', not {how!r}")
        if not shares or any(not 0 < share <= 1 for share in shares):
            raise BadArgument(f"shares are numbers above 0 and up to 1, not {shares!r}")
        if not feeds(of_a_system(system, "Nested").network):
            raise BadArgument("no Mlp stands in this network, so nothing is nested")
        self.shares, self.how = tuple(shares), how

    def loss(self, system: System, batch: Batch, *, rng: Rng) -> tuple[Losses, ...]:
        if self.how == "draw":
            shares = (self.shares[int(rng.split("share").integers(len(self.shares), (1,)))],)
        else:
            shares = self.shares
        try:
            return self._summed([(share, self._at(system, share, batch, rng)) for share in shares])
        finally:
            narrow(system.network, 1.0)

    @staticmethod
    def _at(system: System, share: float, batch: Batch, rng: Rng) -> tuple[Losses, ...]:
        narrow(system.network, share)
        return system.loss(batch, rng=rng)

    @staticmethod
    def _summed(each: list[tuple[float, tuple[Losses, ...]]]) -> tuple[Losses, ...]:
        if len(each) == 1:
            return each[0][1]
        players = [x.player for x in each[0][1]]
        made = []
        for i, player in enumerate(players):
            parts = {name if share == 1 else f"{name}@{share:g}": value for share, losses in each for name, value in losses[i].parts.items()}
            made.append(Losses(parts, each[0][1][i].count, player))
        return tuple(made)


def feeds(network: nn.Module) -> list[Mlp]:
    """Its MLPs, from the first block to the last."""
    return [module for module in network.modules() if isinstance(module, Mlp)]


def narrow(network: nn.Module, share: float | Sequence[float]) -> None:
    """Every MLP computes with its first hidden units only; a share for all, or one each (the paper's mix'n'match)."""
    mlps = feeds(network)
    shares = [share] * len(mlps) if isinstance(share, int | float) else list(share)
    if len(shares) != len(mlps):
        raise BadArgument(f"this network has {len(mlps)} MLPs and {len(shares)} shares were given")
    for mlp, one in zip(mlps, shares, strict=True):
        for feed in mlp.feed.each:
            feed.units = None if one == 1 else max(1, int(feed.down.in_features * one))


@torch.no_grad()
def cut(system: System, share: float) -> System:
    """A system of its own that computes what this one does with a share of every MLP's hidden units."""
    assert system.recipe.network is not None
    hidden = {feed.down.in_features for mlp in feeds(system.network) for feed in mlp.feed.each}
    if len(hidden) != 1:
        raise BadArgument(f"the MLPs of this network have {len(hidden)} widths; one is needed to cut them alike")
    first = max(1, int(hidden.pop() * share))
    paths = [path for path, value in system.recipe.network.walk() if isinstance(value, Spec) and value.make is Mlp]
    small: Any = assemble(system.recipe.but({f"network.{path}.hidden": first for path in paths}), codec=system.codec)
    weights = system.state_dict()
    for name, module in small.named_modules():
        if isinstance(module, Feed):  # an MLP's maps: up is (hidden, D), of gated kinds gate and value one over the other
            wide: Any = system.get_submodule(name)
            for key, rows in wide.up.state_dict(prefix=f"{name}.up.").items():
                weights[key] = torch.cat([part[:first] for part in rows.chunk(2 if wide.gated else 1)])
            weights[f"{name}.down.weight"] = wide.down.weight[:, :first].contiguous()
    small.load_state_dict(weights)
    return small.train(system.training)
