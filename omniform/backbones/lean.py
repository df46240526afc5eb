"""torch's linear map and norms with less Python between the module and its kernel, for what is asked many times a token.

Of a network of width 256 a token's maps and norms take as long in Python as in arithmetic: parameters are looked up as attributes of modules, which is a
function of Python's, and the functional forms of norms are three more (benchmarks/tax.py). Names, hooks, states and isinstance are torch's; where somebody has
put something else in a parameter's place (parametrizations, sharding), so is the forward.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """x W^T + b."""

    def forward(self, input: Tensor) -> Tensor:
        own = self._parameters
        weight = own.get("weight")
        return super().forward(input) if weight is None else F.linear(input, weight, own["bias"])


class LayerNorm(nn.LayerNorm):
    """arXiv:1607.06450."""

    def forward(self, input: Tensor) -> Tensor:
        own = self._parameters
        if "weight" not in own:
            return super().forward(input)
        return torch.layer_norm(input, self.normalized_shape, own["weight"], own["bias"], self.eps)


class RMSNorm(nn.RMSNorm):
    """arXiv:1910.07467."""

    def forward(self, x: Tensor) -> Tensor:
        own = self._parameters
        return torch.rms_norm(x, self.normalized_shape, own["weight"], self.eps) if "weight" in own else super().forward(x)
