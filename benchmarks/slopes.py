"""Which mixer is cheaper than full attention from which length on: time and memory against the number of tokens, and the exponent that fits.

python benchmarks/slopes.py [--quick] [--only WORD] [--json FILE]

256 to 16,384 places, one row, forward, fp32, one thread; each mixer in turns with as many layers of full attention of the same width and heads (causal
beside what reads in order), maps of queries, keys, values and output included. Memory is the largest sum of tensors alive at once. The crossing is where the
lines of the last three lengths meet if nothing that was measured is cheaper, or else between the two lengths where it turns.
Parts that drop places (DeferredMask, EncodeKnown) mix nothing more cheaply and are not here.
"""

from __future__ import annotations

import math
import statistics
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from interleaved import in_turns, machine, options, said_of, table, written
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from omniform.backbones.attention import (
    Attention,
    Combiner,
    CompressedAttention,
    FeatureAttention,
    LinearAttention,
    Pointwise,
    ProxyAttention,
    Windowed,
)
from omniform.backbones.axial import Axial
from omniform.backbones.blocks import Chain
from omniform.backbones.compressed import Compressed
from omniform.backbones.hierarchy import GlobalLocal, Words
from omniform.backbones.interleaved import Interleaved
from omniform.backbones.selective import SelectiveScan
from omniform.core.net import Context, Env
from omniform.core.spec import Spec
from omniform.core.tokens import Axis, Space
from omniform.heads.categorical import CategoricalHead
from omniform.system.near import Near
from omniform.system.network import Tower

WIDTH, HEADS = 64, 2
SIDES = (16, 32, 64, 128)
FRAMES, WORD, SPACE_BAR = 16, 6, 32
FULL = Spec(Attention, {"heads": HEADS})
Mixer = Callable[[Tensor, Env], Tensor]


def grid(side: int) -> Space:
    """A picture."""
    return Space((Axis("y", side), Axis("x", side)), vocab=(256,))


def line(side: int) -> Space:
    """A text."""
    return Space((Axis("place", side * side),), vocab=(256,))


def film(side: int) -> Space:
    """Frames, a fixed number of them."""
    return Space((Axis("t", FRAMES), Axis("y", side // 4), Axis("x", side // 4)), channels=1)


class Case(NamedTuple):
    """make: of a space. space: of the side of a square with as many places. layers: of full attention, that it is measured against. causal: who sees whom."""

    make: Callable[[Space], Mixer]
    space: Callable[[int], Space] = grid
    layers: int = 1
    causal: bool = False


def subsampled(space: Space) -> Mixer:
    """What training with a quarter of the keys asks."""
    part = Attention(WIDTH, HEADS)
    part.keep = 0.25
    return part.train()


def near(space: Space) -> Mixer:
    """A layer that a mask lets see 64 places to either side."""
    part = Near(WIDTH, space, "place", 64)
    part._trunk = (Tower(WIDTH, space, Spec(torch.nn.Identity), FULL, Spec(CategoricalHead)),)
    return part.backbone


def combined(plan: str) -> Case:
    """One plan, spans of the square root of the places."""
    return Case(lambda space: Combiner(WIDTH, HEADS, plan, math.isqrt(space.length)), line, causal=True)  # type: ignore[arg-type]


CASES = {
    "linear (LiT)": Case(lambda space: LinearAttention(WIDTH, HEADS, space)),
    "32 random features, causal (MoLFormer)": Case(lambda space: FeatureAttention(WIDTH, HEADS, 32, redraw=False), line, causal=True),
    "selective scan, causal (Mamba)": Case(lambda space: SelectiveScan(WIDTH), line, causal=True),
    "compressed keys, stride 2 (PixArt-Sigma)": Case(lambda space: CompressedAttention(WIDTH, HEADS, 2)),
    "compressed keys, stride 4": Case(lambda space: CompressedAttention(WIDTH, HEADS, 4)),
    "a quarter of the places, by 2 x 2 (Meissonic)": Case(lambda space: Compressed(WIDTH, space, FULL)),
    "a quarter of the keys, drawn (SSA, training)": Case(subsampled, line),
    "windows of 8 x 8 (Swin)": Case(lambda space: Windowed(WIDTH, space, (8, 8), HEADS)),
    "shifted windows of 8 x 8": Case(lambda space: Windowed(WIDTH, space, (8, 8), HEADS, shifted=True)),
    "proxies of 4 x 4 and windows (PT-DiT)": Case(lambda space: ProxyAttention(WIDTH, space, (4, 4), HEADS)),
    "16 frames, then places of a frame (VDT)": Case(
        lambda space: Chain(WIDTH, tuple(Spec(Windowed, {"heads": HEADS, "window": w}) for w in ((0, 1, 1), (1, 0, 0))), space), film, layers=2
    ),
    "rows, columns, rows, causal (Axial)": Case(lambda space: Axial(WIDTH, space, FULL, outer=2, inner=1, exterior=0), layers=3, causal=True),
    "groups of 8 x 8 with 4 latents (FIT)": Case(
        lambda space: Interleaved(WIDTH, space, (8, 8), 4, WIDTH, ((1, 1), (1, 0)), FULL, FULL, heads=HEADS), layers=3
    ),
    "spans, fixed, causal (Combiner)": combined("fixed"),
    "spans, logsparse, causal (Combiner)": combined("logsparse"),
    "spans, axial, causal (Combiner)": combined("axial"),
    "blocks of 4, causal (Block Transformer)": Case(lambda space: GlobalLocal(WIDTH, space, 4, FULL, FULL), line, layers=2, causal=True),
    "words of 6 bytes, causal (HAT)": Case(lambda space: Words(WIDTH, space, SPACE_BAR, WIDTH, FULL, FULL, FULL), line, layers=3, causal=True),
    "near places, by a mask (MAGNeT)": Case(near, line),
    "no softmax, causal (HSTU)": Case(lambda space: Pointwise(WIDTH, HEADS, space.length), line, causal=True),
}


def question(case: Case, side: int) -> tuple[Space, Env, Tensor]:
    """All places, asked at once. What is fed is bytes in words of equal length."""
    space = case.space(side)
    blank = space.blank(1)
    zero = torch.zeros_like(blank.doc)
    known = torch.ones_like(blank.doc, dtype=torch.bool)
    turn = torch.arange(space.length)[None] if case.causal else zero
    ids = torch.randint(SPACE_BAR + 1, 128, (1, space.length, 1)).where((torch.arange(space.length) % WORD > 0)[None, :, None], SPACE_BAR)
    common = {"record": None, "remember": False, "progress": torch.zeros(1), "mask": None, "modulation": None, "time": torch.randn(1, 1, WIDTH), "ids": ids}
    pattern = "causal" if case.causal else "full"
    env = Env(coord=blank.coord, kind=zero, turn=turn, lane=zero, doc=blank.doc, known=known, context=Context(1), pattern=pattern, **common)  # type: ignore[arg-type]
    return space, env, torch.randn(1, space.length, WIDTH)


class Alive(TorchDispatchMode):
    """Bytes of the tensors made inside that are alive at once, at the most; views count once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.held: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, Tensor):
                place, size = x.untyped_storage().data_ptr(), x.untyped_storage().nbytes()
                self.now += size if not self.held[place] else 0
                self.held[place] += 1
                weakref.finalize(x, self._gone, place, size)
        self.peak = max(self.peak, self.now)
        return out

    def _gone(self, place: int, size: int) -> None:
        self.held[place] -= 1
        self.now -= size if not self.held[place] else 0


def peak(do: Callable[[], Any]) -> int:
    with Alive() as alive:
        do()
    return alive.peak


def exponent(lengths: list[int], costs: list[float]) -> tuple[float, float]:
    """b and log a of a L^b through the last three."""
    x, y = ([math.log(v) for v in values[-3:]] for values in (lengths, costs))
    mean_x, mean_y = statistics.mean(x), statistics.mean(y)
    b = sum((p - mean_x) * (q - mean_y) for p, q in zip(x, y, strict=True)) / sum((p - mean_x) ** 2 for p in x)
    return b, mean_y - b * mean_x


def crossing(lengths: list[int], ours: list[float], full: list[float]) -> str:
    """From how many tokens on ours is the cheaper one; lines are not followed further than to ten times the longest length (ours)."""
    cheaper = [length for length, a, b in zip(lengths, ours, full, strict=True) if a < b]
    if len(cheaper) == len(lengths):
        return f"under {lengths[0]:,}"
    if cheaper and lengths.index(cheaper[0]) == len(lengths) - len(cheaper):
        i = lengths.index(cheaper[0])
        gaps = [math.log(ours[k] / full[k]) for k in (i - 1, i)]
        share = gaps[0] / (gaps[0] - gaps[1])
        return f"{round(math.exp(math.log(lengths[i - 1]) + share * math.log(lengths[i] / lengths[i - 1]))):,}"
    (b, a), (d, c) = exponent(lengths, ours), exponent(lengths, full)
    met = d > b + 0.05 and (a - c) / (d - b) < math.log(10 * lengths[-1])
    return f"about {math.exp((a - c) / (d - b)):,.0f} (fitted)" if met else "never, as far as measured"


def measured(case: Case, sides: tuple[int, ...], rounds: int, seed: int) -> dict[str, list[float]]:
    """Seconds and bytes of a mixer and of full attention, length by length."""
    found: dict[str, list[float]] = {"ours": [], "full": [], "ours bytes": [], "full bytes": []}
    for side in sides:
        torch.manual_seed(seed)
        space, env, x = question(case, side)
        mixer, full = case.make(space), Chain(WIDTH, (FULL,) * case.layers)
        with torch.no_grad():
            ways = [lambda mixer=mixer, x=x, env=env: mixer(x, env), lambda full=full, x=x, env=env: full(x, env)]
            taken = in_turns(ways, rounds if side < 128 else min(rounds, 2))
            for name, way, seconds in zip(("ours", "full"), ways, taken, strict=True):
                found[name].append(min(seconds))
                found[f"{name} bytes"].append(float(peak(way)))
    return found


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--only", default="", metavar="WORD", help="mixers with this in their name")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    sides = SIDES[:3] if chosen.quick else SIDES
    lengths = [side * side for side in sides]
    rows, kept = [], []
    for name, case in CASES.items():
        if chosen.only not in name:
            continue
        found = measured(case, sides, 3 if chosen.quick else 5, chosen.seed)
        ratios = [f"{a / b:.2f}" for a, b in zip(found["ours"], found["full"], strict=True)]
        slope = f"{exponent(lengths, found['ours'])[0]:.2f} ({exponent(lengths, found['full'])[0]:.2f})"
        memory = f"{found['ours bytes'][-1] / found['full bytes'][-1]:.2f}"
        memory_slope = f"{exponent(lengths, found['ours bytes'])[0]:.2f} ({exponent(lengths, found['full bytes'])[0]:.2f})"
        rows.append((name, *ratios, slope, crossing(lengths, found["ours"], found["full"]), memory, memory_slope))
        kept.append({"mixer": name, "lengths": lengths, **found})
    head = ("mixer", *(f"{n:,}" for n in lengths), "exponent (full's)", "cheaper from", "memory at the last", "its exponent (full's)")
    print(f"time over full attention's, width {WIDTH}, {HEADS} heads\n" + table(head, rows))
    print(said_of(machine()) + f", seed {chosen.seed}")
    written(chosen.json, {"machine": machine(), "seed": chosen.seed, "rows": kept})


if __name__ == "__main__":
    main()
