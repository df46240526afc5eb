"""Text as bytes, and as pieces of words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, final

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from omniform.core.codec import Codec
from omniform.core.errors import BadArgument, CodecError, ShapeError
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space, Tokens


class TextCodec(Codec):
    """A list of strings as ids along "time".

    A document shorter than the space ends with the id `stop` and is padded (doc -1); one that fills it exactly has no
    stop; a longer one is refused, or cut where long says so. shape: (tokens,).
    """

    documents: tuple[type, ...] = (str,)
    """What a document may be."""

    def __init__(self, shape: tuple[int, ...], pieces: int, long: str):
        super().__init__()
        if len(shape) != 1 or shape[0] < 1:
            raise BadArgument(f"{type(self).__name__} expects a shape (length,) and found {tuple(shape)}; pictures go through Patches or Autoencoder")
        if long not in ("refuse", "cut"):
            raise BadArgument(f"expected long to be 'refuse' or 'cut', found {long!r}")
        self.shape, self.pieces, self.long = tuple(shape), pieces, long
        axes = (Axis("time", shape[0]),)
        self.space = Space(axes=axes, vocab=(pieces + 2,), stop=pieces, start=pieces + 1, open=True)

    @abstractmethod
    def pieces_of(self, text: str) -> list[int]:
        """The ids of a text that can be written as utf-8."""

    @abstractmethod
    def text_of(self, pieces: Sequence[int]) -> str:
        """The inverse; what no text gives (half a character) is written with U+FFFD."""

    def encode(self, data: Any, *, rng: Rng | None = None) -> Tokens:
        return self._filled(data, stop=True)

    def prompt(self, data: Any) -> Tokens:
        """Documents that are to be gone on with: without stop, and as long as the longest."""
        tokens = self._filled(data, stop=False)
        return tokens.at(slice(0, max(int(tokens.real.sum(1).max()), 1)))

    def decode(self, tokens: Tokens) -> list[str]:
        if tokens.ids is None or tokens.ids.shape[-1] != 1:
            found = "no ids" if tokens.ids is None else tuple(tokens.ids.shape)
            raise ShapeError(f"{type(self).__name__} decodes ids of shape (B, L, 1) and found {found}; give tokens of its own space")
        texts = []
        for row, real in zip(tokens.ids.squeeze(-1).tolist(), tokens.real.tolist(), strict=True):
            said = [i for i, r in zip(row, real, strict=True) if r]
            said = said[: said.index(self.space.stop)] if self.space.stop in said else said
            texts.append(self.text_of([i for i in said if i < self.pieces]))
        return texts

    def _filled(self, data: Any, *, stop: bool) -> Tokens:
        if isinstance(data, str) or not isinstance(data, Sequence) or not all(isinstance(text, self.documents) for text in data):
            raise ShapeError(f"{type(self).__name__} expects a list of strings and found {type(data).__name__}; write [text]")
        length = self.shape[0]
        rows = [self._fitting(i, text) + [self.space.stop] * stop for i, text in enumerate(data)]
        ids = torch.full((len(rows), length), self.space.stop or 0, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row[:length], dtype=torch.long)
        blank = self.space.blank(len(rows))
        ends = torch.tensor([len(row) for row in rows], dtype=torch.long)
        past = torch.arange(length) >= ends[:, None]
        doc = torch.where(past, -1, 0) if bool(past.any()) else blank.doc  # full rows stay one shared view
        return Tokens(ids.unsqueeze(-1), None, blank.coord, blank.kind, doc)

    def _fitting(self, number: int, text: str) -> list[int]:
        """The pieces of a text, as many as there is room for."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CodecError(f"text {number} holds {text[error.start]!a}, half of a surrogate pair, which utf-8 cannot write; remove it") from error
        pieces = self.pieces_of(text)
        if len(pieces) > self.shape[0] and self.long == "refuse":
            raise CodecError(
                f"{type(self).__name__} holds {self.shape[0]} tokens and text {number} has {len(pieces)}; give shape more length, or say long='cut'"
            )
        return pieces[: self.shape[0]]


@final
class Bytes(TextCodec):
    """utf-8, byte by byte."""

    def __init__(self, shape: tuple[int, ...], long: str = "refuse"):
        super().__init__(shape, 256, long)

    def pieces_of(self, text: str) -> list[int]:
        return list(text.encode())

    def text_of(self, pieces: Sequence[int]) -> str:
        return bytes(pieces).decode(errors="replace")


@final
class BPE(TextCodec):
    """Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) over bytes as in GPT-2: any text comes back exactly.

    tokenizer: the JSON text of the `tokenizers` library, so that a recipe holds all of it. Stop and start come after
    its vocabulary and cannot be written in a text.
    """

    def __init__(self, shape: tuple[int, ...], tokenizer: str, long: str = "refuse"):
        try:
            model = Tokenizer.from_str(tokenizer)
        except Exception as error:  # the library raises bare Exception
            raise CodecError(f"the tokenizer is not JSON that the tokenizers library reads ({error}); write BPE.trained(texts, ...).tokenizer") from error
        super().__init__(shape, model.get_vocab_size(with_added_tokens=True), long)
        self.tokenizer, self._model = tokenizer, model

    @staticmethod
    def trained(texts: Iterable[str], vocab: int, shape: tuple[int, ...] = (256,), long: str = "refuse") -> BPE:
        """Learned from texts: vocab pieces at the most, the 256 bytes among them."""
        if vocab < 256:
            raise BadArgument(f"expected a vocab of 256 or more, since every byte is a piece, found {vocab}")
        model = Tokenizer(models.BPE())
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        model.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=alphabet, show_progress=False)
        model.train_from_iterator(texts, trainer)
        return BPE(shape, model.to_str(), long)

    def pieces_of(self, text: str) -> list[int]:
        return self._model.encode(text, add_special_tokens=False).ids

    def text_of(self, pieces: Sequence[int]) -> str:
        return self._model.decode(list(pieces), skip_special_tokens=False)
