"""Two linear maps and what stands between them."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import BadArgument
from ...core.net import Block, Env
from ..streams import Streams

Activation = Literal["gelu", "gelu_tanh", "silu", "relu", "relu2", "swiglu", "geglu"]
_GATED = {"swiglu": F.silu, "geglu": F.gelu}
_PLAIN = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),
}


class _Feed(nn.Module):
    def __init__(self, width: int, hidden: int, activation: str, bias: bool):
        super().__init__()
        self.gated = activation in _GATED
        self.act = _GATED.get(activation) or _PLAIN[activation]
        self.up = nn.Linear(width, hidden * (2 if self.gated else 1), bias=bias)
        self.down = nn.Linear(hidden, width, bias=bias)
        self.units: int | None = None  # set by an objective: only the first hidden units are there

    def __call__(self, x: Tensor) -> Tensor:  # a private half of Mlp: hooks have their place there, and a module's call costs as much as a small operation
        if self.units is not None:
            return self._nested(x, self.units)
        if self.gated:
            gate, y = self.up(x).chunk(2, -1)
            return self.down(self.act(gate) * y)
        return self.down(self.act(self.up(x)))

    def _nested(self, x: Tensor, first: int) -> Tensor:
        """With the first hidden units only (MatFormer, arXiv:2310.07707, equation 1)."""
        num = 2 if self.gated else 1
        biases = (None,) * num if self.up.bias is None else self.up.bias.chunk(num)
        *gate, y = [F.linear(x, w[:first], None if b is None else b[:first]) for w, b in zip(self.up.weight.chunk(num), biases, strict=True)]
        return F.linear(self.act(gate[0]) * y if gate else self.act(y), self.down.weight[:, :first], self.down.bias)


class Mlp(Block):
    """Linear, activation, Linear. Gated kinds (SwiGLU, GEGLU: arXiv:2002.05202) have gate and value in one map; relu2: Primer, arXiv:2109.08668.

    hidden: its inner width, else ratio * width. streams 2: the prefix has weights of its own; kinds: so has each kind of token.
    """

    def __init__(
        self,
        width: int,
        ratio: float = 4.0,
        hidden: int | None = None,
        activation: Activation = "gelu_tanh",
        bias: bool = True,
        streams: int = 1,
        kinds: int = 0,
    ):
        super().__init__()
        if activation not in _GATED and activation not in _PLAIN:
            raise BadArgument(f"an activation is one of {', '.join([*_PLAIN, *_GATED])}, not {activation!r}")
        self.feed = Streams(streams, lambda: _Feed(width, hidden or int(ratio * width), activation, bias), kinds)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        return self.feed.through(x, env)
