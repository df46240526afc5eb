"""The text encoders of a pipeline, put together as its class does: strings in; tokens and one vector out, as its transformer is told them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F

from ...core.encoder import FrozenEncoder
from ...core.errors import CheckpointError
from .. import clip, t5
from ..files import Waiting, Weights, digest_of_files, json_of, weights_of
from ..language import Asked
from ..pieces import config_of
from .shared import Config, Told

_LONGEST = 512
"""Tokens that a T5 which is not there would read at the most: as T5 was trained (arXiv:1910.10683, section 3.1.2)."""
_NEVER = 1 << 30
_INSIDE = "a part of a pipeline"
_MODELS = {"clip_text_model": "CLIP", "clip": "CLIP", "t5": "T5"}


@final
class Prompted(FrozenEncoder):
    """Several readers of one text. None of them is built before there is a text to read.

    parts: by the names of their folders. words: how many tokens a CLIP reads. features: the width of a token (of T5 as well where there is none).
    """

    def __init__(self, name: str, told: Told, parts: Mapping[str, Waiting], words: int, features: int, digest: str):
        after = parts[told.t5].longest if told.t5 in parts else _LONGEST * bool(told.missing)
        super().__init__(name, features, sum(parts[part].pooled for part in told.clips), words * told.states + after, digest)
        self.told, self.parts, self.words = told, parts, words
        self._built: dict[str, Any] = {}

    def read(self, text: str, length: int) -> tuple[Tensor, Tensor]:
        told = self.told
        text = text.lower().strip() if told.lowered else text
        each = [self._reader(part).deep(text, self.words) for part in told.clips]
        rows = [torch.cat([states for states, _ in each], -1)] if told.states else []
        left = length - self.words * told.states
        if left > 0 and told.t5:
            rows.append(self._after(text, left))
        pooled = torch.cat([vector for _, vector in each]) if each else torch.zeros(0)
        return torch.cat([F.pad(x, (0, self.features - x.shape[-1])) for x in rows])[:length], pooled

    def _after(self, text: str, length: int) -> Tensor:
        """T5's tokens."""
        if self.told.t5 not in self.parts:
            return torch.zeros(length, self.features)
        reader: t5.T5Reader = self._reader(self.told.t5)
        if not self.told.padded:
            return reader.read(text, length)[0]
        read = reader.padded(text, length)
        return read[: len(reader.ids(text, length))] if self.told.trimmed else read

    def _reader(self, part: str) -> Any:
        if part not in self._built:
            self._built[part] = self.parts[part].opened()
        return self._built[part]

    @property
    def usual(self) -> int | None:
        """How many tokens a caption has; None: as the transformer's part says."""
        return None if self.told.tokens is None else self.words * self.told.states + self.told.tokens


def present(folder: Path, told: Told | None, index: Config) -> bool:
    """Whether a folder holds every text encoder that its class needs and that it names."""
    if told is None:
        return False
    needed = {*told.clips, *([told.t5] if told.t5 and not told.missing else [])}
    said = [part for part in (*told.clips, told.t5) if _has(index, part)]
    return needed <= set(said) and all((folder / part).is_dir() and (folder / _tokenizer(part)).is_dir() for part in said)


def prompted(name: str, folder: Path, told: Told, index: Config, *, pickled: bool = False) -> Prompted:
    """The encoder of a pipeline: its files compared with their configurations, and not one tensor read; the digest is of their bytes."""
    parts, read, spoken = {}, [], []
    for part in (*told.clips, *([told.t5] if _has(index, told.t5) else [])):
        config, weights, place = json_of(folder / part / "config.json"), weights_of(folder / part, pickled=pickled), folder / _tokenizer(part)
        kind, wanted = str(config.get("model_type")), "T5" if part == told.t5 else "CLIP"
        if _MODELS.get(kind) != wanted:
            raise CheckpointError(f"{folder / part} is of the kind {kind!r}, and this pipeline's {part} is a {wanted} here; load its transformer's folder")
        if part == told.t5:
            said = t5.tokenizer_of(place)
            parts[part] = t5.waiting(name, config, weights, said, _INSIDE)
            spoken.append(said["tokenizer"])
        else:
            tokenizer, pad = clip.tokenizer_of(place)
            parts[part] = clip.waiting(name, config, _headed(weights, told.projected, folder / part), tokenizer, pad, _INSIDE)
            spoken += [tokenizer, str(pad)]
        spoken.append(part)
        read += [folder / part / "config.json", *weights.files]
    words = min([_words(folder / _tokenizer(told.clips[0])), *(parts[part].longest for part in told.clips)]) if told.clips else 0
    width = sum(parts[part].features for part in told.clips) * told.states
    if told.t5 in parts:
        features = parts[told.t5].features
    else:
        features = Asked(json_of(folder / "transformer" / "config.json"), "the transformer")(told.missing, int, 4096) if told.missing else width
    if features < width:
        raise CheckpointError(f"{folder}: tokens of its CLIPs are {width} numbers and of its T5 {features}, which must hold them; they do not belong together")
    return Prompted(name, told, parts, words, features, digest_of_files("\n".join([*spoken, f"{words} {features}"]), read))


def _has(index: Config, part: str) -> bool:
    """Whether a part is named; one that is left out on purpose is [null, null]."""
    return index.get(part) not in (None, [None, None])


def _words(tokenizer: Path) -> int:
    """How many tokens the pipeline has of a CLIP: model_max_length of its first tokenizer, which is enormous where nobody has said it."""
    said = config_of(tokenizer).get("model_max_length", _NEVER)
    if not isinstance(said, int | float) or isinstance(said, bool) or not said >= 3:
        raise CheckpointError(f"{tokenizer}: model_max_length is {said!r}, and a text has three tokens at the least; fetch it again")
    return int(min(said, _NEVER))


def _headed(weights: Weights, projected: bool, where: Path) -> Weights:
    """With the projection of the vector, or without it, as the class of the pipeline has it."""
    has = "text_projection.weight" in weights.shapes
    if projected and not has:
        raise CheckpointError(f"{where} has no text_projection.weight, and its pipeline is told projected vectors; fetch the folder again")
    return weights if projected == has else replace(weights, shapes={n: s for n, s in weights.shapes.items() if n != "text_projection.weight"})


def _tokenizer(part: str) -> str:
    return part.replace("text_encoder", "tokenizer")
