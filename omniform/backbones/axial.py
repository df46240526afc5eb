"""Exact autoregression over pictures by attention along one axis at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import BadArgument
from ..core.net import Block, Env, Record
from ..core.spec import Spec
from ..core.tokens import Axis, Space
from .hierarchy import Levels, level, ordered, started
from .positions import AxialPositions


class Axial(Block):
    """Axial Transformer (arXiv:1912.12180, section 3): three towers of blocks whose attention runs along a row or a column of H x W places.

    exterior: rows and columns in turn, both unmasked, over the channels before this one (pixel values through a 3 x 3 convolution, and which channel this is).
    outer: rows unmasked and columns masked in turn, over the rows before this one; its answer is moved down by a row. inner: rows masked, over the row at hand,
    moved right by one, and all that the other two say. So every earlier place is seen by every later one at the cost of H + W places each.

    space: axes (y, x), or (channel, y, x) in that order; without channels there is no exterior. block: Spec of the block of all towers; outer, inner, exterior:
    how many. The stream must be in raster order from the first place. A session remembers the columns of the outer tower and the row at hand of the inner
    one; the outer tower is asked once a row, the exterior once a channel.
    """

    uneven = True

    def __init__(self, width: int, space: Space, block: Spec, outer: int = 8, inner: int = 8, exterior: int = 8):
        super().__init__()
        names = [a.name for a in space.axes]
        if names[-2:] != ["y", "x"] or len(names) > 3:
            raise BadArgument(f"Axial reads pictures with axes y, x, or channel, y, x; found {', '.join(names)}")
        self.channels = space.axes[0].size if len(names) == 3 else 1
        self.rows, self.columns = (a.size for a in space.axes[-2:])
        make = lambda num: nn.ModuleList(block.build(width=width) for _ in range(num))  # noqa: E731
        grid = Space((Axis("y", self.rows), Axis("x", self.columns)), channels=1)
        self.outer, self.inner = make(outer), make(inner)
        self.places = AxialPositions(width, grid)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        if self.channels > 1:
            self.levels = max(space.vocab[0] - 1, 1)
            self.read = nn.Conv2d(2 * self.channels, width, 3, padding=1)
            self.exterior, self.exterior_places = make(exterior), AxialPositions(width, grid)
        self.register_buffer("grid", grid.places.reshape(self.rows, self.columns, 2), persistent=False)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        used, area = started(env, "Axial"), self.rows * self.columns
        levels = Levels.of(env, self.name, used)
        if levels is not None:
            return self._remembered(x, env, used, levels)
        batch, length = x.shape[:2]
        num = -(-length // area)
        fed = F.pad(x, (0, 0, 0, num * area - length)).reshape(batch * num, self.rows, self.columns, -1)
        ids = None if env.ids is None else env.ids[..., 0]
        base = self._base(batch, num, ids, env).to(x.dtype)
        said = self._embedded(fed) + base[:, :-1]
        above = F.pad(self._outer(said, env), (0, 0, 0, 0, 1, 0))
        y = self._inner(fed, above + base, env)
        return self.norm(y.reshape(batch, num * area, -1)[:, :length])

    # ---- the three towers, over (N, H, W, D) ---------------------------------------------------------------------

    def _embedded(self, fed: Tensor) -> Tensor:
        """What the places of all rows but the last say themselves, (N, H - 1, W, D): each is fed to the place after it."""
        return fed.flatten(1, 2)[:, 1 : (self.rows - 1) * self.columns + 1].unflatten(1, (self.rows - 1, self.columns))

    def _base(self, batch: int, num: int, ids: Tensor | None, env: Env, channel: int | None = None) -> Tensor:
        """(batch * channels, H, W, D): places, and the exterior of the first `num` channels or of the one that is asked for."""
        places = self.places(self.grid.flatten(0, 1)[None]).reshape(1, self.rows, self.columns, -1)
        if self.channels == 1:
            return places.expand(batch * num, -1, -1, -1)
        assert ids is not None
        area, which = self.rows * self.columns, range(num) if channel is None else range(channel, channel + 1)
        values = F.pad(ids[:, 1:], (0, self.channels * area))[:, : self.channels * area].float() / self.levels
        values = values.reshape(batch, 1, self.channels, self.rows, self.columns).expand(-1, len(which), -1, -1, -1)
        at = torch.tensor(list(which), device=values.device)
        before = torch.arange(self.channels, device=values.device)[None] < at[:, None]
        marks = F.one_hot(at, self.channels)[None, :, :, None, None].expand(batch, -1, -1, self.rows, self.columns)
        told = torch.cat([torch.where(before[None, :, :, None, None], values, 0.0), marks.to(values.dtype)], 2).flatten(0, 1)
        h = self.read(told.to(self.read.weight.dtype)).permute(0, 2, 3, 1)
        h = h + self.exterior_places(self.grid.flatten(0, 1)[None]).reshape(1, self.rows, self.columns, -1)
        for number, block in enumerate(self.exterior):
            h = self._along(block, h, env, down=bool(number % 2), masked=False)
        return h + places

    def _outer(self, x: Tensor, env: Env) -> Tensor:
        for number, block in enumerate(self.outer):
            x = self._along(block, x, env, down=bool(number % 2), masked=bool(number % 2))
        return x

    def _inner(self, fed: Tensor, told: Tensor, env: Env) -> Tensor:
        x = F.pad(fed[:, :, 1:], (0, 0, 1, 0)) + told  # a row's first place is fed nothing: what came before it is above
        for block in self.inner:
            x = self._along(block, x, env, down=False, masked=True)
        return x

    def _along(self, block: Block, x: Tensor, env: Env, *, down: bool, masked: bool) -> Tensor:
        """A block with rows, or columns, as sequences of their own."""
        x = x.transpose(1, 2) if down else x
        lines = x.flatten(0, 1)
        if masked:
            y = block(lines, ordered(env, 0, lines.shape[1], lines.shape[0]))
        else:
            y = block(lines, self._whole(env, lines))
        y = y.reshape(x.shape)
        return y.transpose(1, 2) if down else y

    def _whole(self, env: Env, lines: Tensor) -> Env:
        """Everything in a line sees everything in it."""
        zero = torch.zeros(1, lines.shape[1], dtype=torch.long, device=lines.device).expand(lines.shape[0], -1)
        return level(env, zero[..., None].float(), zero, zero, pattern="full")

    # ---- place by place ------------------------------------------------------------------------------------------

    def _remembered(self, x: Tensor, env: Env, used: int, levels: Levels) -> Tensor:
        """The new places row by row: what stands above a row is computed once, when its first place is asked."""
        said, at, end, held = [], used, used + x.shape[1], levels.held
        if self.channels > 1:
            assert env.ids is not None
            held["ids"] = env.ids[..., 0] if not used else torch.cat([held["ids"], env.ids[..., 0]], 1)
        held["fed"] = x if not used else torch.cat([held["fed"], x], 1)  # from the first place of the row at hand, or of the row before new ones
        while at < end:
            row, column = at // self.columns, at % self.columns
            if not column:
                if row % self.rows == 0:
                    self._channel(row // self.rows, at, x.shape[0], env, levels)
                else:
                    low = at - self.columns + 1 - (end - held["fed"].shape[1])
                    self._row(held["fed"][:, low : low + self.columns], row % self.rows - 1, env, levels)
                levels.records["inner"] = Record()
            last = min(end, at + self.columns - column)
            fed = x[:, at - used : last - used]
            if not column:
                fed = F.pad(fed[:, 1:], (0, 0, 1, 0))
            y = fed + (held["above"] + held["base"][:, row % self.rows])[:, column : column + last - at].to(x.dtype)
            record = levels.records["inner"]
            inside = ordered(env, column, last - at, x.shape[0], record)
            for block in self.inner:
                y = block(y, inside)
            record.extend(inside.turn, inside.lane, inside.doc)
            said.append(y)
            at = last
        keep = end - (end - 1) // self.columns * self.columns  # the row at hand, whole rows included: the next first place reads it
        held["fed"] = held["fed"][:, -keep:]
        return self.norm(torch.cat(said, 1))

    def _channel(self, channel: int, at: int, batch: int, env: Env, levels: Levels) -> None:
        """A channel begins: nothing is above its first row, and all before it is told once."""
        ids = None
        if self.channels > 1:
            ids = levels.held["ids"][:, : at + 1]
        base = self._base(batch, channel + 1, ids, env, channel)
        levels.held["base"] = base[:batch] if self.channels == 1 else base
        levels.held["above"] = levels.held["base"].new_zeros(batch, self.columns, base.shape[-1])
        levels.records["outer"], levels.lines["outer"] = Record(), self.columns

    def _row(self, said: Tensor, row: int, env: Env, levels: Levels) -> None:
        """A row is finished: what the outer tower says of it stands above the next."""
        x = said + levels.held["base"][:, row].to(said.dtype)
        batch, record = x.shape[0], levels.records["outer"]
        inside = ordered(env, row, 1, batch * self.columns, record)
        for number, block in enumerate(self.outer):
            if number % 2:
                x = block(x.reshape(batch * self.columns, 1, -1), inside).reshape(batch, self.columns, -1)
            else:
                x = block(x, self._whole(env, x))
        record.extend(inside.turn, inside.lane, inside.doc)
        levels.held["above"] = x
