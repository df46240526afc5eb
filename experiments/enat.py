"""What a plain MaskGIT's shown places need of its hidden ones, and what a picture of ENAT costs beside networks that treat both alike.

The attention of MaskGIT as shipped (trained on the glyphs) is cut in one direction at a time, by turns: a place sees those of its turn and of earlier ones.
Costs are counted at ENAT's largest published size, for 8 questions under one term of guidance: as it is, without its last answers, and with its 24 blocks over
all places (DiT's block, MaskGIT's process).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import claims
import torch
from claims import Claim, Numbers, Verdict

from omniform import recipes, verbs
from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.mlp import Mlp
from omniform.backbones.stack import Stack
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.data import open_data
from omniform.processes.masked import Masked
from omniform.system.facts import counted

NUM = 512
TIMES, SHARE = 10, 1 / 3  # ours: what "far less" and "significantly" are

CLAIM = Claim(
    row="enat",
    says=f"shown places that cannot see hidden ones cost a trained MaskGIT at most a {TIMES}th of what hidden places that cannot see shown ones do, and a "
    "picture of ENAT-L costs less than a third of one by undivided blocks",
    source="arXiv:2411.06959, abstract (deep representations of visible tokens can be built only upon themselves; significantly reduced computational cost)",
    recipes=("enat", "maskgit"),
    budget=f"{NUM} held-out glyphs asked about three times a seed; costs counted once on the meta device; under a minute of an idle core",
    data=("glyphs",),
)


@torch.no_grad()
def measure(seed: int) -> Numbers:
    system = verbs.load("shipped:maskgit")
    batch = open_data("glyphs").test.batch(torch.randperm(4_608, generator=torch.Generator().manual_seed(seed))[:NUM])
    tokens = system.tokens(batch.data)
    posed = Masked().pose(tokens, rng=Rng.seeded(seed))
    net = system.network.open(system.conditioning.context({"label": batch.condition["label"]}, NUM))
    query, none = posed.query, torch.zeros_like(posed.query.turn)
    turns = {"whole": none, "shown_blind": (~query.known).long(), "hidden_blind": query.known.long()}
    found: Numbers = {}
    for name, turn in turns.items():
        nats, hidden = posed.price(net(replace(query, turn=turn, pattern="any")))
        found[name] = float(nats.sum() / hidden.sum())
    return found if seed else {**found, **costs()}


def costs() -> Numbers:
    """Giga multiply-adds of a picture."""
    enat = recipes.get("enat").sized("L")
    plain = Spec(Masked, {"steps": 8})
    block = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 16}), "mlp": Spec(Mlp), "modulate": "zero"})
    undivided = enat.but({"process": plain, "network.backbone": Spec(Stack, {"depth": 24, "block": block})})
    every = {"enat": enat, "without_last_answers": enat.but({"process": plain}), "undivided": undivided}
    return {f"giga_{name}": counted(recipe).multiply_adds_per_sample / 1e9 for name, recipe in every.items()}


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    ratio = [(r["hidden_blind"] - r["whole"]) / max(r["shown_blind"] - r["whole"], 1e-9) for r in runs]
    cost = runs[0]
    share = cost["giga_enat"] / cost["giga_undivided"]
    loss = [sum(r[name] for r in runs) / len(runs) for name in ("whole", "shown_blind", "hidden_blind")]
    said = (
        f"{loss[0]:.2f} nats a hidden code, {loss[1]:.2f} where shown places do not see hidden ones, {loss[2]:.2f} the other way ({min(ratio):.1f} to "
        f"{max(ratio):.1f} times as much more); {cost['giga_enat']:.0f} G multiply-adds of {cost['giga_undivided']:.0f} ({share:.2f}), "
        f"{cost['giga_without_last_answers']:.0f} without last answers"
    )
    if min(ratio) >= TIMES and share < SHARE:
        return Verdict.HOLDS, said
    return (Verdict.FAILS if max(ratio) < TIMES or share >= SHARE else Verdict.UNDECIDED), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
