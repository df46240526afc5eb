"""Block Transformer: how many keys a session holds after a sequence, beside a decoder of as many blocks of the same width."""

from __future__ import annotations

import claims
import torch

from omniform import recipes
from omniform.core.net import Context, Record
from omniform.core.process import generate
from omniform.core.rng import Rng
from omniform.system.build import assemble

CLAIM = claims.Claim(
    row="block-transformer",
    says="The block decoder remembers a quarter of the places and the token decoder those of one block: L / 4 and at most 5 keys a layer in place of L",
    source="arXiv:2406.02657, sections 2.3 and 2.4 (key-value cache of either decoder)",
    recipes=("block-transformer", "gpt"),
    budget="a few seconds: a sequence of 64 tokens each",
    seeds=(0,),
    exact=True,
)
SHAPE = {"shape": (64,), "network.width": 32}


def places(record: Record) -> int:
    """Keys held by all layers below a record."""
    inside = [r for kept in record.blocks.values() for r in getattr(kept, "records", {}).values()]
    mine = sum(record.used for kept in record.blocks.values() if getattr(kept, "key", None) is not None)
    return mine + sum(places(r) for r in inside)


@torch.no_grad()
def measure(seed):
    found = {}
    for name in ("block-transformer", "gpt"):
        system = assemble(recipes.get(name).sized("tiny").but(SHAPE), seed=seed).eval()
        net = system.network.open(Context(1), memory="kv")
        space = system.codec.space
        process = system.process
        process.space = type(space)(**{**space.__dict__, "stop": None})
        generate(process, net, space.blank(1), rng=Rng.seeded(seed, 1))
        found[name] = places(net.records["main"])
    return found


def judge(runs):
    (run,) = runs
    want = 3 * 64 // 4
    because = f"{run['block-transformer']:.0f} keys and values in six layers, {run['gpt']:.0f} in six of a plain decoder, for 64 tokens"
    held = run["gpt"] == 6 * 64 and want <= run["block-transformer"] <= want + 3 * 5
    return (claims.Verdict.HOLDS if held else claims.Verdict.FAILS), because


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
