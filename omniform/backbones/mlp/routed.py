"""A linear map of which each token uses some of the input's channels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import BadArgument
from ...core.net import Block, Env
from .experts import sent


class RoutedLinear(Block):
    """Input channels in `groups` equal sub-dimensions: the first `shared` of them are read for every token, of the others the `top` that a router picks
    (MoHD, arXiv:2412.05644, abstract).

    y = fuse(scale * (sum over shared of W_g x_g + sum over picked of r_g W_g x_g)). What the abstract leaves open is ours: a router in each map, r the softmax
    over the picked ones times their number (1 when the router says nothing), scale sqrt(groups / read), which keeps the variance ("activation scaling"), fuse
    a block-diagonal map of every groups-th channel, the identity at the start ("group fusion"), and Switch's balance due (as in Experts).
    Nothing is computed for what is not read. All groups read by a router that says nothing: a dense linear map without bias. x (B, L, width) -> (B, L, out).
    """

    def __init__(self, width: int, out: int, groups: int, shared: int, top: int, balance: float = 0.01, scaled: bool = True, fused: bool = True):
        super().__init__()
        if width % groups or not 0 <= top <= groups - shared or shared + top < 1:
            raise BadArgument(f"{width} channels in {groups} groups, {shared} of them shared and {top} picked: groups must divide the channels, and hold both")
        if fused and out % groups:
            raise BadArgument(f"{out} channels do not divide into {groups} groups to be fused; choose another number, or fused=False")
        self.groups, self.shared, self.top, self.balance = groups, shared, top, balance
        self.scale = math.sqrt(groups / (shared + top)) if scaled else 1.0
        each = width // groups
        self.weight = nn.Parameter(torch.randn(groups, out, each) * 0.02)
        self.router = nn.Linear(width, groups - shared, bias=False) if 0 < top else None
        self.fuse = nn.Parameter(torch.eye(out // groups).expand(groups, -1, -1).clone()) if fused else None

    def forward(self, x: Tensor, env: Env) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        parts = flat.unflatten(-1, (self.groups, -1))
        y = flat[:, : self.shared * parts.shape[-1]] @ self.weight[: self.shared].to(x.dtype).transpose(1, 2).flatten(0, 1)
        if self.router is not None:
            y = self._picked(flat, parts, y, env)
        y = y * self.scale
        if self.fuse is not None:
            lined = y.unflatten(-1, (-1, self.groups)).transpose(1, 2).flatten(1)  # channel i of group g is channel i * groups + g
            y = F.conv1d(lined.t()[None], self.fuse.to(y.dtype).flatten(0, 1)[..., None], groups=self.groups)[0].t()
            y = y.unflatten(-1, (self.groups, -1)).transpose(1, 2).flatten(1)
        return y.reshape(*x.shape[:-1], -1)

    def _picked(self, flat: Tensor, parts: Tensor, y: Tensor, env: Env) -> Tensor:
        assert self.router is not None
        said = self.router(flat).float()
        most, chosen = said.topk(self.top, -1)
        weight = (most.softmax(-1) * self.top).to(y.dtype)
        num = said.shape[1]
        for number in range(num):
            token, slot = sent(chosen, number, num)
            group = self.shared + number
            y = y.index_add(0, token, (parts[token, group] * weight[token, slot, None]) @ self.weight[group].to(y.dtype).t())
        if self.balance and self.training:
            load = torch.zeros(num, device=y.device).scatter_add(0, chosen.flatten(), torch.ones_like(chosen.flatten(), dtype=torch.float32))
            env.due("balance", self.balance * num * (load / load.sum() * said.softmax(-1).mean(0)).sum())
        return y
