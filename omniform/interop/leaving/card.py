"""A model card: README.md in the form that the Hugging Face hub reads, written from what is known and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omniform.core.net import parameters_of
from omniform.core.spec import Spec
from omniform.system.system import CodecSystem, System

_TASKS = {"text": "text-generation", "image": "unconditional-image-generation", "video": "text-to-video", "audio": "text-to-audio"}


def card(system: System | CodecSystem, notes: Mapping[str, Any], *, opens: str, library: str = "omniform") -> str:
    """What it is, from which papers, how large, on what and how it was trained, what was measured, and how it is opened. What is not known is not said."""
    recipe = system.recipe
    tags = ["omniform", recipe.family.replace(" ", "-"), *(f"arxiv:{s.arxiv}" for s in recipe.source if s.arxiv)]
    head = ["---", f"library_name: {library}", "tags:", *(f"- {t}" for t in tags)]
    if isinstance(system, System) and recipe.modality in _TASKS:
        head.append(f"pipeline_tag: {_TASKS[recipe.modality]}")
    told = f" It is told {', '.join(recipe.conditions)}." if recipe.conditions else ""
    lines = [*head, "---", "", f"# {recipe.title}", "", f"{_a(recipe.family)} model of {recipe.modality}: the recipe `{recipe.name}` of Omniform.{told}"]
    lines += ["", "## Sources", "", *(f"- {s.title}" + (f", arXiv:{s.arxiv}" if s.arxiv else "") + (f" ({s.at})" if s.at else "") for s in recipe.source)]
    lines += ["", "## Size", "", *_size(system)]
    for title, part in (("Data", _data(notes)), ("Training", _training(notes)), ("Measured", _measured(notes))):
        if part:
            lines += ["", f"## {title}", "", *part]
    lines += ["", "## Open it", "", "```python", opens, "```"]
    ids = _ids(system)
    return "\n".join([*lines, *(["", "## Ids", "", ids] if ids else []), ""])


def _a(word: str) -> str:
    return f"A{'n' if word[:1] in 'aeiou' else ''} {word}"


def _size(system: System | CodecSystem) -> list[str]:
    space = system.codec.space
    what = f"codes of {' x '.join(f'{v:,}' for v in space.vocab)}" if space.vocab else f"{space.channels} numbers"
    lines = [f"- {space.length:,} tokens, each {what}, from examples of shape {'x'.join(map(str, system.recipe.shape))}"]
    if isinstance(system, System):
        lines.append(f"- {parameters_of({'n': system.network, 'c': system.conditioning}):,} parameters of the network and its conditions")
        backbone = system.recipe.network.args.get("backbone") if system.recipe.network else None
        if isinstance(backbone, Spec) and "depth" in backbone.args:
            lines.append(f"- width {system.network.width}, depth {backbone.args['depth']}")
    codec = parameters_of({"codec": system.codec})
    return [*lines, f"- {codec:,} parameters of the codec ({type(system.codec).__name__})"] if codec else lines


def _data(notes: Mapping[str, Any]) -> list[str]:
    return [f"- {notes['data']}"] if isinstance(notes.get("data"), str) else []


def _training(notes: Mapping[str, Any]) -> list[str]:
    kept = [(k, notes[k]) for k in ("command", "seed", "steps", "hours", "weights", "torch", "machine") if notes.get(k) not in (None, "")]
    lines = [f"- {k}: `{v}`" if k == "command" else f"- {k}: {v}" for k, v in kept]
    settings = notes.get("training")
    if isinstance(settings, Mapping):
        lines.append("- " + ", ".join(f"{k} {v}" for k, v in settings.items()))
    return lines


def _measured(notes: Mapping[str, Any]) -> list[str]:
    found = [f"- training loss at the end: {notes['loss']}"] if isinstance(notes.get("loss"), int | float) else []
    for name in ("scores", "report", "evaluation", "score"):
        if isinstance(notes.get(name), Mapping):
            found += [f"- {k}: {v}" for k, v in notes[name].items() if isinstance(v, int | float | str)]
    return found


def _ids(system: System | CodecSystem) -> str:
    """How a text model's ids are to be read."""
    if system.recipe.modality != "text" or not system.codec.space.vocab:
        return ""
    space = system.codec.space
    marks = [f"{n} ends a text" for n in (space.stop,) if n is not None] + [f"{n} begins every sequence" for n in (space.start,) if n is not None]
    codec = type(system.codec).__name__
    body = {"Bytes": "0 to 255 are the bytes of UTF-8", "BPE": "pieces are those of the tokenizer", "Pretrained": "ids are those of the tokenizer"}.get(
        codec, f"0 to {space.vocab[0] - 1:,} are the data's own ids"
    )
    return "; ".join([body, *marks]) + "."
