"""What the engine costs: generation and training through it, over the same network in a hand-written loop (by_hand.py).

Before anything is timed both sides must give the same numbers: equal tokens, samples and losses to rounding. A ratio of 1.05 says that the engine takes
5 % longer.

    python benchmarks/tax.py [--quick] [--only WORD] [--json FILE]
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import by_hand
import torch
from by_hand import Dit, Gpt, MaskGit, Style, weights_of
from interleaved import Ratio, machine, options, said_of, seconds, table, written
from torch import Tensor

from omniform import recipes
from omniform.codecs.ids import Ids
from omniform.codecs.patch import Patches
from omniform.core.batch import Batch
from omniform.core.distribution import Sampling
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.data import Dataset, Split, order
from omniform.processes.flow import Flow
from omniform.processes.paths import Linear
from omniform.processes.solvers import Euler
from omniform.system.build import assemble
from omniform.training import Training, train
from omniform.training.ema import decay_at
from omniform.training.optimizers import undecayed

BAR = 1.05
STYLES: tuple[Style, ...] = ("functions", "modules")
Seconds = dict[str, list[float]]    # "ours" and by hand in a style, round by round
CHECKED = 3     # training steps whose losses are compared


@dataclass(frozen=True)
class Case:
    """One line of the table. run(rounds) checks that both sides agree and gives the seconds of each, round by round."""

    name: str
    sizes: str
    rounds: int
    run: Callable[[int], Seconds]
    quick: bool = False


# ---- the systems ----------------------------------------------------------------------------------------------------


def stirred(system: Any, seed: int) -> Any:
    """No weight at zero, so that every part is heard."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in system.parameters():
            if not p.any():
                p.copy_(torch.randn(p.shape, generator=g) * 0.02)
    return system.eval()


def sized(width: int, depth: int) -> dict[str, Any]:
    return {"network.width": width, "network.backbone.depth": depth, "network.backbone.block.mixer.heads": width // 64, "network.backbone.block.dropout": 0.0}


def gpt(width: int, depth: int, vocab: int, length: int, seed: int) -> tuple[Any, int]:
    """GPT-2's network."""
    codec = Spec(Ids, {"vocab": vocab, "start": vocab - 1, "stop": vocab - 1})
    return stirred(assemble(recipes.get("gpt").sized("124M").but({"codec": codec, "shape": (length,), **sized(width, depth)}), seed=seed), seed), width // 64


def dit(width: int, depth: int, side: int, seed: int) -> tuple[Any, int]:
    """DiT's network over 2 x 2 patches of 4 channels, as a velocity on straight paths."""
    flow = Spec(Flow, {"path": Spec(Linear), "predict": "velocity", "solver": Spec(Euler), "steps": 4})
    changes = {"codec": Spec(Patches, {"patch": 2}), "shape": (4, 2 * side, 2 * side), "process": flow, "network.head.learned_variance": False}
    changes |= sized(width, depth)
    return stirred(assemble(recipes.get("dit").sized("S/2").but(changes), seed=seed), seed), width // 64


def maskgit(width: int, depth: int, length: int, seed: int) -> tuple[Any, int]:
    """MaskGIT's network over 1024 codes."""
    changes = {"codec": Spec(Ids, {"vocab": 1024}), "shape": (length,), **sized(width, depth)}
    return stirred(assemble(recipes.get("maskgit").sized("256px").but(changes), seed=seed), seed), width // 64


# ---- generation -----------------------------------------------------------------------------------------------------


def step_by_step(
    ours: Callable[[Callable[[Any], None]], Any],
    by_hand_too: Mapping[Style, Callable[[], Iterator[Tensor]]],
    rounds: int,
    turn: int,
) -> Seconds:
    """A sample through the engine and by hand, `turn` steps each in turns; a first sample to warm up.

    ours(watch) generates and calls watch after each step. Turns of several short steps: who runs always after another finds nothing in the caches.
    """
    taken: Seconds = {"ours": [], **{style: [] for style in by_hand_too}}
    for number in range(rounds + 1):
        clock = _Clock({style: start() for style, start in by_hand_too.items()}, turn)
        ours(clock.after)
        spent = clock.end()
        if number:
            for name, each in taken.items():
                each.append(spent[name])
    return taken


class _Clock:
    """Takes the time of a sample's steps, and lets those by hand go as far after every few."""

    def __init__(self, running: Mapping[Style, Iterator[Tensor]], turn: int):
        self.running, self.turn, self.steps = running, turn, 0
        self.spent: dict[str, float] = dict.fromkeys(("ours", *running), 0.0)
        self.mark = time.process_time()

    def after(self, state: Any) -> None:
        self.steps += 1
        if self.steps % self.turn == 0:
            self.others(self.turn)

    def others(self, steps: int) -> None:
        self.spent["ours"] += time.process_time() - self.mark
        with torch.inference_mode(False):  # the engine's; those by hand are in the mode that they choose for themselves
            for style, each in self.running.items():
                self.spent[style] += seconds(lambda each=each: [next(each, None) for _ in range(steps)])
        self.mark = time.process_time()

    def end(self) -> dict[str, float]:
        self.others(self.steps % self.turn)
        return self.spent


def last(steps: Iterator[Tensor]) -> Tensor:
    """Where it ends."""
    *_, end = steps
    return end


def decoding(width: int, depth: int, vocab: int, rows: int, length: int, temperature: float, seed: int) -> Callable[[int], Seconds]:
    """GPT, token by token."""
    def run(rounds: int) -> Seconds:
        system, heads = gpt(width, depth, vocab, length, seed)
        plain: dict[Style, Gpt] = {style: Gpt(weights_of(system), heads, vocab - 1, style) for style in STYLES}
        ours = lambda watch=None: system.generate(rows, seed=seed, sampling=Sampling(temperature=temperature), decode=False, watch=watch)  # noqa: E731
        streams = Rng.seeded(seed, rows).split("step")
        noisy = lambda logits, t: (logits + streams.fold(torch.full((rows,), t)).gumbel((rows, 1, 1, vocab))[:, 0, 0]).argmax(-1)  # noqa: E731
        tokens = ours().ids[..., 0]
        for one in plain.values():
            ids = last(one.decode(rows, length, vocab - 1, noisy if temperature else by_hand.greedy))
            same("tokens", tokens[:, : ids.shape[1]], ids, exact=True)
        choose = by_hand.drawn if temperature else by_hand.greedy
        return step_by_step(ours, {style: partial(one.decode, rows, length, -1, choose) for style, one in plain.items()}, rounds, min(8, length // 2))
    return run


def denoising(width: int, depth: int, side: int, rows: int, steps: int, scale: float, seed: int) -> Callable[[int], Seconds]:
    """DiT with Euler."""
    def run(rounds: int) -> Seconds:
        system, heads = dit(width, depth, side, seed)
        plain: dict[Style, Dit] = {style: Dit(weights_of(system), heads, side, style) for style in STYLES}
        label = torch.arange(rows)
        ours = lambda watch=None: system.generate(rows, {"label": label}, seed=seed, scale=scale, steps=steps, decode=False, watch=watch)  # noqa: E731
        noise = Rng.seeded(seed, rows).split("init").split("noise").normal((rows, side * side, 16))
        sample = ours().vec
        for one in plain.values():
            same("samples", sample, last(one.sample(noise, label, steps, scale)))
        return step_by_step(ours, {style: partial(one.sample, noise, label, steps, scale) for style, one in plain.items()}, rounds, steps // 2)
    return run


def unmasking(width: int, depth: int, rows: int, length: int, steps: int, seed: int) -> Callable[[int], Seconds]:
    """MaskGIT, the most confident first."""
    def run(rounds: int) -> Seconds:
        system, heads = maskgit(width, depth, length, seed)
        plain: dict[Style, MaskGit] = {style: MaskGit(by_hand.with_mask_row(weights_of(system)), heads, style) for style in STYLES}
        label, noise = torch.arange(rows), system.process.noise
        ours = lambda watch=None: system.generate(rows, {"label": label}, seed=seed, steps=steps, decode=False, watch=watch)  # noqa: E731
        streams = [Rng.seeded(seed, rows).split("step").fold(torch.full((rows,), i)) for i in range(steps)]
        engine = by_hand.Draws(lambda logits, i: (logits + streams[i].split("draw").gumbel((rows, length, 1, 1024))[:, :, 0]).argmax(-1),
                               lambda shape, i: streams[i].split("noise").gumbel(shape))
        tokens = ours().ids[..., 0]
        for one in plain.values():
            same("tokens", tokens, last(one.sample(rows, label, steps, noise, engine)), exact=True)
        own = by_hand.own_draws()
        return step_by_step(ours, {style: partial(one.sample, rows, label, steps, noise, own) for style, one in plain.items()}, rounds, steps // 2)
    return run


def same(what: str, ours: Tensor, theirs: Tensor, *, exact: bool = False, rel: float = 1e-3) -> None:
    """Both sides gave the same, or nothing is measured."""
    fine = torch.equal(ours, theirs) if exact else torch.allclose(ours, theirs, rtol=rel, atol=rel * float(theirs.abs().max()))
    if not fine:
        share, most = float((ours != theirs).float().mean()), float((ours - theirs).abs().max())
        raise SystemExit(f"the engine's {what} are not those of the loop written by hand: {share:.1%} differ, by {most:.3g} at the most")


# ---- training -------------------------------------------------------------------------------------------------------


class Examples(Split):
    """Tensors in memory."""

    def __init__(self, data: Tensor, label: Tensor | None):
        self.data, self.label = data, label

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, indices: Any) -> Batch:
        return Batch(self.data[indices], {} if self.label is None else {"label": self.label[indices]})


class Learner:
    """Backward, clip, fused AdamW, average of the weights: the second half of a step by hand."""

    def __init__(self, weights: by_hand.Weights, plain: set[str], knobs: Training):
        self.leaves, self.knobs, self.updates = list(weights.values()), knobs, 0
        groups = [{"params": [p for n, p in weights.items() if n not in plain], "weight_decay": knobs.weight_decay},
                  {"params": [p for n, p in weights.items() if n in plain], "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=knobs.lr, betas=knobs.betas, fused=True)
        self.average = [p.detach().clone() for p in self.leaves]

    def learn(self, loss: Tensor) -> float:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.leaves, self.knobs.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.leaves, 1 - decay_at(self.knobs.ema, self.updates))
        self.updates += 1
        return float(loss.detach())


def training(system: Any, data: Tensor, label: Tensor | None, batch: int, seed: int, prepared: Callable[[by_hand.Weights], by_hand.Weights],
             losses: Callable[[by_hand.Weights], tuple[Callable[[Tensor, int], Tensor], ...]]) -> Callable[[int], Seconds]:
    """The trainer and a loop by hand, step by step in turns. losses: of the weights, first with the engine's draws (rows of data, step) -> loss, then with
    torch's."""
    def run(rounds: int) -> Seconds:
        knobs = Training(batch=batch, steps=CHECKED + 1 + rounds, lr=1e-4, warmup=0, shape="constant", seed=seed, checkpoint_every=0, validate_every=0)
        dataset = Dataset("made up", "image", tuple(data.shape[1:]), (), Examples(data, label), Examples(data[:0], label), "", "")
        batches = [order(len(data), seed, step, batch) for step in range(knobs.steps)]
        undecayed_ids = undecayed(system)
        names = {n for n, p in system.named_parameters() if id(p) in undecayed_ids}
        weights = prepared(weights_of(system, own=True))
        learner = Learner(weights, names, knobs)
        with_engine_draws, with_own_draws = losses(weights)
        ours: list[float] = []
        theirs: list[float] = []
        mark = time.process_time()

        def after(step: int, loss: Tensor) -> None:
            nonlocal mark
            taken, number = time.process_time() - mark, step - 1
            if number < CHECKED:
                same(f"losses at step {step}", loss, torch.tensor(learner.learn(with_engine_draws(batches[number], number))), rel=1e-4)
            else:
                by_hand_too = seconds(lambda: learner.learn(with_own_draws(batches[number], number)))
                if number > CHECKED:        # one to warm up
                    ours.append(taken)
                    theirs.append(by_hand_too)
            mark = time.process_time()
        train(system, dataset, knobs, on_step=after, progress=False)
        return {"ours": ours, "functions": theirs}
    return run


def engine_draws(seed: int, step: int) -> Rng:
    """The generator that a training step hands to the process."""
    return Rng.seeded(seed).split("train").fold(step)


def gpt_training(width: int, depth: int, vocab: int, rows: int, length: int, seed: int) -> Callable[[int], Any]:
    def run(rounds: int) -> Any:
        system, heads = gpt(width, depth, vocab, length, seed)
        data = torch.randint(0, vocab - 1, (256, length), generator=torch.Generator().manual_seed(seed))

        def losses(w: by_hand.Weights) -> Any:
            plain = Gpt(w, heads, vocab - 1)
            return (lambda index, step: plain.loss(data[index]),) * 2
        return training(system, data, None, rows, seed, lambda w: w, losses)(rounds)
    return run


def dit_training(width: int, depth: int, side: int, rows: int, seed: int) -> Callable[[int], Any]:
    def run(rounds: int) -> Any:
        system, heads = dit(width, depth, side, seed)
        g = torch.Generator().manual_seed(seed)
        data, label = torch.randn((64, 4, 2 * side, 2 * side), generator=g), torch.randint(0, 1000, (64,), generator=g)
        shape = (rows, side * side, 16)

        def losses(w: by_hand.Weights) -> Any:
            plain = Dit(w, heads, side)

            def patches(index: Tensor) -> Tensor:
                return data[index].view(rows, 4, side, 2, side, 2).permute(0, 2, 4, 1, 3, 5).reshape(shape)

            def checked(index: Tensor, step: int) -> Tensor:
                rng = engine_draws(seed, step)
                t = system.process._times(system.tokens(data[index]), rng.split("process").split("time"))[:, 0]
                drop = rng.split("condition").split("drop").uniform((rows,)) < 0.1
                return plain.loss(patches(index), label[index], t, rng.split("process").split("noise").normal(shape), drop)

            def own(index: Tensor, step: int) -> Tensor:
                return plain.loss(patches(index), label[index], torch.rand(rows), torch.randn(shape), torch.rand(rows) < 0.1)
            return checked, own
        return training(system, data, label, rows, seed, lambda w: w, losses)(rounds)
    return run


def maskgit_training(width: int, depth: int, rows: int, length: int, seed: int) -> Callable[[int], Any]:
    def run(rounds: int) -> Any:
        system, heads = maskgit(width, depth, length, seed)
        g = torch.Generator().manual_seed(seed)
        data, label = torch.randint(0, 1024, (256, length), generator=g), torch.randint(0, 1000, (256,), generator=g)

        def losses(w: by_hand.Weights) -> Any:
            plain = MaskGit(w, heads)

            def checked(index: Tensor, step: int) -> Tensor:
                rng = engine_draws(seed, step).split("process")
                even = (torch.arange(rows) + rng.split("ratio").uniform((1,))) / rows % 1.0
                return plain.loss(data[index], label[index], torch.cos(even * torch.pi / 2), rng.split("hide").uniform((rows, length)))

            def own(index: Tensor, step: int) -> Tensor:
                return plain.loss(data[index], label[index], torch.cos(torch.rand(rows) * torch.pi / 2), torch.rand(rows, length))
            return checked, own
        return training(system, data, label, rows, seed, by_hand.with_mask_row, losses)(rounds)
    return run


# ---- the table ------------------------------------------------------------------------------------------------------


def cases(seed: int) -> list[Case]:
    """Small networks, where an engine's overhead shows, and published ones."""
    made = []
    for width, depth, vocab, rows, length, temperature, rounds in (
            (256, 6, 1024, 1, 64, 0, 15), (256, 6, 1024, 8, 64, 0, 9), (256, 6, 1024, 1, 64, 1, 15), (256, 6, 1024, 8, 64, 1, 9),
            (768, 12, 50257, 1, 12, 0, 7), (768, 12, 50257, 8, 8, 0, 5), (768, 12, 50257, 1, 12, 1, 7)):
        made.append(Case("GPT decoding, " + ("drawn" if temperature else "greedy"), f"d{width} L{depth} V{vocab} B{rows} T{length}", rounds,
                         decoding(width, depth, vocab, rows, length, temperature, seed), width == 256))
    for width, depth, side, rows, steps, scale, rounds in (
            (256, 6, 8, 1, 8, 1, 11), (256, 6, 8, 1, 8, 1.5, 11), (256, 6, 8, 8, 4, 1.5, 5), (384, 12, 16, 1, 4, 1, 5), (384, 12, 16, 1, 4, 1.5, 5)):
        made.append(Case("DiT, Euler" + (", guided" if scale != 1 else ""), f"d{width} L{depth} {side * side} tokens B{rows} {steps} steps", rounds,
                         denoising(width, depth, side, rows, steps, scale, seed), width == 256 and rows == 1))
    for width, depth, rows, length, steps, rounds in ((256, 6, 1, 64, 8, 11), (256, 6, 8, 64, 8, 5), (768, 12, 1, 256, 4, 3)):
        made.append(Case("MaskGIT", f"d{width} L{depth} V1024 {length} tokens B{rows} {steps} steps", rounds,
                         unmasking(width, depth, rows, length, steps, seed), rows == 1 and width == 256))
    small = "d256 L6"
    made += [Case("GPT training step", f"{small} V1024 B8 T64", 9, gpt_training(256, 6, 1024, 8, 64, seed), True),
             Case("DiT training step", f"{small} 64 tokens B8", 9, dit_training(256, 6, 8, 8, seed), True),
             Case("MaskGIT training step", f"{small} V1024 64 tokens B8", 9, maskgit_training(256, 6, 8, 64, seed), True)]
    return made


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose line has this word")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    where = machine()
    print(f"engine over loops written by hand, CPU time, seed {asked.seed}; {said_of(where)}", flush=True)
    rows, found = [], []
    for case in cases(asked.seed):
        if (asked.quick and not case.quick) or asked.only.lower() not in f"{case.name} {case.sizes}".lower():
            continue
        taken = case.run(max(2, case.rounds // 3) if asked.quick else case.rounds)
        ratios = {style: Ratio.of(taken["ours"], taken[style]) for style in STYLES if style in taken}
        found.append({"case": case.name, "sizes": case.sizes, "seed": asked.seed, "ratios": {style: asdict(r) for style, r in ratios.items()}})
        said = [f"{r.median:.3f} ({r.low:.3f} to {r.high:.3f})" if (r := ratios.get(style)) else "" for style in reversed(STYLES)]
        rows.append([case.name, case.sizes, *said, str(len(taken["ours"]))])
    print(table(["case (numbers equal)", "sizes", *(f"over {style}" for style in reversed(STYLES)), "rounds"], rows))
    written(asked.json, {"machine": where, "bar": BAR, "cases": found})


if __name__ == "__main__":
    main()
