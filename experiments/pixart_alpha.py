"""What adaLN-single saves, and that it can begin as the network it replaces: a block's own map at one time is a shared map and a table."""

from dataclasses import replace

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.backbones.norms import SharedAdaLN
from omniform.core.rng import Rng
from omniform.processes.masked import asked
from omniform.system.build import assemble
from omniform.system.facts import counted

CLAIM = Claim(
    row="pixart-alpha",
    says="one modulation for all blocks takes 833 M parameters to 611 M, and its tables can be set so that at one time the network answers as with a "
        "map in each block",
    source="arXiv:2310.00426, sections 2.3 and 3.3",
    recipes=("pixart",),
    budget="counting, and two questions to a small network, seconds",
    seeds=(0,),
    exact=True,
)
BLOCK = "network.backbone.block.modulate"
AT, ELSEWHERE = 0.5, 0.9


def answer(system: object, t: float) -> torch.Tensor:
    blank = system.codec.space.blank(2)
    z = Rng.seeded(3).normal(blank.vec.shape)
    query = asked(replace(blank, vec=z), torch.ones_like(blank.doc, dtype=torch.bool), torch.zeros(2), torch.full((2, 1), t))
    return system.network.open(system.conditioning.context({}, 2))(query).distribution.value


@torch.no_grad()
def measure(seed: int) -> Numbers:
    recipe = recipes.get("pixart")
    single = counted(recipe.sized("XL/2"), costs=False).parameters
    each = counted(recipe.sized("XL/2").but({BLOCK: "zero", "network.backbone.shared": False}), costs=False).parameters
    tiny = recipe.sized("tiny").but({"network.width": 64, "network.backbone.depth": 3})
    old, new = assemble(tiny.but({BLOCK: "zero", "network.backbone.shared": False})), assemble(tiny)
    for p in (*old.parameters(), *new.network.towers["main"].backbone.shared.parameters()):
        p.normal_(std=0.1)
    own = {n: w for n, w in old.state_dict().items() if ".modulation." not in n}
    missing = new.load_state_dict(own, strict=False).missing_keys
    assert all("shared" in n or "modulation" in n for n in missing)
    e = new.network.time(torch.full((1, 1), AT))
    shared = torch.cat(new.network.towers["main"].backbone.shared(e), -1)[0, 0]
    for one, other in zip(old.network.towers["main"].backbone.blocks, new.network.towers["main"].backbone.blocks, strict=True):
        part = other.modulation[0]
        assert isinstance(part, SharedAdaLN)
        part.offset.copy_(torch.cat(one.modulation[0](e), -1)[0, 0] - shared)
    gap = lambda t: float((answer(old, t) - answer(new, t)).abs().max() / answer(old, t).abs().max())  # noqa: E731
    return {"single": single, "each": each, "gap_there": gap(AT), "gap_elsewhere": gap(ELSEWHERE)}


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    counts = abs(run["single"] / 611e6 - 1) < 0.01 and abs(run["each"] / 833e6 - 1) < 0.01
    equal = run["gap_there"] < 1e-4 < run["gap_elsewhere"]
    said = f"{run['each'] / 1e6:.1f} M with a map in each block, {run['single'] / 1e6:.1f} M with one ({1 - run['single'] / run['each']:.1%} fewer)"
    return (Verdict.HOLDS if counts and equal else Verdict.FAILS, f"{said}; answers differ by {run['gap_there']:.0e} there and by "
        f"{run['gap_elsewhere']:.0e} elsewhere")


if __name__ == "__main__":
    main(CLAIM, measure, judge)
