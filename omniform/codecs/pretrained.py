"""The tokenizer that a published text model was trained with: its own ids, special tokens within them, and the form of its conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from tokenizers import Tokenizer

from omniform.core.errors import BadArgument, CodecError
from omniform.core.tokens import Axis, Space, Tokens

from .text import TextCodec


@final
class Pretrained(TextCodec):
    """Text as the ids of somebody's tokenizer.

    tokenizer: the JSON text of the `tokenizers` library. vocab: rows of the model's table, where it has more than the tokenizer has ids. stop: the id that
    ends a text, also of a turn in a conversation. template: Jinja text of a conversation, "" for none (transformers' chat templates; rendered in a
    sandbox), in which marks are known by name ("bos_token", "eos_token"; "mask_token" stands where something is to be filled in). start: what the first place
    is fed where it is asked for. A document is a text, or a conversation: messages {"role": ..., "content": ...}.
    """

    documents = (str, list)

    def __init__(
        self,
        shape: tuple[int, ...],
        tokenizer: str,
        vocab: int | None = None,
        stop: int | None = None,
        template: str = "",
        marks: Mapping[str, str] | None = None,
        long: str = "refuse",
        start: int | None = None,
    ):
        try:
            model = Tokenizer.from_str(tokenizer)
        except Exception as error:  # the library raises bare Exception
            raise CodecError(f"the tokenizer is not JSON that the tokenizers library reads ({error}); take the checkpoint's own tokenizer.json") from error
        known = model.get_vocab_size(with_added_tokens=True)
        super().__init__(shape, max(vocab or 0, known) - 2, long)
        if stop is not None and not 0 <= stop < known:
            raise BadArgument(f"the stop token {stop} is not one of the tokenizer's {known}; take the checkpoint's own tokenizer.json")
        model.no_padding()
        model.no_truncation()
        self.tokenizer, self.template, self.marks, self._model = tokenizer, template, dict(marks or {}), model
        self.mask = model.token_to_id(self.marks["mask_token"]) if self.marks.get("mask_token") else None
        self.space = Space(axes=(Axis("time", shape[0]),), vocab=(max(vocab or 0, known),), stop=stop, start=start, open=True)
        self._ends = stop is not None and model.encode("").ids[-1:] == [stop]  # T5's tokenizer ends a text itself

    def pieces_of(self, text: str) -> list[int]:
        ids = self._model.encode(text).ids
        return ids[:-1] if self._ends else ids

    def _fitting(self, number: int, text: Any) -> list[int]:
        if isinstance(text, str):
            return super()._fitting(number, text)
        pieces = self._model.encode(self.conversation(text), add_special_tokens=False).ids
        if len(pieces) > self.shape[0]:
            raise CodecError(f"conversation {number} has {len(pieces)} tokens and {self.shape[0]} are all there is room for; leave out its beginning")
        return pieces

    def text_of(self, pieces: Sequence[int]) -> str:
        return self._model.decode(list(pieces), skip_special_tokens=True)

    def encode(self, data: Any, *, rng: Any = None) -> Tokens:
        """As long as the longest text: there is room for far more than most texts have."""
        tokens = self._filled(data, stop=self.space.stop is not None)
        return tokens.at(slice(0, max(int(tokens.real.sum(1).max()), 1)))

    def prompt(self, data: Any) -> Tokens:
        """As for every text; one that gives no token at all is refused, for nothing would be gone on with."""
        tokens = super().prompt(data)
        if not bool(tokens.real[:, 0].all()):
            raise CodecError("an empty prompt gives this model nothing to go on with; write a word")
        return tokens

    def blanks(self, tokens: Tokens) -> torch.Tensor:
        """(B, L) where a text says that something is to be filled in."""
        assert tokens.ids is not None
        return torch.zeros_like(tokens.real) if self.mask is None else tokens.ids[..., 0] == self.mask

    def decode(self, tokens: Tokens) -> list[str]:
        """What is real: a stop token within a conversation ends nothing."""
        assert tokens.ids is not None
        said = zip(tokens.ids.squeeze(-1).tolist(), tokens.real.tolist(), strict=True)
        return [self.text_of([i for i, r in zip(row, real, strict=True) if r]) for row, real in said]

    def windows(self, text: str, length: int) -> Tokens:
        """(B, length) a long text in windows side by side; the last is padded. No stop token is added."""
        ids = self.pieces_of(text)
        if len(ids) < 2:
            raise CodecError("a text of one token has nothing to be scored; give a longer one")
        length = min(self.shape[0], length, len(ids))
        rows = -(-len(ids) // length)
        padded = torch.tensor(ids + [0] * (rows * length - len(ids)))
        blank = self.space.blank(rows, {"time": length})
        real = torch.arange(rows * length).view(rows, length) < len(ids)
        doc = blank.doc if bool(real.all()) else torch.where(real, 0, -1)
        return Tokens(padded.view(rows, length, 1), None, blank.coord, blank.kind, doc)

    def conversation(self, messages: Sequence[dict[str, str]]) -> str:
        """Messages ({"role": ..., "content": ...}) as the text that the model was taught to answer."""
        if not self.template:
            raise CodecError("this model brings no form of conversation; give it a plain text to go on with")
        for message in messages:
            if not isinstance(message, dict) or not {"role", "content"} <= set(message):
                raise CodecError(f"a conversation is a list of messages with role and content, and one of them is {str(message)[:60]!r}")
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        try:
            sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
            return sandbox.from_string(self.template).render(messages=list(messages), add_generation_prompt=True, **self.marks)
        except TemplateError as error:
            raise CodecError(f"the model's form of conversation cannot be filled in ({error}); give it a plain text") from error
