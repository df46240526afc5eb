"""Which mixer is cheaper than full attention from which length on: time and memory against the number of tokens, and the exponent that fits.

python benchmarks/slopes.py [--quick] [--only WORD] [--json FILE]

Square grids of 256 to 16,384 places, one row, forward, fp32, one thread; each mixer in turns with full attention of the same width and heads, maps of queries,
keys, values and output included. Memory is the largest sum of tensors alive at once. The crossing is where the fitted lines of the last three lengths meet,
or the first measured length that is already cheaper.
"""

from __future__ import annotations

import math
import statistics
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from interleaved import in_turns, machine, options, said_of, table, written
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from omniform.backbones.attention import Attention, CompressedAttention, LinearAttention, ProxyAttention, Windowed
from omniform.core.net import Block, Context, Env
from omniform.core.tokens import Axis, Space

WIDTH, HEADS = 64, 2
SIDES = (16, 32, 64, 128)
MIXERS: dict[str, Callable[[Space], Block]] = {
    "linear (LiT)": lambda space: LinearAttention(WIDTH, HEADS, space),
    "compressed keys, stride 2 (PixArt-Sigma)": lambda space: CompressedAttention(WIDTH, HEADS, 2),
    "compressed keys, stride 4": lambda space: CompressedAttention(WIDTH, HEADS, 4),
    "windows of 8 x 8 (Swin)": lambda space: Windowed(WIDTH, space, (8, 8), HEADS),
    "shifted windows of 8 x 8": lambda space: Windowed(WIDTH, space, (8, 8), HEADS, shifted=True),
    "proxies of 4 x 4 and windows (PT-DiT)": lambda space: ProxyAttention(WIDTH, space, (4, 4), HEADS),
}


def question(side: int) -> tuple[Space, Env, Tensor]:
    """A whole grid, asked at once."""
    space = Space((Axis("y", side), Axis("x", side)), channels=1)
    blank = space.blank(1)
    zero = torch.zeros_like(blank.doc)
    known = torch.ones_like(blank.doc, dtype=torch.bool)
    common = {"record": None, "remember": False, "progress": torch.zeros(1), "pattern": "full", "mask": None, "modulation": None}
    env = Env(coord=blank.coord, kind=zero, turn=zero, lane=zero, doc=blank.doc, known=known, context=Context(1), **common)  # type: ignore[arg-type]
    return space, env, torch.randn(1, side * side, WIDTH)


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
    """From how many tokens on ours is the cheaper one."""
    cheaper = [length for length, a, b in zip(lengths, ours, full, strict=True) if a < b]
    if len(cheaper) == len(lengths):
        return f"under {lengths[0]:,}"
    if cheaper and lengths.index(cheaper[0]) == len(lengths) - len(cheaper):
        i = lengths.index(cheaper[0])
        gaps = [math.log(ours[k] / full[k]) for k in (i - 1, i)]
        share = gaps[0] / (gaps[0] - gaps[1])
        return f"{round(math.exp(math.log(lengths[i - 1]) + share * math.log(lengths[i] / lengths[i - 1]))):,}"
    (b, a), (d, c) = exponent(lengths, ours), exponent(lengths, full)
    return f"about {math.exp((a - c) / (d - b)):,.0f} (fitted)" if d > b + 0.05 and (a - c) / (d - b) < 20 else "never, as far as measured"


def measured(make: Callable[[Space], Block], sides: tuple[int, ...], rounds: int, seed: int) -> dict[str, list[float]]:
    """Seconds and bytes of a mixer and of full attention, length by length."""
    found: dict[str, list[float]] = {"ours": [], "full": [], "ours bytes": [], "full bytes": []}
    for side in sides:
        torch.manual_seed(seed)
        space, env, x = question(side)
        mixer, full = make(space).eval(), Attention(WIDTH, HEADS).eval()
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
    for name, make in MIXERS.items():
        if chosen.only not in name:
            continue
        found = measured(make, sides, 3 if chosen.quick else 5, chosen.seed)
        ratios = [f"{a / b:.2f}" for a, b in zip(found["ours"], found["full"], strict=True)]
        slopes = [f"{exponent(lengths, found[key])[0]:.2f}" for key in ("ours", "full")]
        memory = f"{found['ours bytes'][-1] / found['full bytes'][-1]:.2f}"
        memory_slope = f"{exponent(lengths, found['ours bytes'])[0]:.2f}"
        rows.append((name, *ratios, *slopes, crossing(lengths, found["ours"], found["full"]), memory, memory_slope))
        kept.append({"mixer": name, "lengths": lengths, **found})
    head = ("mixer", *(f"{n:,}" for n in lengths), "exponent", "full's", "cheaper from", "memory at the last", "its exponent")
    print(f"time over full attention's, width {WIDTH}, {HEADS} heads\n" + table(head, rows))
    print(said_of(machine()) + f", seed {chosen.seed}")
    written(chosen.json, {"machine": machine(), "seed": chosen.seed, "rows": kept})


if __name__ == "__main__":
    main()
