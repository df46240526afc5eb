"""Two linear maps and what stands between them."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import BadArgument
from ...core.net import Block, Env
from ...core.spec import Spec
from ..lean import Linear
from ..streams import Streams

Activation = Literal["gelu", "gelu_tanh", "gelu_sigmoid", "silu", "relu", "relu2", "swiglu", "geglu", "geglu_tanh"]
_GATED = {"swiglu": F.silu, "geglu": F.gelu, "geglu_tanh": partial(F.gelu, approximate="tanh")}
_PLAIN = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "gelu_sigmoid": lambda x: x * (1.702 * x).sigmoid(),  # GELU's other approximation (arXiv:1606.08415, section 2)
    "silu": F.silu,
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),
}


class Feed(nn.Module):
    def __init__(self, width: int, hidden: int, activation: str, bias: bool):
        super().__init__()
        self.gated = activation in _GATED
        self.act = _GATED.get(activation) or _PLAIN[activation]
        self.up = Linear(width, hidden * (2 if self.gated else 1), bias=bias)
        self.down = Linear(hidden, width, bias=bias)
        self.units: int | None = None  # set by an objective: only the first hidden units are there

    def forward(self, x: Tensor) -> Tensor:
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


class _Told(Block):
    """The same of two parts that stand in place of the linear maps."""

    def __init__(self, width: int, hidden: int, activation: str, linear: Spec):
        super().__init__()
        self.gated = activation in _GATED
        self.act = _GATED.get(activation) or _PLAIN[activation]
        self.up, self.down = linear.build(width=width, out=hidden * (2 if self.gated else 1)), linear.build(width=hidden, out=width)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        y = self.up(x, env)
        if not self.gated:
            return self.down(self.act(y), env)
        gate, y = y.chunk(2, -1)
        return self.down(self.act(gate) * y, env)


class Mlp(Block):
    """Linear, activation, Linear. Gated kinds (SwiGLU, GEGLU: arXiv:2002.05202) have gate and value in one map; relu2: Primer, arXiv:2109.08668.

    hidden: its inner width, else ratio * width. streams 2: the prefix has weights of its own; kinds: so has each kind of token.
    linear: Spec of what stands in place of the two maps (MoHD).
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
        linear: Spec | None = None,
    ):
        super().__init__()
        if activation not in _GATED and activation not in _PLAIN:
            raise BadArgument(f"an activation is one of {', '.join([*_PLAIN, *_GATED])}, not {activation!r}")
        inner = hidden or int(ratio * width)
        self.feed = Streams(streams, lambda: _Told(width, inner, activation, linear) if linear else Feed(width, inner, activation, bias), kinds)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        return self.feed.through(x, env)
