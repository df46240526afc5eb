"""What a molecule costs GP-MoLFormer as it grows: counted multiply-adds of a sample and of a training question, the numbers that a session remembers, and
whether real molecules that are said symbol by symbol are answered as all at once.

Beside it the same network with softmax attention in place of the features.
"""

import math

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.backbones.attention import Attention
from omniform.core.query import Answer, Query
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.data.text import smiles
from omniform.system.build import assemble
from omniform.system.facts import counted

SHORT, LONG = 512, 2048
CLAIM = Claim(
    row="gp-molformer",
    says="with linear attention the cost of a molecule grows with its length (slope 1 in logarithms, above 1 with softmax) and a session remembers as much "
    "at the end as after one symbol; symbol by symbol it answers as all at once",
    source="arXiv:2405.04912, section 3 (linear attention and rotary positions)",
    recipes=("gp-molformer",),
    budget="counted without computing; 32 molecules through a small one",
    exact=True,
    seeds=(0,),
    data=("smiles",),
)


def measure(seed: int) -> Numbers:
    recipe = recipes.get("gp-molformer")
    softmax = recipe.but({"network.backbone.block.mixer": Spec(Attention, {"heads": 12})})
    found: Numbers = {}
    for name, which in (("features", recipe), ("softmax", softmax)):
        each = [counted(which.but({"shape": (length,)})) for length in (SHORT, LONG)]
        found[f"slope_sample_{name}"] = math.log(each[1].multiply_adds_per_sample / each[0].multiply_adds_per_sample) / math.log(LONG / SHORT)
        found[f"slope_question_{name}"] = math.log(each[1].multiply_adds / each[0].multiply_adds) / math.log(LONG / SHORT)
    system = assemble(recipe.sized("tiny"), seed=seed).eval()
    tokens = system.codec.encode(smiles().test.batch(range(32)).data)
    asked: list[Query] = []
    context, rng = system.conditioning.context({}, tokens.batch), Rng.seeded(seed)

    class Hearing:
        """A session, and what it was asked."""

        def __call__(self, query: Query, *, remember: bool = False) -> Answer:
            asked.append(query)
            return system.network.open(context)(query)

    with torch.no_grad():
        system.process.loss(Hearing(), tokens, rng=rng)
        whole = system.network.open(context)(asked[0]).distribution.logits
        net = system.network.open(context, memory="kv")
        each, kept = [], []
        for place in range(tokens.length):
            each.append(net(asked[0].at(slice(place, place + 1)), remember=True).distribution.logits)
            kept.append(sum(block.sums.numel() for record in net.records.values() for block in record.blocks.values()))
    found["largest_gap_of_logits"] = float((torch.cat(each, 1) - whole)[tokens.real].abs().max())
    found["remembered_after_1"], found["remembered_at_the_end"] = kept[0] / tokens.batch, kept[-1] / tokens.batch
    return found


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (r,) = runs
    linear = max(abs(r[f"slope_{what}_features"] - 1) for what in ("sample", "question")) < 0.01
    fine = linear and min(r["slope_sample_softmax"], r["slope_question_softmax"]) > 1.05 and r["remembered_after_1"] == r["remembered_at_the_end"]
    return (Verdict.HOLDS if fine and r["largest_gap_of_logits"] < 1e-4 else Verdict.FAILS), (
        f"slope of a sample's cost {r['slope_sample_features']:.3f} (softmax {r['slope_sample_softmax']:.3f}), of a question's "
        f"{r['slope_question_features']:.3f} (softmax {r['slope_question_softmax']:.3f}); "
        f"{r['remembered_at_the_end']:,.0f} numbers remembered at any length; logits differ by "
        f"{r['largest_gap_of_logits']:.1e} at most"
    )


if __name__ == "__main__":
    main(CLAIM, measure, judge)
