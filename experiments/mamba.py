"""What Mamba promises of length: its cost grows with the tokens and not with their square, and what it remembers does not grow at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import claims
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from omniform import recipes
from omniform.core.net import KV
from omniform.system.build import assemble
from omniform.system.facts import first_question

LENGTHS = (256, 512, 1024, 2048)
CLAIM = claims.Claim(
    row="mamba",
    says="from 1,024 tokens to 2,048 the work of one pass grows by a power of length within 0.02 of 1, where full attention's grows by more than 1.3; what a "
    "session remembers is the same after any number of tokens, where attention's doubles with them",
    source="arXiv:2312.00752, abstract (linear scaling in sequence length) and section 3.3 (recurrent state)",
    recipes=("mamba", "gpt"),
    budget="one pass of two small networks at four lengths: seconds",
    seeds=(0,),
    exact=True,
)


class Work(TorchDispatchMode):
    """Multiply-adds of products of matrices, and the numbers that every other operation writes."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.done += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out) / 2
        else:
            read = set() if func._schema.is_mutable else {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
            self.done += sum(x.numel() for x in tree_leaves(out) if isinstance(x, Tensor) and x.untyped_storage().data_ptr() not in read)
        return out


@torch.no_grad()
def asked(name: str, length: int) -> tuple[float, int]:
    """Work of one pass over a text, and how many numbers the session holds after it."""
    system = assemble(recipes.get(name).sized("tiny").but({"shape": (length,)}), seed=0).eval()
    system.network.differentiate_twice()  # attention by operations that are counted
    query = first_question(system, system.codec.space.blank(1))
    net = system.network.open(system.conditioning.context({}, 1), memory="kv")
    with Work() as work:
        net(query, remember=True)
    (record,) = net.records.values()
    held = [2 * kept.key[:, :, : record.used].numel() if isinstance(kept, KV) else kept.kept.numel() for kept in record.blocks.values()]
    return work.done, sum(held)


def measure(seed: int) -> claims.Numbers:
    found: claims.Numbers = {}
    for name in CLAIM.recipes:
        work, held = zip(*(asked(name, length) for length in LENGTHS), strict=True)
        found[f"power_{name}"] = math.log(work[-1] / work[-2]) / math.log(LENGTHS[-1] / LENGTHS[-2])
        found.update({f"held_{name}_{length}": float(num) for length, num in zip(LENGTHS, held, strict=True)})
    return found


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    (run,) = runs
    held = {name: [run[f"held_{name}_{length}"] for length in LENGTHS] for name in CLAIM.recipes}
    linear = abs(run["power_mamba"] - 1) < 0.02 and run["power_gpt"] > 1.3
    constant = len(set(held["mamba"])) == 1 and all(held["gpt"][0] * length == num * LENGTHS[0] for length, num in zip(LENGTHS, held["gpt"], strict=True))
    return (
        claims.Verdict.HOLDS if linear and constant else claims.Verdict.FAILS,
        f"work grows as length to the {run['power_mamba']:.3f}, full attention's to the {run['power_gpt']:.3f}; it holds {held['mamba'][0]:,.0f} numbers "
        f"after {LENGTHS[0]} tokens and {held['mamba'][-1]:,.0f} after {LENGTHS[-1]}, attention's {held['gpt'][0]:,.0f} and {held['gpt'][-1]:,.0f}",
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
