"""The losses of every recipe at tiny over three training steps, exact to the bit: what a refactor must not change.

    python benchmarks/same_loss.py --save before.json       # then change something
    python benchmarks/same_loss.py --against before.json    # exit status 1 where a loss is another

Losses are printed as hexadecimal floats. They are those of one machine, one version of torch and one thread: make FILE where you compare.
With --samples a digest of what each system generates is compared too.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from interleaved import machine, said_of, written
from torch import Tensor

from omniform import recipes
from omniform.codecs.ids import Ids
from omniform.codecs.interleaved import Interleaved
from omniform.codecs.series import Series
from omniform.core.batch import Batch, Parts
from omniform.core.codec import LearnedCodec
from omniform.core.spec import Spec
from omniform.core.tokens import Tokens
from omniform.data import Dataset, Split
from omniform.system.build import assemble
from omniform.system.recipe import Recipe
from omniform.training import Training, train

STEPS, ROWS = 3, 4
QUICK = ("dit", "gpt", "maskgit")


class MadeUp(Split):
    """Random examples of a recipe's shape, and something said for each of its conditions."""

    def __init__(self, recipe: Recipe, seed: int):
        self.recipe, self.seed = recipe, seed

    def __len__(self) -> int:
        return 64

    def batch(self, indices: Any) -> Batch:
        rows = [self._row(int(i)) for i in indices]
        data = torch.stack(rows) if isinstance(rows[0], Tensor) else rows
        said: dict[str, Any] = {}
        for name, (spec, _) in self.recipe.conditions.items():
            said[name] = _said(spec, [int(i) for i in indices])
        told = [f"word {int(i)}" for i in indices] if self.recipe.codec.make is Interleaved else None
        return Batch(data if told is None else Parts((told, data)), said)

    def _row(self, number: int) -> Any:
        g = torch.Generator().manual_seed(self.seed * 1000 + number)
        shape = self.recipe.shape
        if len(shape) > 1 or self.recipe.codec.make is Series:
            return torch.rand(shape, generator=g) * 2 - 1
        ids = torch.randint(97, 120, shape, generator=g)
        return ids if self.recipe.codec.make is Ids else "".join(map(chr, ids.tolist()))


def _said(spec: Spec, numbers: list[int]) -> Any:
    """Something for each row: classes, the usual numbers and a little more, or words."""
    if spec.takes("classes"):
        return torch.tensor(numbers) % spec.args["classes"]
    if spec.takes("usual"):
        return [[x + i / 64 for x in spec.args["usual"]] for i in numbers]
    return [f"word {i}" for i in numbers]


def built(name: str, seed: int) -> Any:
    """The recipe at tiny, its codec frozen, no weight at zero: every part is heard in the first loss."""
    system = assemble(recipes.get(name).sized("tiny"), seed=seed)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in system.parameters():
            if not p.any():
                p.copy_(torch.randn(p.shape, generator=g) * 0.02)
    if system.recipe.network is not None and isinstance(system.codec, LearnedCodec):
        system.codec.requires_grad_(False)
    return system


def losses_of(name: str, seed: int) -> list[str]:
    """The main player's loss at each step, through the trainer."""
    system = built(name, seed)
    examples = MadeUp(system.recipe, seed)
    dataset = Dataset("made up", system.recipe.modality, system.recipe.shape, (), examples, examples, "", "")  # type: ignore[arg-type]
    found: list[str] = []
    train(system, dataset, Training(batch=ROWS, steps=STEPS, lr=1e-3, warmup=0, seed=seed, checkpoint_every=0, validate_every=0),
          on_step=lambda step, loss: found.append(float(loss.detach()).hex()), progress=False)
    return found


def digest_of(name: str, seed: int) -> str:
    """Of the tokens that the untrained system generates; nothing for a codec."""
    system = built(name, seed).eval()
    if system.recipe.network is None:
        return ""
    said = MadeUp(system.recipe, seed).batch(range(2)).condition
    length = {"length": min(32, system.codec.space.length)} if system.codec.space.open else {}
    tokens: Tokens = system.generate(2, said, seed=seed, decode=False, **length)
    parts = [x.contiguous().numpy().tobytes() for x in (tokens.ids, tokens.vec, tokens.doc) if x is not None]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def compared(now: Mapping[str, list[str]], before: Mapping[str, list[str]]) -> list[str]:
    """One line a difference."""
    told = []
    for name in sorted(set(now) & set(before)):
        if now[name] != before[name]:
            step = next((i for i, (a, b) in enumerate(zip(now[name], before[name], strict=False)) if a != b), 0)
            told.append(f"{name}: entry {step + 1} was {before[name][step]} and is {now[name][step]}{_apart(before[name][step], now[name][step])}")
    return told


def _apart(one: str, other: str) -> str:
    """How far, where both are losses."""
    try:
        a, b = float.fromhex(one), float.fromhex(other)
    except ValueError:
        return ""
    return f", apart by {abs(a - b) / max(abs(a), 1e-30):.1e} of it"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the losses there")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with those saved earlier")
    parser.add_argument("--samples", action="store_true", help="compare what is generated, too")
    parser.add_argument("--only", default="", metavar="WORD", help="recipes whose name has this word")
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"losses of {STEPS} steps at tiny, batch {ROWS}, seed {asked.seed}; {said_of(machine())}", flush=True)
    found: dict[str, list[str]] = {}
    for name in QUICK if asked.quick else recipes.names():
        if asked.only in name:
            found[name] = losses_of(name, asked.seed) + ([digest_of(name, asked.seed)] if asked.samples else [])
            print(f"{name:24s} {' '.join(found[name])}", flush=True)
    written(asked.save, {"machine": machine(), "seed": asked.seed, "losses": found})
    if asked.against is None:
        return 0
    before = json.loads(asked.against.read_text())
    told = compared(found, before["losses"])
    print("\n".join(told) or f"the same as in {asked.against}, to the bit")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
