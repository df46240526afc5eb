"""Byte to word hierarchy: how often its backbone is asked about real text, what that costs beside the same backbone over bytes, and how far a typo goes."""

from __future__ import annotations

from dataclasses import replace

import claims
import torch

from omniform import recipes
from omniform.backbones.hierarchy import ordered
from omniform.codecs.words import WORD
from omniform.core.batch import Batch
from omniform.core.rng import Rng
from omniform.data import open_data
from omniform.system.build import assemble
from omniform.system.counting import Counting

CLAIM = claims.Claim(
    row="hat-byte-word",
    says="The backbone is asked once a word and once for the end: a byte costs it less by the mean length of a word; "
    "other bytes in a word change one vector of it",
    source="arXiv:2501.10322, section 2 (sequence length of the backbone) and section 4 (robustness to changed characters)",
    recipes=("hat-byte-word",),
    budget="seconds: 16 texts of 160 bytes, one after another",
    seeds=(0,),
    exact=True,
    data=("stdlib",),
)


@torch.no_grad()
def measure(seed: int) -> dict[str, float]:
    texts = [text for text in open_data("stdlib", characters=160).test.batch(range(16)).data if text.isascii()]
    system = assemble(recipes.get("hat-byte-word").sized("tiny"), seed=seed).eval()
    part = system.network.towers["main"].backbone
    read: list[tuple[torch.Tensor, object]] = []
    part.backbone.register_forward_pre_hook(lambda _, asked: read.append(asked))
    words = size = places = changed = wrong = 0
    spent = {"words": 0.0, "bytes": 0.0}
    for text in texts:
        size, words = size + len(text), words + len(system.codec.words_of(text))
        tokens = system.codec.encode([text])
        tokens = tokens.at(slice(0, int(tokens.real.sum())))
        system.loss(Batch(tokens), rng=Rng.seeded(0, 1))
        x, env = read.pop()
        places += x.shape[1]
        for name, rows in (("words", x.shape[1]), ("bytes", len(text))):
            with Counting() as cost:
                part.backbone(x[:, :1].expand(-1, rows, -1), ordered(env, 0, rows, 1))
            spent[name] += cost.linear
        read.clear()
        ids = tokens.ids.clone()
        at = [i for i in range(ids.shape[1]) if chr(int(ids[0, i, 0])).isalpha() and int(ids[0, i, 0]) < 128][::10]
        for place in at:  # a letter that becomes another one
            other = tokens.ids.clone()
            other[0, place, 0] = 97 + (int(ids[0, place, 0]) - 96) % 26
            number = int((ids[0, :place, 0] == WORD).sum())  # the word that is hit, whose vector comes after the learned one
            system.loss(Batch(replace(tokens, ids=other)), rng=Rng.seeded(0, 1))
            y = read.pop()[0]
            hit = (y[:, : x.shape[1]] - x).abs().amax((0, 2)) > 1e-6
            changed += 1
            wrong += int(y.shape[1] < x.shape[1] or hit.nonzero().flatten().tolist() != [number + 1])
    return {
        "bytes": size,
        "words": words,
        "places": places,
        "texts": len(texts),
        "share of the cost": spent["words"] / spent["bytes"],
        "letters changed": changed,
        "changed elsewhere": wrong,
    }


def judge(runs):
    (run,) = runs
    said = (
        f"{run['bytes']:.0f} bytes of {run['texts']:.0f} texts are {run['words']:.0f} words of {run['bytes'] / run['words']:.2f} bytes and {run['places']:.0f} "
    )
    said += (
        f"places of the backbone, whose maps cost {run['share of the cost']:.4f} of what they would by the byte; {run['letters changed']:.0f} changed letters "
    )
    said += f"change one vector each, {run['changed elsewhere']:.0f} of them another one"
    places = run["places"] == run["words"] + run["texts"]
    cost = abs(run["share of the cost"] * run["bytes"] / run["places"] - 1) < 1e-6
    return (claims.Verdict.HOLDS if places and cost and not run["changed elsewhere"] else claims.Verdict.FAILS), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
