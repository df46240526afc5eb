"""How often MAGNeT asks, beside orders that speak one code or one step at a time, as sounds grow longer.

The orders are those of AudioLM (book after book, Coarse) and MusicGen (books a step apart, Delay) over the same codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import claims
from claims import Claim, Numbers, Verdict

from omniform import recipes
from omniform.core.order import Coarse, Delay
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space
from omniform.system.facts import built, counted

SECONDS, RATE = (10, 20, 40), 50
CLAIM = Claim(
    row="magnet",
    says="MAGNeT asks at least seven times less often than the autoregressive order of MusicGen for 10 s of sound, and as often for longer sounds",
    source="arXiv:2401.04577, abstract (7 times faster than the autoregressive baseline) and section 4 (20, 10, 10, 10 questions)",
    recipes=("magnet",),
    budget="counting on the meta device, seconds",
    seeds=(0,),
    exact=True,
)


def measure(seed: int) -> Numbers:
    found: Numbers = {}
    for seconds in SECONDS:
        frames = seconds * RATE
        recipe = recipes.get("magnet").but({"shape": (1, 1, frames * 640)})
        counts = counted(recipe, costs=False)
        books = len(built(recipe).codec.space.vocab)
        flat = Space(axes=(Axis("time", frames), Axis("book", books)), vocab=(2048,))
        orders = {"delay": Delay, "coarse": Coarse}
        turns = {n: int(make("time", "book", flat).turns(flat.blank(1).coord, rng=Rng.seeded(0)).max()) + 1 for n, make in orders.items()}
        found |= {f"magnet_{seconds}s": counts.questions, **{f"{name}_{seconds}s": number for name, number in turns.items()}}
        assert counts.tokens == frames
    return found


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    fewer = run["delay_10s"] / run["magnet_10s"]
    steady = run["magnet_10s"] == run["magnet_40s"]
    return (Verdict.HOLDS if fewer >= 7 and steady else Verdict.FAILS), (
        f"{run['magnet_10s']:.0f} questions where the order with delay takes {run['delay_10s']:.0f} ({fewer:.1f} times fewer) and book after book "
        f"{run['coarse_10s']:.0f}; at 40 s {run['magnet_40s']:.0f} against {run['delay_40s']:.0f}. Questions, not seconds: each is of all frames, uncached"
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
