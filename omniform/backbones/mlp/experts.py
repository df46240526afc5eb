"""A mixture of experts with a load balance due."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...core.errors import BadArgument
from ...core.net import Block, Env
from ...core.spec import Spec


class Experts(Block):
    """Each token goes to its `top` best experts, weighted by the router's softmax (renormalised over the chosen ones where `renormalise`).

    shared: experts that every token passes besides (arXiv:2401.06066), each a `shared_mlp` where that is said.
    balance: weight of the load balance due num * sum(share * mean probability)
    (Switch Transformer, arXiv:2101.03961, equations 4 to 6), which is 1 when the load is even. One expert equals the dense MLP.
    """

    def __init__(
        self, width: int, num: int, mlp: Spec, top: int = 1, shared: int = 0, balance: float = 0.01, renormalise: bool = False, shared_mlp: Spec | None = None
    ):
        super().__init__()
        if not 1 <= top <= num:
            raise BadArgument(f"a token goes to 1 to {num} experts, not {top}")
        self.num, self.top, self.balance, self.renormalise = num, top, balance, renormalise
        self.router = nn.Linear(width, num, bias=False)
        self.experts = nn.ModuleList(mlp.build(width=width) for _ in range(num))
        self.shared = nn.ModuleList((shared_mlp or mlp).build(width=width) for _ in range(shared))

    def forward(self, x: Tensor, env: Env) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        share = self.router(flat).float().softmax(-1)
        weight, chosen = share.topk(self.top, -1)
        if self.renormalise:
            weight = weight / weight.sum(-1, keepdim=True)
        y = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            token, slot = sent(chosen, number, self.num)
            out = expert(flat[token][None], env)[0]
            y = y.index_add(0, token, out * weight[token, slot, None].to(out.dtype))
        if self.balance and self.training:
            real = (env.doc >= 0).expand(x.shape[:2]).reshape(-1, 1).float()  # padding is nobody's load
            load = torch.zeros(self.num, device=x.device).scatter_add(0, chosen.flatten(), real.expand_as(chosen).flatten())
            mean = (share * real).sum(0) / real.sum().clamp(min=1)
            env.due("balance", self.balance * self.num * (load / load.sum().clamp(min=1) * mean).sum())
        y = y.reshape(x.shape)
        return sum((e(x, env) for e in self.shared), y)


def sent(chosen: Tensor, number: int, num: int) -> tuple[Tensor, Tensor]:
    """Which tokens chose one of num, and as which of their choices. On the meta device nobody knows: an even share, so that costs can be counted."""
    if not chosen.is_meta:
        return (chosen == number).nonzero(as_tuple=True)  # type: ignore[return-value]
    even = chosen.numel() * (number + 1) // num - chosen.numel() * number // num
    return chosen.new_zeros(even), chosen.new_zeros(even)
