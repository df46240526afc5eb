"""A linear map that stays as it is, and a small one beside it that learns."""

from __future__ import annotations

from torch import Tensor, nn

from ..core.errors import BadArgument


class LowRank(nn.Module):
    """W x + (alpha / rank) B A x with W frozen and B zero at the start (LoRA, arXiv:2106.09685, section 4.1). A fresh one equals W."""

    def __init__(self, inner: nn.Linear, rank: int, alpha: float):
        super().__init__()
        if rank < 1:
            raise BadArgument(f"a low-rank update has a rank of at least 1, not {rank}; leave it out instead")
        self.inner = inner.requires_grad_(False)
        self.down = nn.Linear(inner.in_features, rank, bias=False)
        self.up = nn.Linear(rank, inner.out_features, bias=False)
        self.scale = alpha / rank
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.scale * self.up(self.down(x))


def lowered(module: nn.Module, rank: int, alpha: float) -> None:
    """Every linear map inside becomes a frozen one with an update beside it."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, LowRank(child, rank, alpha))
        else:
            lowered(child, rank, alpha)


def plain(module: nn.Module) -> nn.Module:
    """The same without its updates, and free to learn again."""
    for name, child in list(module.named_children()):
        setattr(module, name, child.inner.requires_grad_(True) if isinstance(child, LowRank) else plain(child))
    return module
