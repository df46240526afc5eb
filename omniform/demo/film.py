"""How a sample grows: a few moments of one generation, as pictures or text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from omniform.core.codec import Codec
from omniform.core.process import State
from omniform.core.tokens import Tokens
from omniform.system.system import System


def preview(codec: Codec, tokens: Tokens, spoken: Tensor) -> Any:
    """What is there so far. Of a grid, the places that say nothing are left grey; of a pyramid, the scales that speak; of text, a dot stands for each."""
    names = [a.name for a in codec.space.axes]
    if "scale" in names:
        return _scales(codec, tokens, spoken)
    data = codec.decode(tokens)
    if not isinstance(data, Tensor):
        return [_dotted(codec, tokens.rows(torch.tensor([i])), spoken[i]) for i in range(tokens.batch)]
    if names[-2:] != ["y", "x"] or bool(spoken.all()):
        return data
    rows, columns = (a.size for a in codec.space.axes[-2:])
    place = spoken.reshape(len(spoken), rows, columns)[:, None].repeat_interleave(data.shape[-2] // rows, 2).repeat_interleave(data.shape[-1] // columns, 3)
    return torch.where(place, data, torch.zeros_like(data))


def _scales(codec: Any, tokens: Tokens, spoken: Tensor) -> Tensor:
    """A pyramid's picture of its first scales."""
    latent, start = None, 0
    counts = torch.bincount(codec.space.places[:, codec.space.axis("scale")].long()).tolist()
    for scale, count in enumerate(counts):
        if not bool(spoken[:, start : start + count].all()):
            break
        latent, _ = codec.grown(latent, tokens.ids[:, start : start + count], scale)
        start += count
    if latent is None:
        return torch.zeros((tokens.batch, *codec.shape))
    return codec.pictured(latent)


def _dotted(codec: Codec, tokens: Tokens, spoken: Tensor) -> str:
    """One text with a dot for each piece that is not there yet."""
    said = []
    for place, there in enumerate(spoken.tolist()):
        if tokens.doc[0, place] < 0:
            break
        said.append(codec.decode(tokens.at(slice(place, place + 1)))[0] if there else "·")
    return "".join(said)


@torch.no_grad()
def film(system: System, condition: Mapping[str, Any], num: int, *, frames: int = 8, seed: int = 0, length: int | None = None) -> list[tuple[str, Any]]:
    """(caption, pictures (num, C, H, W) or one text) at `frames` moments from the first to the last."""
    seen: list[tuple[Tokens, Tensor]] = []

    def watch(state: State) -> None:
        seen.append((state.so_far(), state.spoken()))

    system.generate(num, condition, seed=seed, watch=watch, decode=False, length=length)
    chosen = range(len(seen)) if len(seen) <= frames else [round(i * (len(seen) - 1) / (frames - 1)) for i in range(frames)]
    strip: list[tuple[str, Any]] = []
    for i in chosen:
        tokens, spoken = seen[i]
        picture = preview(system.codec, tokens, spoken)
        strip.append((f"step {i + 1} of {len(seen)}", picture[0] if isinstance(picture, list) else picture.float().cpu()))
    return strip
