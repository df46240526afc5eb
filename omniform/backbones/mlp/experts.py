"""A mixture of experts with a load balance due."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...core.errors import BadArgument
from ...core.net import Block, Env
from ...core.spec import Spec


class Experts(Block):
    """Each token goes to its `top` best experts, weighted by the router's softmax (renormalised over the chosen ones where `renormalise`).

    shared: experts that every token passes besides (arXiv:2401.06066), each a `shared_mlp` where that is said; gated: times a sigmoid of the token's own, one
    for all of them (Qwen1.5-MoE's code; Time-MoE, arXiv:2409.16040, equation 6).
    balance: weight of the load balance due num * sum(share * mean probability)
    (Switch Transformer, arXiv:2101.03961, equations 4 to 6), which is 1 when the load is even. One expert equals the dense MLP.
    """

    def __init__(
        self,
        width: int,
        num: int,
        mlp: Spec,
        top: int = 1,
        shared: int = 0,
        balance: float = 0.01,
        renormalise: bool = False,
        shared_mlp: Spec | None = None,
        gated: bool = False,
    ):
        super().__init__()
        if not 1 <= top <= num:
            raise BadArgument(f"a token goes to 1 to {num} experts, not {top}")
        self.num, self.top, self.balance, self.renormalise = num, top, balance, renormalise
        self.router = nn.Linear(width, num, bias=False)
        self.experts = nn.ModuleList(mlp.build(width=width) for _ in range(num))
        self.shared = nn.ModuleList((shared_mlp or mlp).build(width=width) for _ in range(shared))
        self.gate = nn.Linear(width, 1, bias=False) if gated else None

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
        if self.gate is None:
            return sum((e(x, env) for e in self.shared), y)
        open_ = self.gate(x).sigmoid()
        return sum((open_ * e(x, env) for e in self.shared), y)


def sent(chosen: Tensor, number: int, num: int) -> tuple[Tensor, Tensor]:
    """Which tokens chose one of num, and as which of their choices. On the meta device nobody knows: an even share, so that costs can be counted."""
    if not chosen.is_meta:
        return (chosen == number).nonzero(as_tuple=True)  # type: ignore[return-value]
    even = chosen.numel() * (number + 1) // num - chosen.numel() * number // num
    return chosen.new_zeros(even), chosen.new_zeros(even)


class ExpertChoice(Block):
    """Each expert takes the tokens of a row that want it most, `capacity` L / num of them; one that nobody takes gets nothing (arXiv:2202.09368, section 3).

    Every expert has as many tokens as every other, so no balance is due. Weights are the router's softmax over experts, not renormalised. With capacity equal
    to num every expert takes all: a sum of experts weighted by the router.
    """

    def __init__(self, width: int, num: int, mlp: Spec, capacity: float = 2.0):
        super().__init__()
        if not 0 < capacity <= num:
            raise BadArgument(f"experts have room for more than 0 and at most {num} times all tokens, not {capacity}")
        self.num, self.capacity = num, capacity
        self.router = nn.Linear(width, num, bias=False)
        self.experts = nn.ModuleList(mlp.build(width=width) for _ in range(num))

    def taken(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and places (B, num, k) of the tokens that each expert takes."""
        share = self.router(x).float().softmax(-1).transpose(1, 2)
        return share.topk(max(1, int(self.capacity * x.shape[1] / self.num)), -1)  # type: ignore[return-value]

    def forward(self, x: Tensor, env: Env) -> Tensor:
        weight, place = self.taken(x)
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            index = place[:, number, :, None].expand(-1, -1, x.shape[-1])
            out = expert(x.gather(1, index), env)
            y = y.scatter_add(1, index, (out * weight[:, number, :, None].to(out.dtype)).to(y.dtype))
        return y
