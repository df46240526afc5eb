"""Stochastically subsampled attention: most of a training sees a random part of the keys, the end and the use see all."""

from __future__ import annotations

from typing import Any

from omniform.backbones.attention import Attention
from omniform.core.errors import BadArgument
from omniform.training.objectives.objective import Objective, of_a_system


class Subsampled(Objective):
    """Every self-attention draws, at every step, `keep` of its keys for all queries and heads; for the last `dense` of the run it sees all of them (SSA).

    Source: arXiv:2306.01705; that one draw serves a whole batch, and that causal attention always keeps the first place, is ours.
    """

    def __init__(self, system: Any, keep: float = 0.25, dense: float = 0.1):
        super().__init__()
        of_a_system(system, "Subsampled")
        if not 0 < keep <= 1 or not 0 <= dense <= 1:
            raise BadArgument(f"keep is a share above 0 and dense a share, not {keep} and {dense}")
        self.keep, self.dense = keep, dense

    def before(self, system: Any, share: float) -> None:
        subsample(system.network, self.keep if share < 1 - self.dense else None)

    def end(self, system: Any) -> None:
        subsample(system.network, None)


def subsample(network: Any, keep: float | None) -> None:
    """What share of its keys each self-attention draws in training mode; None: all."""
    for module in network.modules():
        if isinstance(module, Attention):
            module.keep = None if keep == 1 else keep
