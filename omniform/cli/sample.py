"""omniform sample: pictures to a file, text to the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import click

from omniform.cli.words import bare_options, json_option, pairs, say_json, seed_option, system_of

FEW = 16
"""Pictures where nothing is said (ours)."""
ANSWER = 256
"""Tokens of a pretrained text model's answer at the most, where nothing is said (ours)."""
SPELLED = ("text", "molecule", "protein")
"""Modalities whose examples are strings."""


@click.command(short_help="Generate with a trained system.")
@click.argument("run")
@click.option("-n", "--num", type=click.IntRange(min=1), metavar="N", help="How many [one a label; 16; 1 text].")
@click.option("--label", multiple=True, metavar="CLASS", help="Given in turn; may be repeated [default: all].")
@click.option("--condition", multiple=True, metavar="KEY=VALUE", help="Anything else that the system is told.")
@seed_option
@click.option("--scale", type=float, metavar="X", help="Of guidance; 1 is none.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Of families that have steps.")
@click.option("--length", type=click.IntRange(min=1), metavar="N", help="The most tokens of a text.")
@click.option("--temperature", type=click.FloatRange(min=0), metavar="X", help="0 takes the likeliest.")
@click.option("--top-k", type=click.IntRange(min=1), metavar="K", help="Draw from the K likeliest codes.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), metavar="P", help="From the likeliest that make up P.")
@click.option("--min-p", type=click.FloatRange(0, 1), metavar="P", help="From those P times as likely as the first.")
@click.option("--repetition", type=click.FloatRange(min=0, min_open=True), metavar="X", help="Above 1: codes that were said are less likely.")
@click.option("--prompt", metavar="TEXT", help="Text to go on with, or to talk to; a caption.")
@click.option("--system", "role", metavar="TEXT", help="To a model that talks: what it is to be.")
@click.option("--plain", is_flag=True, help="Go on with the prompt as a mere text all the same.")
@bare_options
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A .png, .gif, .csv, .ply, .xyz, .npz or folder.",
)
@json_option
@click.pass_context
def sample(context: click.Context, run: str, num: int | None, out: Path | None, as_json: bool, **how: Any) -> None:
    """Generate with a trained system: its folder, shipped:, package: or hf:NAME.

    \b
    omniform sample runs/dit --label A --label B -n 8 --out letters.png
    omniform sample runs/gpt --prompt "def " --temperature 0.8
    omniform sample hf:OWNER/PIPELINE --prompt "a red circle" --out red.png
    omniform sample DiT-XL-2-256x256.pt --as dit --size XL/2 --pickled
    """
    from omniform.core.errors import BadArgument
    from omniform.system.system import System

    system = system_of(run, how)
    if not isinstance(system, System):
        raise BadArgument(f"{run} is a codec alone, which generates nothing; train a system on it (omniform train NAME --codec {run})")
    if system.recipe.modality in SPELLED:
        if out is not None and out.suffix in (".png", ".gif"):
            raise click.UsageError(f"text is not written to a {out.suffix}; name a .txt or leave --out out")
        return _texts(system, num or 1, out, as_json, how)
    from omniform.cli import clouds
    from omniform.cli import pictures as drawn

    labels, condition = _told(system, num, how)
    kind = clouds.kind_of(system.recipe.modality, system.recipe.shape)
    if kind is None:
        ending = {"video": ".gif", "timeseries": ".csv"}.get(system.recipe.modality, ".png")
        write = drawn.writer(out or Path("samples" + ending), system.recipe.modality)
    else:
        write = clouds.writer(out or Path("samples" + clouds.FORMATS[kind][0]), kind, labels)
    num = num or (len(labels) if labels else 1 if how["prompt"] is not None else FEW)
    from omniform.verbs.measuring import generated

    began = time.monotonic()
    pictures = generated(
        system,
        num,
        _spread(condition, labels, num),
        seed=how["seed"],
        progress=context.obj["progress"],
        **_settings(system, how),
    )
    seconds = time.monotonic() - began
    files = write(pictures)
    said = [labels[i % len(labels)] for i in range(num)] if labels else None
    if as_json:
        answer = {"run": run, "recipe": system.recipe.name, "num": num, "seed": how["seed"], "labels": said}
        return say_json({**answer, "condition": condition, "seconds": seconds, "files": files})
    what = f", labels {' '.join(dict.fromkeys(map(str, labels)))}" if labels else ""
    click.echo(f"{files[0] if len(files) == 1 else Path(files[0]).parent}: {num} of {system.recipe.name}{what}, {seconds:.1f} s")


def _told(system: Any, num: int | None, how: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Labels to be given in turn, and what is said to all rows; checked before anything is drawn."""
    condition = {**pairs(how["condition"], "--condition", read=str), **_captioned(system, how)}
    labels: list[Any] = list(how["label"])
    part = system.conditioning.parts["label"] if "label" in system.conditioning.parts else None
    if labels and "label" in condition:
        raise click.UsageError("say the label once: --label or --condition label=...")
    if part is not None and not labels and "label" not in condition:
        labels = list(part.names or map(str, range(part.classes)))
        labels = labels[: num or len(labels)]
    told = {**{k: [v] for k, v in condition.items()}, **({"label": labels} if labels else {})}
    for name, value in told.items():
        system.conditioning.context({name: value}, len(value))
    return labels, condition


def _captioned(system: Any, how: dict[str, Any]) -> dict[str, str]:
    """A prompt that is no text to go on with, as the caption that it is."""
    from omniform.conditions.caption import Caption

    if how["prompt"] is None or system.recipe.modality in SPELLED:
        return {}
    names = [name for name, part in system.conditioning.parts.items() if isinstance(part, Caption)]
    if not names:
        raise click.UsageError(f"{system.recipe.name} makes {system.recipe.modality} and takes no --prompt")
    if any(said.partition("=")[0] == names[0] for said in how["condition"]):
        raise click.UsageError(f"say the {names[0]} once: --prompt or --condition {names[0]}=...")
    return {names[0]: how["prompt"]}


def _spread(condition: dict[str, Any], labels: Sequence[Any], num: int) -> dict[str, list[Any]]:
    """One value a row."""
    spread = {k: [v] * num for k, v in condition.items()}
    return {**spread, "label": [labels[i % len(labels)] for i in range(num)]} if labels else spread


def _settings(system: Any, how: dict[str, Any]) -> dict[str, Any]:
    """What `generate` is told beside the condition."""
    from omniform.core.distribution import Sampling
    from omniform.core.errors import BadArgument

    drawn = {k: how[k] for k in ("temperature", "top_k", "top_p", "min_p", "repetition") if how[k] is not None}
    filters = [k for k in drawn if k != "temperature"]
    if filters and not system.codec.space.vocab:
        raise BadArgument(f"{system.recipe.name} draws continuous tokens, from which --{filters[0].replace('_', '-')} cannot choose; leave it out")
    settings: dict[str, Any] = {k: how[k] for k in ("scale", "steps") if how[k] is not None}
    if how["length"] is not None:
        if not system.codec.space.open:
            raise BadArgument(f"what {system.recipe.name} makes has one size; leave --length out")
        settings["length"] = how["length"]
    return {**settings, "sampling": Sampling(**drawn)} if drawn else settings


# ---- text -----------------------------------------------------------------------------------------------------------


def _texts(system: Any, num: int, out: Path | None, as_json: bool, how: dict[str, Any]) -> None:
    """Texts to the output stream; a single one of a causal family as it grows."""
    labels, condition = _told(system, num, how)
    settings = _settings(system, how)
    if how["prompt"]:
        settings["given"] = _prompted(system, how["prompt"], how["role"], how["plain"])
        if _pretrained(system.codec):
            keep = settings["given"][1]
            more = (how["length"] or ANSWER) if bool(keep.all()) else 0
            settings["length"] = min(keep.shape[-1] + more, system.codec.space.length)
    elif how["role"] is not None or how["plain"]:
        raise click.UsageError("--system and --plain go with a --prompt")
    said = system.codec.decode(settings["given"][0])[0] if _talks(system, how) and "given" in settings else ""
    stream = Stream(system.codec, said) if num == 1 and system.process.ordered and out is None and not as_json else None
    began = time.monotonic()
    texts = system.generate(num, _spread(condition, labels, num), seed=how["seed"], watch=stream, **settings)
    texts = [text[len(said) :] if text.startswith(said) else text for text in texts]
    if as_json:
        return say_json(
            {
                "recipe": system.recipe.name,
                "num": num,
                "seed": how["seed"],
                "seconds": time.monotonic() - began,
                "texts": texts,
            }
        )
    if out is not None:
        from omniform.system.storage import write_file

        write_file(out, "\n\n".join(texts) + "\n")
        return click.echo(f"{out}: {num} of {system.recipe.name}")
    click.echo("\n\n".join(texts) if stream is None else stream.rest(said + texts[0]))


def _talks(system: Any, how: dict[str, Any]) -> bool:
    """Whether a prompt is said to the model, and not gone on with."""
    return _pretrained(system.codec) and bool(system.codec.template) and not how["plain"]


def _pretrained(codec: Any) -> bool:
    """Whether texts are read by a tokenizer that came with a checkpoint, with its marks and its way of talking."""
    from omniform.codecs.pretrained import Pretrained

    return isinstance(codec, Pretrained)


def _prompted(system: Any, text: str, role: str | None, plain: bool) -> tuple[Any, Any]:
    """The prompt as given tokens."""
    import torch

    from omniform.core.errors import CodecError

    talks = _talks(system, {"plain": plain})
    if role is not None and not talks:
        raise click.UsageError("--system is for a model that was taught to talk, without --plain")
    messages = [*([{"role": "system", "content": role}] if role is not None else []), {"role": "user", "content": text}]
    tokens = system.codec.prompt([messages if talks else text])
    room = system.codec.space.length
    if tokens.length >= room:
        raise CodecError(f"the prompt has {tokens.length} tokens and {room} are all there is room for; shorten it")
    if not _pretrained(system.codec) or system.codec.mask is None:
        return tokens, torch.ones(tokens.length, dtype=torch.bool)
    blanks = system.codec.blanks(tokens)
    if not bool(blanks.any()):
        raise CodecError(f"this model fills in what is left open; write {system.codec.marks['mask_token']} where a word is missing")
    return tokens, ~blanks


@final
class Stream:
    """Writes a text while it grows, from behind what is said already: called with each state."""

    def __init__(self, codec: Any, said: str = ""):
        self.codec, self.written = codec, said

    def __call__(self, state: Any) -> None:
        text = self.codec.decode(state.tokens.at(slice(0, int(state.at[0]))))[0].rstrip("\ufffd")  # half a character is not shown yet
        if text.startswith(self.written):
            click.echo(text[len(self.written) :], nl=False)
            sys.stdout.flush()
            self.written = text

    def rest(self, text: str) -> str:
        """What was not written yet."""
        return text[len(self.written) :] if text.startswith(self.written) else "\n" + text
