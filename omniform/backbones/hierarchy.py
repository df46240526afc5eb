"""A coarse model of what is finished, and a fine one that writes the next piece from what the coarse one says: blocks of a fixed size, and words."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ..core.errors import BadArgument, TurnError
from ..core.net import Block, Env, Record
from ..core.query import visible
from ..core.spec import Spec
from ..core.tokens import Axis, Space, in_every_row
from .sequence import in_order


def level(env: Env, coord: Tensor, turn: Tensor, doc: Tensor, *, pattern: str = "any", record: Record | None = None) -> Env:
    """What a level of a hierarchy consults: places, turns and documents of its own, under the same rule of visibility. A record is written to."""
    zero = torch.zeros_like(turn)
    past = None if record is None or not record.used else record.ledger()
    if past is not None and pattern == "causal":
        pattern = "full" if turn.shape[1] == 1 and record is not None and record.intact else "any"
    mask = visible(turn, zero, doc, past)[:, None] if pattern == "any" else None
    known = torch.ones_like(turn, dtype=torch.bool)
    return replace(
        env, coord=coord, kind=zero, turn=turn, lane=zero, doc=doc, known=known, modulation=None, record=record, remember=record is not None,
        pattern=pattern, mask=mask, prefix=0, rotation=None, relative=None, ids=None, wanted=frozenset(),
    )  # fmt: skip


def ordered(env: Env, first: int, length: int, rows: int, record: Record | None = None) -> Env:
    """A level that is a plain sequence, the same in every row, from place `first` on."""
    at = torch.arange(first, first + length, device=env.doc.device)
    turn = in_every_row(at, rows)
    return level(env, in_every_row(at[:, None].float(), rows), turn, in_every_row(torch.zeros_like(at), rows), pattern="causal", record=record)


def asked(part: Block, x: Tensor, env: Env) -> Tensor:
    """The answer of a level, whose places are remembered where it has a record."""
    y = part(x, env)
    if env.record is not None:
        env.record.extend(env.turn, env.lane, env.doc)
    return y


def started(env: Env, who: str) -> int:
    """How many places came before these; a hierarchy counts from the first of all."""
    in_order(env, who)
    used = 0 if env.record is None else env.record.used
    if env.prefix or (env.turn.shape[1] and int(env.turn[0, 0]) != used):
        raise BadArgument(f"{who} counts its places from the first one and takes no prefix before it; place the condition otherwise, or ask from the beginning")
    return used


@dataclass
class Levels:
    """What a hierarchy remembers between questions: a record a level, and the rows that its next question needs. lines: how many rows of a record belong to
    one example, where not one."""

    used: int = 0
    records: dict[str, Record] = field(default_factory=dict)
    held: dict[str, Tensor] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def rows(self, index: Tensor) -> Levels:
        """A copy of some rows."""
        wide = lambda n: (index[:, None] * n + torch.arange(n, device=index.device)).flatten()  # noqa: E731
        records = {name: record.rows(wide(self.lines.get(name, 1))) for name, record in self.records.items()}
        return Levels(self.used, records, {name: x[index].clone() for name, x in self.held.items()}, dict(self.lines))

    @staticmethod
    def of(env: Env, name: str, used: int) -> Levels | None:
        """Where this question goes on from; None where nothing is remembered. What will not be remembered goes on from a copy."""
        if env.record is None or (not env.remember and not used):
            return None
        levels: Levels = env.record.blocks.get(name) or Levels()
        if levels.used != used:
            raise TurnError("a hierarchy of levels cannot forget a part of what it remembers; open another session")
        if not env.remember:
            return levels.rows(torch.arange(env.doc.shape[0], device=env.doc.device))
        env.record.blocks[name] = levels
        levels.used = used + env.turn.shape[1]
        return levels


class GlobalLocal(Block):
    """Block Transformer (arXiv:2406.02657, section 2): a block decoder reads blocks of `size` tokens, each the concatenation of its tokens' vectors from a
    table of width / size; a token decoder writes the next block from `prefix` vectors made of the block decoder's answer, and its own tokens so far.

    outer, inner: Specs of the two stacks. x (B, L, D) is what the token decoder reads. A learned vector stands before the first block, so that this is
    predicted too (the paper leaves it out: ours). With one token a block it is the outer stack with a map at its end. A session remembers L / size places of
    the outer stack, and of the inner one those of the block at hand.
    """

    uneven = True

    def __init__(self, width: int, space: Space, size: int, outer: Spec, inner: Spec, prefix: int = 2):
        super().__init__()
        if width % size or not space.vocab or prefix < 1:
            raise BadArgument(f"GlobalLocal needs codes, a width that {size} tokens share (found {width}) and a prefix of one or more (found {prefix})")
        self.size, self.prefix = size, prefix
        self.table = nn.Embedding(space.vocab[0], width // size)
        nn.init.normal_(self.table.weight, std=0.02)
        self.first = nn.Parameter(torch.randn(width) * 0.02)
        self.outer = outer.build(width=width, space=Space((Axis("block", -(-space.length // size)),), channels=1))
        self.inner = inner.build(width=width, space=Space((Axis("place", prefix + size - 1),), channels=1))
        self.expand = nn.Linear(width, prefix * width)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        used, size = started(env, "GlobalLocal"), self.size
        levels = Levels.of(env, self.name, used)
        assert env.ids is not None
        ids, end = env.ids[..., 0], used + x.shape[1]
        recent = ids if not used or levels is None else torch.cat([levels.held["ids"], ids], 1)
        begun = range(-(-used // size), -(-end // size))  # the blocks whose first place is asked now
        front = self._front(recent, begun, end, env, levels)
        if levels is not None:
            levels.held["ids"] = recent[:, -size:]
        said, at = [], used
        if used % size:
            assert levels is not None
            at = min(end, used + size - used % size)
            place = self.prefix + used % size - 1
            said.append(asked(self.inner, x[:, : at - used], ordered(env, place, at - used, x.shape[0], levels.records["inner"])))
        whole = (end - at) // size if levels is not None else len(begun)
        if whole:
            said.append(self._written(x[:, at - used :], front[:, :whole], env))
        at = min(at + whole * size, end)
        if at < end:
            assert levels is not None
            levels.records["inner"] = Record()
            local = torch.cat([front[:, -1], x[:, at - used + 1 :]], 1)
            said.append(asked(self.inner, local, ordered(env, 0, local.shape[1], x.shape[0], levels.records["inner"]))[:, self.prefix - 1 :])
        return torch.cat(said, 1)

    def _front(self, recent: Tensor, begun: range, end: int, env: Env, levels: Levels | None) -> Tensor:
        """(B, blocks begun, prefix, D): what the token decoder is told. recent: what the last places were fed, up to `end`."""
        rows = recent.shape[0]
        if not begun:
            return recent.new_empty(rows, 0, self.prefix, self.first.shape[0], dtype=self.first.dtype)
        parts = [self.first.expand(rows, 1, -1)] if begun[0] == 0 else []
        read = range(max(begun[0], 1), begun[-1] + 1)
        if read:
            low = recent.shape[1] - end + (read[0] - 1) * self.size + 1
            parts.append(self.table(recent[:, low : low + len(read) * self.size]).reshape(rows, len(read), -1))
        record = None if levels is None else levels.records.setdefault("outer", Record())
        h = asked(self.outer, torch.cat(parts, 1), ordered(env, begun[0], len(begun), rows, record))
        return self.expand(h).reshape(rows, len(begun), self.prefix, -1)

    def _written(self, x: Tensor, front: Tensor, env: Env) -> Tensor:
        """All places of blocks that are asked from their beginning, side by side; the last may be short where nothing is remembered."""
        rows, num = front.shape[:2]
        length = min(x.shape[1], num * self.size)
        x = nn.functional.pad(x[:, :length], (0, 0, 0, num * self.size - length)).unflatten(1, (num, self.size))
        local = torch.cat([front.to(x.dtype), x[:, :, 1:]], 2).flatten(0, 1)
        y = self.inner(local, ordered(env, 0, local.shape[1], rows * num))
        return y[:, self.prefix - 1 :].reshape(rows, num * self.size, -1)[:, :length]


class Words(Block):
    """Hierarchical autoregressive transformer (arXiv:2501.10322, section 2): an encoder reads the bytes of a word, both ways, and its answer at the word's
    first place becomes the word's vector; a causal backbone of width `wide` reads words; a decoder writes the next word's bytes, told the backbone's answer in
    place of the token that ends the word before.

    word: the id that ends a word, and that a sequence starts from. encoder, backbone, decoder: Specs of stacks. x (B, L, D) is what the decoder reads. A
    learned vector stands before the first word. A session remembers a place a word in the backbone, the decoder's places, and what was fed.
    """

    uneven = True

    def __init__(self, width: int, space: Space, word: int, wide: int, encoder: Spec, backbone: Spec, decoder: Spec):
        super().__init__()
        if not space.vocab or not 0 <= word < space.vocab[0]:
            raise BadArgument(f"Words needs codes, one of which ends a word; {word} is none of them")
        self.word = word
        self.table = nn.Embedding(space.vocab[0], width)
        nn.init.normal_(self.table.weight, std=0.02)
        self.first = nn.Parameter(torch.randn(wide) * 0.02)
        self.encoder, self.decoder = (part.build(width=width, space=Space((Axis("byte", space.length),), channels=1)) for part in (encoder, decoder))
        self.backbone = backbone.build(width=wide, space=Space((Axis("word", space.length),), channels=1))
        self.widen, self.narrow = nn.Linear(width, wide, bias=False), nn.Linear(wide, width, bias=False)

    def forward(self, x: Tensor, env: Env) -> Tensor:
        used = started(env, "Words")
        levels = Levels.of(env, self.name, used)
        assert env.ids is not None
        ids = env.ids[..., 0]
        fed = ids if not used or levels is None else torch.cat([levels.held["ids"], ids], 1)
        begins = fed == self.word
        begins[:, 0] = True
        number = begins.long().cumsum(1) - 1  # which word each place writes
        slot = torch.arange(fed.shape[1], device=fed.device)
        start = torch.where(begins, slot, 0).cummax(1).values
        now = slice(used, None)
        told = self._told(fed, begins, number, start, used, x, env, levels)
        if levels is not None:
            levels.held["ids"] = fed
        x = torch.where(begins[:, now, None], told.to(x.dtype), x)
        turn = slot[now].expand(x.shape[0], -1)
        record = None if levels is None else levels.records.setdefault("decoder", Record())
        inside = level(env, (turn - start[:, now])[..., None].float(), turn, number[:, now], record=record)
        return asked(self.decoder, x, inside)

    def _told(self, fed: Tensor, begins: Tensor, number: Tensor, start: Tensor, used: int, x: Tensor, env: Env, levels: Levels | None) -> Tensor:
        """(B, new places, D): the backbone's answer about the word that each place writes, where it is its first; else of no meaning."""
        rows, device = fed.shape[0], fed.device
        before = number[:, used - 1] if used else number.new_full((rows,), -1)
        most = int((number[:, -1] - before).max())
        if not most:
            return torch.zeros_like(x)
        word = before[:, None] + 1 + torch.arange(most, device=device)  # the words begun now, counted for each row
        real = word <= number[:, -1:]
        vector = self._read(fed, begins, number, start, word, real)
        record = None if levels is None else levels.records.setdefault("backbone", Record())
        h = asked(self.backbone, vector, level(env, word[..., None].float(), word, torch.where(real, 0, -1), record=record))
        index = (number[:, used:] - before[:, None] - 1).clamp(min=0)
        return self.narrow(h).gather(1, index[..., None].expand(-1, -1, x.shape[2]))

    def _read(self, fed: Tensor, begins: Tensor, number: Tensor, start: Tensor, word: Tensor, real: Tensor) -> Tensor:
        """(B, words, wide): the vector of the word before each of these, which is finished; the learned one before the first of all."""
        last = (word - 1).clamp(min=0)
        place = begins.to(torch.int8).argsort(dim=1, descending=True, stable=True)  # where the words begin, one after another
        at = place.gather(1, last.clamp(max=place.shape[1] - 1))
        low = int(torch.where(real, at, fed.shape[1]).min())
        seen, here = number[:, low:], torch.arange(low, fed.shape[1], device=fed.device)
        spare = torch.zeros_like(seen)
        coord = (here - start[:, low:])[..., None].float()
        env = Env(
            coord=coord, kind=spare, turn=spare, lane=spare, doc=seen, known=spare == 0, modulation=None, context=None, record=None, remember=False,  # type: ignore[arg-type]
            progress=torch.zeros(len(fed), device=fed.device), pattern="any", mask=visible(spare, spare, seen)[:, None],
        )  # fmt: skip
        y = self.widen(self.encoder(self.table(fed[:, low:]), env))
        y = y.gather(1, (at - low).clamp(min=0)[..., None].expand(-1, -1, y.shape[2]))
        return torch.where((word == 0)[..., None], self.first.to(y.dtype), y)
