"""E-CAR's pieces of a flow: what is handed from scale to scale, and what a step costs.

The noise of a finer scale's beginning is a linear map of white noise, so its covariance is a product of matrices; it must be (1 - s)^2 times the
identity, as the network learned it. Beside it stands the same with independent noise in place of the one that is anticorrelated in blocks. Cost is
counted in multiply-adds of the flow network at size S, for one step at each of the three scales against three at the finest.
"""

from __future__ import annotations

from collections.abc import Sequence

import claims
import torch
from claims import Claim, Numbers, Verdict

from omniform import recipes
from omniform.system.build import assemble
from omniform.system.counting import Counting, Shadow
from omniform.system.facts import built

CLAIM = Claim(
    row="ecar",
    says="the state handed over has the covariance that the next scale learned, to 1e-6, and the flow's steps cost less than half of full resolution",
    source="arXiv:2412.14170, abstract and section 3 (only a part of the way at each stage; 10 times fewer FLOPs than DiT); arXiv:2410.05954, section 3.2",
    recipes=("ecar",),
    budget="exact; a second",
    seeds=(0,),
    exact=True,
)


def gap(process, scale: int, blocked: bool) -> float:
    """Largest entry of the covariance of a beginning's noise less (1 - s)^2 I."""
    start, end, n = process.starts[scale], process.ends[scale - 1], process.counts[scale]
    up = process.enlarged(torch.eye(process.counts[scale - 1], dtype=torch.float64)[..., None])[..., 0].T
    white = torch.eye(n, dtype=torch.float64)
    made = process.blocked(white[..., None])[..., 0].T if blocked else white
    cov = (start / end * (1 - end)) ** 2 * up @ up.T + 0.75 * (1 - start) ** 2 * made @ made.T
    return float((cov - (1 - start) ** 2 * white).abs().max())


def measure(seed: int) -> Numbers:
    process = assemble(recipes.get("ecar").sized("tiny")).process
    found = {"blocked_gap": max(gap(process, k, True) for k in (1, 2)), "independent_gap": min(gap(process, k, False) for k in (1, 2))}
    found["kept_share"] = max(abs(s / e * e - s) for s, e in zip(process.starts[1:], process.ends, strict=False))
    system = built(recipes.get("ecar").sized("S"))
    head, costs = system.network.towers["main"].head, []
    for count in system.process.counts:
        with torch.no_grad(), Shadow(), Counting() as spent:
            head.denoised(*(torch.zeros(1, count, *more, device="meta") for more in ((head.channels,), (), (system.network.width,))))
        costs.append(spent.total)
    return {**found, "cost_share": sum(costs) / (len(costs) * costs[-1])}


def judge(runs: Sequence[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    fine = run["blocked_gap"] < 1e-6 and run["independent_gap"] > 1e-3 and run["kept_share"] < 1e-6 and run["cost_share"] < 0.5
    said = f"off by {run['blocked_gap']:.1e}, with independent noise by {run['independent_gap']:.2f}; steps cost {run['cost_share']:.3f} of full resolution"
    return (Verdict.HOLDS if fine else Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
