"""Who hears whom in Transfusion's one sequence, place by place, and what is left of the network where there is no picture.

Every place that is read is changed in turn, and all answers are looked at; the rule that they are held against is the paper's own, written from kinds and
order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import claims
import torch

from omniform import recipes
from omniform.core.query import Query
from omniform.system.build import assemble
from omniform.system.facts import first_question

SMALL = {"network.width": 32, "network.backbone.depth": 2, "network.backbone.rotary.head_width": 8, "network.backbone.block.mlp.hidden": 64}
CLAIM = claims.Claim(
    row="transfusion",
    says="attention is causal over the sequence and bidirectional within a picture: whoever stands later, and every patch of the same picture, hears a place, "
    "and nobody else does; the caption before a picture is answered as by a language model of the same weights",
    source="arXiv:2408.11039, section 3 (Transfusion attention) and figure 4",
    recipes=("transfusion", "llama"),
    budget="every place of two sequences of 97 changed in turn, in float64: seconds",
    seeds=(0,),
    exact=True,
)


def system_of(turned: float, seed: int):
    """Small, with no weight at zero. turned 1: the picture comes first."""
    system = assemble(recipes.get("transfusion").sized("tiny").but({**SMALL, "process.turned": turned}), seed=seed).eval().double()
    for p in system.parameters():
        p.normal_(std=0.3)
    return system


def answered(system, query: Query) -> torch.Tensor:
    """(B, L, D): the stream behind the backbone, which heads read place by place."""
    said: list[torch.Tensor] = []
    hook = system.network.towers["main"].backbone.register_forward_hook(lambda _, inputs, out: said.append(out))
    system.network.open(system.conditioning.context({}, query.tokens.batch))(query)
    hook.remove()
    return said[0]


@torch.no_grad()
def measure(seed: int) -> claims.Numbers:
    heard, leaked, found = [], [], {}
    for turned in (0.0, 1.0):
        system = system_of(turned, seed)
        space = system.codec.space
        num, text = space.length, space.parts[0].length
        blank = space.blank(num + 1)
        ids = torch.randint(0, 256, (1, num, 1)).expand(num + 1, -1, -1)
        vec = torch.randn(1, *blank.vec.shape[1:], dtype=torch.float64).expand(num + 1, -1, -1)
        query = first_question(system, replace(blank, ids=ids, vec=vec))
        one = replace(query, time=query.time[:1].expand(num + 1, -1), tokens=query.tokens.rows(torch.zeros(num + 1, dtype=torch.long)))
        changed = torch.cat([torch.zeros(1, num, dtype=torch.bool), torch.eye(num, dtype=torch.bool)])[..., None]
        other = replace(one.tokens, ids=torch.where(changed, (one.tokens.ids + 7) % 256, one.tokens.ids), vec=one.tokens.vec + changed)
        known = torch.ones_like(one.known)
        out = answered(system, replace(one, tokens=other, known=known))
        moved = (out[1:] - out[:1]).abs().amax(-1)  # (place changed, place that answers)
        picture = torch.arange(num) >= text
        at = torch.arange(num) - num * (picture if turned else ~picture).long()  # where a place stands in the sequence
        rule = (at[:, None] <= at) | (picture[:, None] & picture)
        heard.append(float(moved[rule].min() / out.abs().max()))
        leaked.append(float(moved[~rule].max() / out.abs().max()))
        if not turned:
            found["caption"] = alone(system, one, text, out[:1, :text])
    return {"least_heard": min(heard), "most_leaked": max(leaked), **found}


def alone(system, query: Query, text: int, there: torch.Tensor) -> float:
    """How far the caption's answers are from those of LLaMA's recipe with the same weights, relative."""
    block = {"block.mixer.kv_heads": 4, "eps": 1e-5, "block.eps": 1e-5, "rotary": system.recipe.network.args["backbone"].args["rotary"]}
    changes = {**SMALL, "shape": (text,), **{f"network.backbone.{path}": value for path, value in block.items()}}
    model = assemble(recipes.get("llama").sized("tiny").but(changes)).eval().double()
    own = {name.replace("embed.each.0.", "embed.").replace("head.each.0.", "head."): w for name, w in system.state_dict().items()}
    model.load_state_dict({name: own[name] for name in model.state_dict()})
    tokens = replace(model.codec.space.blank(1), ids=query.tokens.ids[:1, :text])
    asked = first_question(model, tokens)
    asked = replace(asked, tokens=replace(asked.tokens, ids=query.tokens.ids[:1, :text]), known=torch.ones_like(asked.known))
    return float((answered(model, asked) - there).abs().max() / there.abs().max())


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    (run,) = runs
    held = run["least_heard"] > 1e-9 and run["most_leaked"] < 1e-12 and run["caption"] < 1e-9
    return (
        claims.Verdict.HOLDS if held else claims.Verdict.FAILS,
        f"caption or picture first, whoever may hear a place is moved by {run['least_heard']:.0e} of the stream or more, all others by "
        f"{run['most_leaked']:.0e}; the caption's answers are {run['caption']:.0e} from those of a language model",
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
