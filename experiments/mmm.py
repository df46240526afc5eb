"""Motion in between: the middle of a held-out motion asked for with its end shown, beside the same network that is not shown the end, which is spliced on.

The tiny recipe learns hands that take hold of things: the codec once, then its codes with weights of each seed. Given are the words and the first quarter of
the codes, with or without the last quarter. Measured: whether given codes change, how often the network is asked, how far the decoded motion moves from frame
to frame about the seam before the end, and how far the middle is from the captured one.

The judge asked at first for any share below 1. With 400 steps of fp32 the shares were 0.99 to 1.03, with these 0.97 to 1.00: no more than chance moves them,
so it asks for NEAR now, by which neither run decides anything; the numbers measured are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import claims
import torch
from claims import Claim, Numbers, Verdict

from omniform import recipes, verbs
from omniform.data import Dataset, open_data
from omniform.system.build import assemble
from omniform.system.system import CodecSystem, Counted, System

STEPS = 600
NEAR = 0.9  # ours: a seam that is smoother by a tenth in every run
HOW = {"steps": STEPS, "precision": "bf16", "validate_every": 0, "progress": False}

CLAIM = Claim(
    row="mmm",
    says="a middle that is asked for between two ends leaves both as they are to the bit, in at most 10 questions, and moves less at its seam with the end "
    "than where the end was not shown and is spliced on",
    source="arXiv:2312.03596, abstract (fills masks with smooth transitions between edited and unedited parts) and section 3.4",
    recipes=("mmm",),
    budget=f"the codec learns {STEPS} steps, and its codes as many for each seed: about two minutes of an idle core",
    data=("hands",),
)


@cache
def learned_codec() -> CodecSystem:
    """The codec that all seeds share."""
    system = assemble(recipes.get("mmm").sized("tiny").but(network=None, process=None, conditions={}))
    verbs.train(system, open_data("hands"), lr=2e-3, **HOW)
    assert isinstance(system, CodecSystem)
    return system


def measure(seed: int) -> Numbers:
    data = open_data("hands")
    system = verbs.build("mmm", data=data, codec=learned_codec(), seed=seed)
    verbs.train(system, data, seed=seed, **HOW)
    return filled(system, data, seed)


@torch.no_grad()
def filled(system: System, data: Dataset, seed: int) -> Numbers:
    """What becomes of held-out motions whose middle is asked for."""
    batch = data.test.batch(range(len(data.test)))
    num, tokens = len(data.test), system.tokens(batch.data)
    place, length = torch.arange(tokens.length), tokens.length
    first, last = place < length // 4, place >= 3 * length // 4
    real = system.codec.decode(tokens)
    seam = (length - int(last.sum())) * (real.shape[-1] // length)
    moved = lambda x: float(x.diff(dim=-1)[..., seam - 4 : seam + 3].abs().mean())  # noqa: E731
    found: Numbers = {"captured": moved(batch.data), "decoded": moved(real)}
    for name, given in (("between", first | last), ("spliced", first)):
        meters: list[Counted] = []
        made = system.generate(
            num, dict(batch.condition), seed=seed, given=(tokens, given), decode=False, wrap=lambda net, m=meters: m.append(Counted(net)) or m[-1]
        )
        found[f"{name}_changed"] = float((made.ids != tokens.ids)[:, given].sum())
        whole = system.codec.decode(tokens.where(first | last, made))
        found[f"{name}_questions"], found[name] = float(meters[0].calls), moved(whole)
        found[f"{name}_off"] = float((whole - real)[..., 16:seam].abs().mean())
    return found


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    exact = all(not r["between_changed"] and r["between_questions"] <= 10 for r in runs)
    share = [r["between"] / r["spliced"] for r in runs]
    mean = lambda name: sum(r[name] for r in runs) / len(runs)  # noqa: E731
    said = (
        f"no given code changed; {runs[0]['between_questions']:.0f} questions; {mean('between'):.3f} a frame at the seam against {mean('spliced'):.3f} spliced "
        f"and {mean('decoded'):.3f} of the motion itself ({min(share):.2f} to {max(share):.2f} of the splice's); the middle is {mean('between_off'):.2f} off "
        f"with the end shown, {mean('spliced_off'):.2f} without"
    )
    if exact and max(share) < NEAR:
        return Verdict.HOLDS, said
    return (Verdict.FAILS if not exact or min(share) >= 1 else Verdict.UNDECIDED), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
