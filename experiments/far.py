"""What a frame sees of its past in training and in generation, with clean frames among the noisy ones and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import claims
import torch

from omniform import recipes
from omniform.core.process import generate
from omniform.core.rng import Rng
from omniform.processes.blocks import Unrecorded
from omniform.system.build import assemble
from omniform.system.facts import checked

SMALL = {"network.width": 32, "network.backbone.depth": 2, "network.backbone.rotary.head_width": 8, "process.inner.steps": 4, "shape": (4, 1, 16, 16)}
ROWS = 512

CLAIM = claims.Claim(
    row="far",
    says="training that shows some frames clean, at a time of their own, closes the gap to generation: a noisy frame behind clean ones is asked exactly as in "
    "a rollout from memory, and not so where every frame is noisy; one pass of F frames does it, and the four sizes are the published ones",
    source="arXiv:2503.19325v3, sections 4.1 and 4.2 (stochastic clean context), table 1",
    recipes=("far",),
    budget="a film of 4 frames and one training question; four builds on the meta device: seconds",
    exact=True,
    seeds=(0,),
)


class Heard:
    """Writes down what is asked and answered."""

    def __init__(self, net):
        self.net, self.seen = net, []

    def __call__(self, query, *, remember=False):
        answer = self.net(query, remember=remember)
        self.seen.append((query, remember, answer.distribution.value))
        return answer

    def forget(self, turn):
        self.net.forget(turn)

    def fork(self, rows):
        return self


@torch.no_grad()
def measure(seed: int) -> claims.Numbers:
    recipe = recipes.get("far").sized("tiny").but(SMALL)
    torch.manual_seed(seed)
    system = assemble(recipe).eval()
    for p in system.parameters():
        if not p.any():
            p.normal_(std=0.1)
    space, process = system.codec.space, system.process
    heard = Heard(system.net(1))
    film = generate(process, heard, space.blank(1), rng=Rng.seeded(seed, 1))
    turn = process.order.turns(film.coord, rng=Rng.seeded(0, 1))
    gaps = {"clean": 0.0, "noisy": 0.0}
    plain = system.network.open(system.conditioning.context({}, 1))
    noise = Rng.seeded(seed + 1, 1).normal(film.vec.shape)
    for query, remember, said in heard.seen:
        now = int(query.turn.max()) // 2
        if remember or now == 0:
            continue
        here = (turn == now)[0].nonzero()[:, 0][None]
        for kind in gaps:
            past = film.vec if kind == "clean" else process.inner.path.mixed(film.vec, noise, torch.tensor(0.5))
            tokens = replace(film, vec=past).put(here, query.tokens)
            time = torch.full(turn.shape, 1.0 if kind == "clean" else 0.5).scatter(1, here, query.time.expand(-1, here.shape[1]).float())
            asked = replace(query, tokens=tokens, known=torch.ones_like(turn, dtype=torch.bool), turn=turn, lane=torch.zeros_like(turn), time=time)
            value = Unrecorded(plain, turn)(asked).distribution.value[:, here[0]]
            gaps[kind] = max(gaps[kind], float((value - said).abs().max() / said.abs().max()))
    shown = recipe.process.args["inner"].args["shown"].build(space=space).drawn(space.blank(ROWS).coord, Rng.seeded(seed))
    asked = Heard(plain)
    process.loss(asked, film, rng=Rng.seeded(seed))
    held = sum(row.verdict == "holds" for row in checked(recipes.get("far")) if row.kind == "parameters")
    return {
        "gap_behind_clean_frames": gaps["clean"],
        "gap_behind_noisy_frames": gaps["noisy"],
        "share_shown": float(shown.float().mean()),
        "places_of_a_training_question": asked.seen[0][0].tokens.length / film.length,
        "sizes_held": held,
    }


def judge(runs: Sequence[claims.Numbers]) -> tuple[claims.Verdict, str]:
    run = runs[0]
    held = (
        run["gap_behind_clean_frames"] < 1e-4 < 1e-2 < run["gap_behind_noisy_frames"]
        and abs(run["share_shown"] - 0.1) < 0.03
        and run["places_of_a_training_question"] == 1
        and run["sizes_held"] == 4
    )
    return (
        claims.Verdict.HOLDS if held else claims.Verdict.FAILS,
        f"answers {run['gap_behind_clean_frames']:.0e} from those of a rollout behind clean frames, {run['gap_behind_noisy_frames']:.2f} behind noisy ones; "
        f"{run['share_shown']:.1%} of frames shown, {run['sizes_held']:.0f} of 4 sizes held",
    )


if __name__ == "__main__":
    claims.main(CLAIM, measure, judge)
