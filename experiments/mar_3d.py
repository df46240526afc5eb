"""Tokens of a solid have no order: what that means for the solid, for the masked generator, and for how often it is asked.

The same is asked of a decoder that reads its tokens in a row (causal attention, as a next-token predictor has), for which it must not be so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import claims
import torch
from claims import Claim, Numbers, Verdict

from omniform import recipes
from omniform.core.rng import Rng
from omniform.processes.masked import asked
from omniform.system.build import assemble
from omniform.system.facts import counted

ROWS = 4

CLAIM = Claim(
    row="mar-3d",
    says="a solid does not depend on the order of its tokens, and neither do the masked generator's answers, slot by slot (1e-9); 256 tokens take 64 questions",
    source="arXiv:2503.20519, abstract and section 3.2 (random masking accommodates the unordered property of 3D latent tokens)",
    recipes=("mar-3d", "mar-3d-vae"),
    budget="exact; untrained tiny systems in double precision, seconds",
    seeds=(0, 1, 2),
    exact=True,
)


def stirred(system: Any, seed: int) -> Any:
    """Nothing at zero, so that nothing is equal because nothing is said."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in system.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.15)
    return system.double().eval()


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference."""
    return float((one - other).abs().max())


@torch.no_grad()
def measure(seed: int) -> Numbers:
    system = stirred(assemble(recipes.get("mar-3d").sized("tiny"), seed=seed), seed)
    rng = Rng.seeded(seed)
    blank = system.codec.space.blank(ROWS)
    order = rng.split("order").permutation(1, blank.length)[0]
    tokens = replace(blank, vec=rng.split("content").normal(blank.vec.shape).double(), coord=blank.coord.double())
    solid = system.codec.decode(tokens)
    net = system.network.open(system.conditioning.context({"image": torch.randn(ROWS, 49, 16).double()}, ROWS))
    known = rng.split("known").uniform(blank.doc.shape) < 0.4
    heard = lambda tokens, known: net(asked(tokens, known, torch.zeros(ROWS))).distribution.hidden[0]  # noqa: E731
    answers = heard(tokens, known)
    moved = replace(tokens, vec=tokens.vec[:, order], coord=tokens.coord[:, order])
    index = torch.arange(blank.length)
    causal = replace(asked(tokens, known, torch.zeros(ROWS)), turn=index.expand(ROWS, -1), pattern="causal")
    backbone = system.network.towers["main"].backbone.decoder
    row = lambda tokens: _in_a_row(backbone, system.network.towers["main"].embed(replace(causal, tokens=tokens)), causal)  # noqa: E731
    counts = counted(recipes.get("mar-3d").sized("LR"), costs=False)
    return {
        "solid_moves": gap(system.codec.decode(replace(tokens, vec=tokens.vec[:, order])), solid),
        "solid_hears": gap(system.codec.decode(replace(tokens, vec=tokens.vec.flip(0))), solid),
        "answers_move": gap(heard(moved, known[:, order]), answers[:, order]),
        "answers_hear": gap(heard(replace(tokens, vec=tokens.vec.flip(0)), known), answers),
        "in_a_row_move": gap(row(moved), row(tokens)[:, order]),
        "questions": counts.questions,
        "tokens": counts.tokens,
    }


def _in_a_row(stack: Any, x: torch.Tensor, query: Any) -> torch.Tensor:
    """The decoder's blocks, each place seeing those before it."""
    from omniform.core.net import Context, Env

    env = Env(
        coord=query.tokens.coord, kind=query.tokens.kind, turn=query.turn, lane=query.lane, doc=query.tokens.doc, known=query.known, modulation=None,
        context=Context(ROWS), record=None, remember=False, progress=query.progress, pattern="causal", mask=None,
    )  # fmt: skip
    return stack(x, env)


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    worst = {name: max(r[name] for r in runs) for name in ("solid_moves", "answers_move")}
    least = {name: min(r[name] for r in runs) for name in ("solid_hears", "answers_hear", "in_a_row_move")}
    said = (
        f"tokens in another order move a solid by {worst['solid_moves']:.0e} and the answers by {worst['answers_move']:.0e}, other tokens by "
        f"{least['solid_hears']:.1g} and {least['answers_hear']:.1g}; read in a row the answers move by {least['in_a_row_move']:.1g}; "
        f"{runs[0]['questions']:.0f} questions for {runs[0]['tokens']:.0f} tokens"
    )
    holds = max(worst.values()) < 1e-9 and min(least.values()) > 1e-3 and all(r["questions"] == 64 and r["tokens"] == 256 for r in runs)
    return (Verdict.HOLDS if holds else Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
