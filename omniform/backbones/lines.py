"""A grid as one line of tokens, with the ends of its lines marked."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..core.errors import PatternUnsupported
from ..core.net import Block, Env
from ..core.spec import Spec
from ..core.tokens import Axis, Space


class Lines(Block):
    """`inner` over one sequence in raster order, in which a learned vector follows each row ([nextline]) and, in a clip, another each frame ([nextframe]);
    they are dropped behind it (Lumina-T2X, arXiv:2405.05945, section 3.1). The sequence has a single axis, so that any resolution, aspect and duration is a
    line of tokens.

    Without ends it is `inner` over the flattened index.
    """

    def __init__(self, width: int, space: Space, inner: Spec, ends: bool = True):
        super().__init__()
        sizes = [a.size for a in space.axes]
        rows = space.length // sizes[-1]
        lines = torch.arange(space.length, device="cpu").reshape(rows, -1)
        kinds = len(sizes) - 1 if ends else 0  # one mark for a picture, two for a clip
        marked: list[int] = []
        for row, places in enumerate(lines.tolist(), 1):
            marked += places + ([-1] if kinds else []) + ([-2] if kinds > 1 and row % sizes[-2] == 0 else [])
        order = torch.tensor(marked, device="cpu")
        self.length = space.length
        self.register_buffer("order", torch.where(order < 0, space.length - 1 - order, order), persistent=False)  # marks lie behind the tokens
        self.register_buffer("back", (order >= 0).nonzero()[:, 0], persistent=False)
        self.marks = nn.Parameter(torch.randn(kinds, width) * 0.02) if kinds else None
        self.inner = inner.build(width=width, space=Space(axes=(Axis("place", len(marked)),), channels=space.channels))

    def forward(self, x: Tensor, env: Env) -> Tensor:
        if env.record is not None or env.prefix or env.pattern != "full" or x.shape[1] != self.length:
            raise PatternUnsupported("Lines reads a whole grid at once and remembers nothing; use a process that asks so (Flow)")
        if self.marks is not None:
            x = torch.cat([x, self.marks.to(x.dtype).expand(x.shape[0], -1, -1)], 1)[:, self.order]
        rows, num = x.shape[:2]
        row = torch.zeros(1, num, dtype=torch.long, device=env.doc.device).expand(rows, -1)
        coord = torch.arange(num, dtype=torch.float32, device=env.coord.device)[None, :, None].expand(rows, -1, -1)
        modulation = env.modulation
        if modulation is not None and modulation.shape[1] > 1:
            raise PatternUnsupported("the ends of lines have no time of their own; ask with one time a row")
        inside = replace(env, coord=coord, kind=row, turn=row, lane=row, doc=row, known=torch.ones_like(row, dtype=torch.bool), taps={})
        y = self.inner(x, inside)
        for name, tap in inside.taps.items():
            env.taps[name] = tap[:, self.back]
        return y[:, self.back]
