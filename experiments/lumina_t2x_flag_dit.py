"""What a gate that starts shut means: at the start the caption is not heard at all, and once it is open it is."""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.processes.masked import asked
from omniform.system.build import assemble

CLAIM = Claim(
    row="lumina-t2x-flag-dit",
    says="cross-attention behind a gate that starts at zero leaves the picture's stream as it is at the start, and lets the caption in as the gate opens",
    source="arXiv:2405.05945, section 3.1",
    recipes=("lumina-t2x",),
    budget="four questions to a small network, a second",
    seeds=(0,),
    exact=True,
)


@torch.no_grad()
def measure(seed: int) -> Numbers:
    system = assemble(recipes.get("lumina-t2x").sized("tiny").but({"network.backbone.inner.depth": 3}))
    parts = [m for m in system.network.modules() if hasattr(m, "gate")]
    for name, p in system.network.named_parameters():  # everything but the gates as it would be after a while
        if not name.endswith("gate") and not bool(p.any()):
            p.normal_(std=0.1)
    blank = system.codec.space.blank(1)
    blank.vec.normal_()
    query = asked(blank, torch.ones_like(blank.doc, dtype=torch.bool), torch.zeros(1), torch.full((1, 1), 0.3))
    said = lambda text: system.network.open(system.conditioning.context({"text": [text]}, 1))(query).distribution.value  # noqa: E731
    gap = lambda: float((said("a cat") - said("seven dogs")).abs().max() / said("a cat").abs().max())  # noqa: E731
    shut = gap()
    for part in parts:
        part.gate.fill_(0.5)
    return {"blocks": len(parts), "shut": shut, "open": gap()}


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    holds = run["blocks"] == 3 and run["shut"] == 0 and run["open"] > 1e-3
    return (Verdict.HOLDS if holds else Verdict.FAILS, f"two captions make a difference of {run['shut']:g} with all gates shut and of {run['open']:.2g} "
        f"at gates of 0.5")


if __name__ == "__main__":
    main(CLAIM, measure, judge)
