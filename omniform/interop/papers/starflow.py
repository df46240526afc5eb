"""Checkpoints of apple/ml-starflow."""

from __future__ import annotations

import torch

from ...system.facts import built
from ...system.recipe import Recipe
from ..ties import Table, Tie, layers, same, shaped
from .shared import LABEL, Own, Paper, depth, pairs
from .tarflow import BLOCK

_TURNS = {"interleaved": True, "told": 8}
"""Of 32 pairs in a head, the last eight are for places in a text."""
_CHANGES = {f"{at}backbone.rotary.{key}": value for at in ("network.", "network.towers.deep.") for key, value in _TURNS.items()}
_CHANGES |= {**{f"{at}embed.hidden": "content" for at in ("network.", "network.towers.deep.")}, "process.places": "turns"}
_TEXT = "conditioning.parts.text.into"
_CLASSES = 1001
"""Numbers that one of 1000 classes, or none, is said by."""


def _maps(own: Own) -> list[Tie]:
    """The ties of all maps. Norms count their weights from one."""
    maps = depth(own, "network.towers.")

    def one(number: int) -> list[Tie]:
        ours, theirs = f"network.towers.{'deep' if number + 1 == maps else f'b{number}'}.", f"blocks.{number}."

        def block(i: int) -> list[Tie]:
            return pairs(f"{ours}backbone.blocks.{i}.", f"{theirs}attn_blocks.{i}.", *BLOCK)

        return [
            shaped(f"{ours}embed.blank", f"{theirs}sos_embed", (own[f"{ours}embed.blank"][0],), (1, 1, own[f"{ours}embed.blank"][0])),
            *pairs(ours, theirs, ("embed.enter", "proj_in"), ("head.out", "proj_out")),
            *layers(depth(own, f"{ours}backbone.blocks."), block),
            same(f"{ours}backbone.final.weight", f"{theirs}final_norm.weight").then(lambda x: x + 1, lambda x: x - 1),
        ]

    return layers(maps, one)


def _told(own: Own) -> str:
    """The map that only the deep one has: of what it is told."""
    return f"blocks.{depth(own, 'network.towers.') - 1}.proj_txt"


_IGNORED = (
    (r"blocks\.\d+\.attn_mask", "the mask, which is computed"),
    (r"feat_rope\.freqs_(cos|sin)", "zeros that old files have"),
    ("var", "the variance of the base, which is one"),
)


def starflow(own: Own) -> Table:
    """apple/ml-starflow told a class (one of a vocabulary, as one of as many numbers), orders from right to left (its default).

    A map with a bias that reads a single one is a table: the bias enters every row, and leaves as zeros.
    """
    told = _told(own)
    label = Tie(LABEL, (f"{told}.weight", f"{told}.bias"), lambda xs: xs[0].T + xs[1], lambda x: (x.T, torch.zeros_like(x[0])))
    return Table("STARFlow", (label, *_maps(own)), _IGNORED)


def starflow_text(own: Own) -> Table:
    """apple/ml-starflow told texts, orders from left to right (its released configuration)."""
    return Table("STARFlow", (*pairs("", "", (_TEXT, _told(own))), *_maps(own)), _IGNORED)


def _untold(theirs: Own) -> str | None:
    """What of apple/ml-starflow is not read, whatever it is told."""
    if any(n.startswith("learnable_self_denoiser.") for n in theirs):
        return "STARFlow's network that learns to denoise (its model of clips) is not built here; without it, a model told a class or texts is read"
    return None


def _found(theirs: Own) -> tuple[int, ...] | None:
    """The numbers that it is told by."""
    return next((tuple(s[1:]) for n, s in theirs.items() if n.endswith(".proj_txt.weight")), None)


def _texted(theirs: Own, recipe: Recipe) -> str | None:
    found = _found(theirs)
    if found in (None, (_CLASSES,)):
        return _untold(theirs)
    numbers = "x".join(map(str, found)) or "no"
    return _untold(theirs) or f"this is told texts by vectors of {numbers} numbers, and {recipe.name} one of 1000 classes (of 1001); read it as starflow-text"


def _classed(theirs: Own, recipe: Recipe) -> str | None:
    if _found(theirs) == (_CLASSES,):
        return f"this is told one of 1000 classes (of 1001), and {recipe.name} texts; read it as starflow"
    length, masks = recipe.conditions["text"][0].args["length"], {tuple(s) for n, s in theirs.items() if n.endswith(".attn_mask")}
    places = built(recipe).codec.space.length
    if masks - {(places + length,) * 2}:
        found = ", ".join("x".join(map(str, s)) for s in sorted(masks))
        return f"its masks are of {found} tokens, and {places} of a picture after {length} of a text are expected; another txt_size turns texts otherwise"
    return _untold(theirs)


STARFLOW = Paper("STARFlow", starflow, _CHANGES, _texted)
_READ = {"conditions.text.0.encoder": "hf:google/flan-t5-xl", "conditions.text.0.unsaid": "empty"}
STARFLOW_TEXT = Paper("STARFlow", starflow_text, {**_CHANGES, **_READ}, _classed)
