"""REPA: a diffusion transformer whose early block is aligned with a frozen eye learns faster, and that block tells more about the picture.

Decided after the first run, whose probes were right 4 to 6 times in a hundred: probes whose mean difference is less than two standard errors of what
the held-out glyphs of all seeds can tell decide nothing, and then only a loss that is never lower speaks against the claim.
"""

from __future__ import annotations

import math

import claims
import torch

import omniform as of
from omniform.codecs.patch import Patches
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.data import open_data
from omniform.training import Training, train
from omniform.training.objectives.align import Align
from omniform.training.objectives.objective import heard
from omniform.verbs import judge as classifier_of

CLAIM = claims.Claim(
    row="repa",
    says="after as many steps, alignment at weight 0.5 gives a lower held-out loss of the flow and a better linear probe of the tapped block than none",
    source="arXiv:2410.06940, section 4.2, figures 2 and 3",
    recipes=("sit",),
    budget="a seed: two flows of four blocks, width 64, 16 patches of 7 x 7, 120 steps of 32 glyphs; the eye is the glyphs' classifier that ships",
    data=("glyphs",),
)
TAP, STEPS, HELD = "block.1", 120, 1024


def flow(seed: int):
    changes = {"codec": Spec(Patches, {"patch": 7}), "network.width": 64, "network.backbone.depth": 4, "network.backbone.block.mixer.heads": 4}
    return of.build("sit", "tiny", "glyphs", changes=changes, seed=seed)


def eye():
    """(B, 64, 7, 7): the classifier's convolutions, without what pools them."""
    trunk = list(classifier_of("glyphs", progress=False).trunk)
    until = next(i for i, part in enumerate(trunk) if isinstance(part, torch.nn.AdaptiveAvgPool2d))
    return torch.nn.Sequential(*trunk[:until])


@torch.no_grad()
def read(system, batch, seed: int) -> tuple[float, torch.Tensor]:
    """Held-out loss, and the tapped stream, its tokens averaged."""
    losses, _, _, answer = heard(system.eval(), batch, frozenset({TAP}), Rng.seeded(seed))
    return float(losses[0].mean()), answer.taps[TAP].mean(1)


def probe(features: torch.Tensor, labels: torch.Tensor) -> float:
    """Share right of a ridge regression to labels, learnt on the first three quarters."""
    half = len(features) * 3 // 4
    x = torch.cat([(features - features[:half].mean(0)) / features[:half].std(0), torch.ones(len(features), 1)], 1).double()
    y = torch.nn.functional.one_hot(labels).double()
    w = torch.linalg.solve(x[:half].T @ x[:half] + torch.eye(x.shape[1]) * 10, x[:half].T @ y[:half])
    return float(((x[half:] @ w).argmax(1) == labels[half:]).double().mean())


def measure(seed: int) -> dict[str, float]:
    data, found = open_data("glyphs"), {}
    held = data.test.batch(torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))[:HELD])
    plan = Training(batch=32, steps=STEPS, lr=2e-3, warmup=20, weight_decay=0.0, ema=0.0, seed=seed, validate_every=0, checkpoint_every=0)
    for name in ("plain", "aligned"):
        system = flow(seed)
        train(system, data, plan, progress=False, objective=Align(system, eye(), weight=0.5, at=TAP, hidden=128) if name == "aligned" else None)
        loss, features = read(system, held, 5)
        found |= {f"{name} loss": loss, f"{name} probe": probe(features, held.condition["label"])}
    return found


def judge(runs):
    losses = [run["aligned loss"] / run["plain loss"] - 1 for run in runs]
    probes = [run["aligned probe"] - run["plain probe"] for run in runs]
    mean, right = sum(probes) / len(runs), sum(run["aligned probe"] + run["plain probe"] for run in runs) / (2 * len(runs))
    error = math.sqrt(2 * right * (1 - right) / (len(runs) * HELD // 4))
    said = f"aligned against plain: loss {min(losses):+.1%} to {max(losses):+.1%}, probe {min(probes):+.1%} to {max(probes):+.1%}"
    said += f", mean {mean:+.1%} with a standard error of {error:.1%} (right: {right:.1%})"
    if min(losses) >= 0:
        return claims.Verdict.FAILS, said
    if abs(mean) < 2 * error:
        return claims.Verdict.UNDECIDED, said
    if max(losses) < 0 < min(probes):
        return claims.Verdict.HOLDS, said
    return (claims.Verdict.FAILS if max(probes) <= 0 else claims.Verdict.UNDECIDED), said


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
