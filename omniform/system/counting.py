"""Building and asking without numbers: what happens on the meta device, and what it would cost."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.flop_counter import flop_registry

_LINEAR = ("mm", "addmm", "convolution")
"""Operations whose cost grows with the tokens asked; all other counted ones (bmm, attention kernels) are attention."""


class Shadow(TorchFunctionMode):
    """Values that decide something (places, turns, who is known) stay on the CPU; weights, and what comes of them, are on meta."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        flat, tree = tree_flatten((args, kwargs or {}))
        devices = {x.is_meta for x in flat if isinstance(x, Tensor)}
        if len(devices) == 2:
            flat = [x.to("meta") if isinstance(x, Tensor) else x for x in flat]
        args, kwargs = tree_unflatten(flat, tree)
        return func(*args, **kwargs)


class Unstarted(TorchFunctionMode):
    """Weights are left without a start: on meta there is nothing to draw, and pretending to takes seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init" or func in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


_DRAWING = (Tensor.normal_, Tensor.uniform_, Tensor.mul_, Tensor.zero_)


class Counting(TorchDispatchMode):
    """Adds up the multiply-adds of what happens inside, by PyTorch's own table of formulas."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = self.between = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in flop_registry:
            spent = flop_registry[packet](*args, **(kwargs or {}), out_val=out) / 2
            if str(packet).rsplit(".", 1)[-1] in _LINEAR:
                self.linear += spent
            else:
                self.between += spent
        return out

    @property
    def total(self) -> float:
        return self.linear + self.between
