"""Eight things done to small glyphs, told by examples only: how well the answer to a new query is denoised with more and with fewer pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import claims
import torch
from claims import Claim, Numbers, Verdict

from omniform import recipes
from omniform.core.query import Answer
from omniform.core.rng import Rng
from omniform.data.tasks import glyph_tasks
from omniform.system.build import assemble
from omniform.training import Training, train

PAIRS, SIDE, STEPS, ROWS = 4, 8, 400, 1024
CHANGES = {
    "shape": (2 * PAIRS + 2, 1, SIDE, SIDE),
    "codec.patch": SIDE,  # a picture a token
    "network.width": 64,
    "network.backbone.stack.depth": 3,
    "network.backbone.stack.rotary.head_width": 16,
}

CLAIM = Claim(
    row="lavin-dit",
    says="pairs of examples tell the task: the held-out loss of the answer falls from no pair to one to four, and rises with pairs of another task",
    source="arXiv:2411.11505, section 3.3 (in-context learning) and the ablation of the length of the task context",
    recipes=("lavin-dit",),
    budget=f"{STEPS} steps a seed at {SIDE} x {SIDE} pixels, about a minute",
    data=("glyph-tasks",),
)


@torch.no_grad()
def held_out(system: Any, clips: torch.Tensor, pairs: int) -> float:
    """The flow's loss of the last picture, the same times and noise for any number of pairs."""
    process, tokens, total = system.process, system.codec.encode(clips), 0.0
    net = system.network.open(system.conditioning.context({}, len(clips)))
    last = tokens.length - process.places(tokens)[1]
    for draw in range(4):
        posed = process.inner.pose(tokens, rng=Rng.seeded(9_000 + draw))
        if pairs:
            query = posed.query.at(slice(process.places(tokens, pairs)[0], None))
        else:
            query = process.without(posed.query)
        point = net(query).distribution.at(slice(-last, None))
        whole = type(point)(torch.cat([torch.zeros_like(posed.query.tokens.vec[:, :-last]), point.value], 1))
        nats, counted = posed.price(Answer(whole))
        total += float(nats.sum() / counted.sum()) / 4
    return total


def measure(seed: int) -> Numbers:
    data = glyph_tasks(pairs=PAIRS, size=SIDE)
    system = assemble(recipes.get("lavin-dit").sized("tiny").but(CHANGES), seed=seed)
    plan = Training(batch=64, steps=STEPS, lr=2e-3, warmup=100, clip=1.0, seed=seed, ema=0.0, validate_every=0)
    train(system, data, plan, progress=False)
    system.eval()
    batch = data.test.batch(range(ROWS))
    clips, label = batch.data, batch.condition["label"]
    other = torch.arange(ROWS).roll(1)
    apart = label != label[other]
    misled = torch.cat([clips[other][apart, :-2], clips[apart, -2:]], 1)
    found = {f"loss_{pairs}": held_out(system, clips, pairs) for pairs in (0, 1, 4)}
    return {**found, "loss_4_apart": held_out(system, clips[apart], 4), "loss_misled": held_out(system, misled, 4)}


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    falls = sum(r["loss_0"] > r["loss_1"] > r["loss_4"] for r in runs)
    misled = sum(r["loss_misled"] > r["loss_4_apart"] for r in runs)
    each = ("loss_0", "loss_1", "loss_4", "loss_misled")
    said = "loss without, with one, with four pairs, with four of another task: " + "; ".join(" ".join(f"{r[n]:.2f}" for n in each) for r in runs)
    verdict = Verdict.HOLDS if falls == misled == len(runs) else Verdict.FAILS if not falls or not misled else Verdict.UNDECIDED
    return verdict, f"{said} (falls for {falls}, rises for {misled} of {len(runs)} seeds)"


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
