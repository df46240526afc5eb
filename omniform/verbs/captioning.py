"""Whether pictures belong to the captions that they were drawn from: CLIP score, by both halves of one CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omniform.conditions.caption import Caption
from omniform.core.encoder import FrozenEncoder
from omniform.core.errors import BadArgument
from omniform.evaluation.retrieval import DEPICTS, clip_score
from omniform.evaluation.sighted import Sighted
from omniform.interop.encoders import text_half
from omniform.system.sight import PictureEncoder
from omniform.system.system import System


def belonging(
    system: System, where: str | Path, seer: Sighted, fake: Tensor, told: Mapping[str, Any], unseen: Tensor, beside: Mapping[str, Any]
) -> dict[str, Any]:
    """"captions": how near pictures and captions are to the encoder at a place, where that reads texts too and the system is told captions; else nothing.

    fake: drawn from what was told. "held_out": unseen pictures and what the data say beside them, which a system that draws what it is told would reach;
    "chance": the drawn ones, each with the caption of another.
    """
    names = [n for n, part in system.conditioning.parts.items() if isinstance(part, Caption) and n in told and all(isinstance(x, str) for x in told[n])]
    reader = text_half(where) if names else None
    if reader is None:
        return {}
    name = names[0]
    drawn, real = vectors(seer.encoder, reader, fake, told[name]), vectors(seer.encoder, reader, unseen, beside[name])
    scores = {"clip_score": clip_score(*drawn), "held_out": clip_score(*real), "chance": clip_score(drawn[0], drawn[1].roll(1, 0))}
    return {"captions": {"told": name, "texts": len(fake), **scores}}


def vectors(seer: PictureEncoder, reader: FrozenEncoder, pictures: Tensor, captions: list[str]) -> tuple[Tensor, Tensor]:
    """(N, P) of pictures and (N, P) of what is said of them."""
    if seer.pooled != reader.pooled:
        raise BadArgument(f"{reader.name} sees {seer.pooled} numbers a picture and reads {reader.pooled} a text, which do not compare; give a whole CLIP")
    return Sighted(seer).features(pictures), torch.stack([reader.one(DEPICTS + text)[1] for text in captions])
