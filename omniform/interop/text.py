"""Tokenizers that come with checkpoints, as arguments of `codecs.pretrained:Pretrained`: from a folder of transformers, or out of a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ..core.errors import CheckpointError
from .files import json_of
from .gguf import Gguf
from .pieces import config_of, special, written


def of_folder(folder: Path, slow: str = "") -> dict[str, Any] | None:
    """Its tokenizer with what its neighbours say of stop tokens and conversations; None where a folder brings no tokenizer. slow: the kind of tokenizer that
    older files are of (`pieces.written`), if no config.json says it."""
    config = json_of(folder / "config.json") if (folder / "config.json").is_file() else {}
    text = written(folder, slow or str(config.get("model_type")))
    if text is None:
        return None
    said = config_of(folder)
    generation = json_of(folder / "generation_config.json") if (folder / "generation_config.json").is_file() else {}
    stop = generation.get("eos_token_id", config.get("eos_token_id"))
    stop = stop[0] if isinstance(stop, list) and stop else stop
    template = said.get("chat_template") or ""
    if not template and (folder / "chat_template.jinja").is_file():
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    marks = {k: special(said, k, "") for k in ("bos_token", "eos_token")}
    if config.get("model_type") == "bert":
        marks["mask_token"] = special(said, "mask_token", "") or "[MASK]"
    return {"tokenizer": text, "stop": stop if isinstance(stop, int) else None, "template": template if isinstance(template, str) else "", "marks": marks}


_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_KINDS: Mapping[str, Any] = {
    "default": lambda: [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "gpt-2": lambda: [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": lambda: [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "llama-bpe": lambda: _split(_GPT4),
    "qwen2": lambda: _split(_GPT4.replace(r"\p{N}{1,3}", r"\p{N}")),
}
"""How words are cut before pairs are joined, by the names that GGUF knows (llama.cpp's llama-vocab.cpp)."""


def _split(pattern: str) -> list[Any]:
    return [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]


def of_gguf(file: Gguf) -> dict[str, Any]:
    """The tokenizer inside a GGUF file: byte-level pairs ("gpt2" there)."""
    get, said = file.get, file.said
    kind = get("tokenizer.ggml.model", str)
    if kind != "gpt2":
        raise CheckpointError(f"{file.where} has a tokenizer of the kind {kind!r} and byte-level pairs ('gpt2') are read; use the model's original folder")
    cut = get("tokenizer.ggml.pre", str, "default")
    if cut not in _KINDS:
        raise CheckpointError(f"{file.where} cuts words as {cut!r} does, and {', '.join(_KINDS)} are known; use the model's original folder")
    tokens, merges = get("tokenizer.ggml.tokens", list), get("tokenizer.ggml.merges", list)
    kinds = get("tokenizer.ggml.token_type", list, [1] * len(tokens))
    pairs = [tuple(pair.split(" ", 1)) for pair in merges if isinstance(pair, str) and " " in pair]
    if len(kinds) != len(tokens) or len(pairs) != len(merges) or not all(isinstance(t, str) for t in tokens) or len(set(tokens)) != len(tokens):
        raise CheckpointError(f"{file.where}: its tokens, kinds and pairs do not belong together; fetch it again")
    try:
        model = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"{file.where}: its pairs join what is no token ({error}); fetch it again") from error
    if cut == "qwen2":
        model.normalizer = normalizers.NFC()
    model.pre_tokenizer = pre_tokenizers.Sequence(_KINDS[cut]())
    model.decoder = decoders.ByteLevel()
    model.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, kinds, strict=True) if k == 3])
    model.add_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, kinds, strict=True) if k == 4])
    begin, stop = said.get("tokenizer.ggml.bos_token_id"), said.get("tokenizer.ggml.eos_token_id")
    for name, number in (("bos", begin), ("eos", stop)):
        if number is not None and not (isinstance(number, int) and 0 <= number < len(tokens)):
            raise CheckpointError(f"{file.where}: its {name} token {number!r} is not one of its {len(tokens):,}; fetch it again")
    if said.get("tokenizer.ggml.add_bos_token") and begin is not None:
        model.post_processor = processors.TemplateProcessing(single=f"{tokens[begin]} $A", special_tokens=[(tokens[begin], begin)])
    template = said.get("tokenizer.chat_template", "")
    marks = {"bos_token": "" if begin is None else tokens[begin], "eos_token": "" if stop is None else tokens[stop]}
    plain = json.dumps(json.loads(model.to_str()), ensure_ascii=False)
    return {"tokenizer": plain, "stop": stop, "template": template if isinstance(template, str) else "", "marks": marks}
