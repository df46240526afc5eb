"""What the network of a flow from text to pictures is told: where it is, what time it is, and whether the two ends belong together."""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.core.rng import Rng
from omniform.processes.masked import asked
from omniform.system.build import assemble

CLAIM = Claim(
    row="crossflow",
    says="the flow needs neither noise nor a condition: all that the caption says reaches the network through the state it starts from, and the "
        "indicator alone guides",
    source="arXiv:2412.15213, sections 4.1 and 4.3",
    recipes=("crossflow",),
    budget="a few questions to a small network, seconds",
    seeds=(0,),
    exact=True,
)


@torch.no_grad()
def measure(seed: int) -> Numbers:
    system = assemble(recipes.get("crossflow").sized("tiny").but({"network.backbone.depth": 2}))
    for p in system.parameters():
        if not bool(p.any()):
            p.normal_(std=0.1)
    blank = system.codec.space.blank(1)
    z = Rng.seeded(1).normal(blank.vec.shape)
    blank.vec.copy_(z)
    open_ = lambda text: system.network.open(system.conditioning.context({"text": [text]}, 1))  # noqa: E731
    known, start, t = torch.ones_like(blank.doc, dtype=torch.bool), torch.zeros(1), torch.full((1, 1), 0.3)
    main_query = asked(blank, known, start, t)
    value = lambda text: open_(text)(main_query).distribution.value  # noqa: E731
    process = system.process
    source = lambda text: process._source(open_(text), blank, start).mean  # noqa: E731
    far = lambda a, b: float((a - b).abs().max())  # noqa: E731
    made = lambda text, scale: system.generate(1, {"text": [text]}, seed=2, decode=False, steps=4).vec if scale is None else _at(system, text, scale)  # noqa: E731
    return {
        "network_by_caption": far(value("a cat"), value("seven dogs")),
        "source_by_caption": far(source("a cat"), source("seven dogs")),
        "sample_by_caption": far(made("a cat", None), made("seven dogs", None)),
        "sample_by_guidance": far(made("a cat", 1.0), made("a cat", 3.0)),
    }


def _at(system: object, text: str, scale: float) -> torch.Tensor:
    """A sample at another scale of guidance."""
    mine, system.process.scale = system.process.scale, scale
    try:
        return system.generate(1, {"text": [text]}, seed=2, decode=False, steps=4).vec
    finally:
        system.process.scale = mine


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    holds = run["network_by_caption"] == 0 and min(run["source_by_caption"], run["sample_by_caption"], run["sample_by_guidance"]) > 1e-3
    return Verdict.HOLDS if holds else Verdict.FAILS, (
        f"at one state and time two captions make a difference of {run['network_by_caption']:g} to the network, of {run['source_by_caption']:.2g} to "
        f"where the flow starts and "
        f"of {run['sample_by_caption']:.2g} to the sample; guidance by the indicator one of {run['sample_by_guidance']:.2g}"
    )


if __name__ == "__main__":
    main(CLAIM, measure, judge)
