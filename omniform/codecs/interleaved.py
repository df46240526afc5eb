"""Texts and pictures in one sequence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor, nn

from ..core.batch import Parts
from ..core.codec import Codec, LearnedCodec
from ..core.errors import BadArgument, CodecError, ShapeError
from ..core.rng import Rng
from ..core.spec import Spec
from ..core.tokens import Axis, Space, Tokens


@final
class Interleaved(Codec):
    """A text and then the tokens of whatever `inner` reads, one after another along "place": kind 0 and kind 1. Data: Parts((texts, pictures)).

    text: Spec of a text codec, length: its places; one of them is for the stop that every text has here, since what comes after it reads it. inner: Spec of
    a codec of one kind. Which of the two is said first is not the codec's affair but the process's: places have turns.
    """

    reads = ("text",)

    def __init__(self, shape: tuple[int, ...], text: Spec, length: int, inner: Spec):
        super().__init__()
        self.shape = tuple(shape)
        self.text: Codec = text.build(shape=(length,))
        self.inner: Codec = inner.build(shape=shape)
        said, seen = self.text.space, self.inner.space
        if said.stop is None or len(said.vocab) != 1:
            raise BadArgument(f"the text of a sequence needs a codec with a stop, such as Bytes or BPE, not {text.make.__name__}")
        if seen.parts or seen.vocab or seen.bits:
            raise BadArgument(f"beside the text stand continuous tokens of one kind, such as those of Patches, not those of {inner.make.__name__}")
        axes = (Axis("place", said.length + seen.length),)
        self.space = Space(axes=axes, vocab=said.vocab, channels=seen.channels, stop=said.stop, start=said.start, parts=(replace(said, open=False), seen))

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        if not isinstance(data, Parts) or len(data.each) != 2:
            raise ShapeError(f"Interleaved expects Parts((texts, pictures)) and found {type(data).__name__}; give data with the condition 'text'")
        texts, pictures = data.each
        blank = self.space.blank(len(data), device=pictures.device if isinstance(pictures, Tensor) else None)
        said, seen = self.space.segments
        assert blank.ids is not None and blank.vec is not None
        ids, vec, doc = blank.ids, blank.vec, blank.doc
        if texts is not None:
            spoken = self.text.encode(texts)
            assert spoken.ids is not None
            if bool((spoken.ids != self.space.stop).all(1).any()):
                raise CodecError(f"a text beside a picture has {self.text.space.length} places with its stop; shorten it, or give length more")
            short = said.stop - spoken.length
            ids = torch.cat([nn.functional.pad(spoken.ids, (0, 0, 0, short), value=self.space.stop).to(ids.device), ids[:, seen]], 1)
            if short or not bool(spoken.real.all()):
                doc = torch.cat([nn.functional.pad(spoken.doc, (0, short), value=-1).to(ids.device), doc[:, seen]], 1)
        if pictures is not None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not isinstance(self.inner, LearnedCodec)):
                made = self.inner.encode(pictures, rng=rng).vec
            assert made is not None
            vec = torch.cat([vec[:, said], made], 1)
        return Tokens(ids, vec, blank.coord, blank.kind, doc)

    def decode(self, tokens: Tokens) -> Parts:
        said, seen = self.space.segments
        assert tokens.ids is not None and tokens.vec is not None
        text = Tokens(tokens.ids[:, said], None, tokens.coord[:, said], tokens.kind[:, said], tokens.doc[:, said])
        blank = self.inner.space.blank(tokens.batch, device=tokens.vec.device)
        return Parts((self.text.decode(text), self.inner.decode(replace(blank, vec=tokens.vec[:, seen]))))

    def known(self, data: Parts) -> Tensor:
        """(B, L) bool: what such data says, to be kept: `generate(given=(data, codec.known(data)))` writes captions or draws pictures."""
        tokens = self.encode(data)
        said = torch.tensor([part is not None for part in data.each], device=tokens.doc.device)
        return said[tokens.kind] & tokens.real
