"""A tower that is another with a head of its own."""

from __future__ import annotations

from torch import nn

from ..core.errors import BadArgument, nearest
from ..core.spec import Spec
from ..core.tokens import Space
from .network import Stage, Tower


class Sequel(Stage):
    """A tower that is another with a head of its own: what the other has said can be asked about again in other words (Hi-MAR, arXiv:2505.20288)."""

    def __init__(self, width: int, space: Space, head: Spec, of: str = "main"):
        super().__init__()
        self.of = of
        self.head = head.build(width=width, space=space)
        self._trunk: tuple[Tower, ...] = ()

    def follow(self, towers: nn.ModuleDict) -> None:
        """Where embedding and backbone live: the other tower owns them, this one looks them up."""
        if self.of not in towers or not isinstance(towers[self.of], Tower):
            raise BadArgument(f"a sequel reads as a tower of the network does, and there is no {self.of!r}; {nearest(self.of, towers)}")
        self._trunk = (towers[self.of],)

    @property
    def embed(self) -> nn.Module:
        """The other's."""
        return self._trunk[0].embed

    @property
    def backbone(self) -> nn.Module:
        """The other's."""
        return self._trunk[0].backbone
