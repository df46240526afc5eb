"""What attention costs in PT-DiT as a share of full attention, at the four sizes of the paper, counted over the recipe.

The cost of a block is A D^2 + B D at width D; B, found from two widths, is what the products of attention cost. Those with the caption's tokens are
taken off.
"""

from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.system.facts import counted

SHARES = {256: (2, 0.343), 512: (4, 0.097), 1024: (8, 0.047), 2048: (16, 0.023)}  # pixels: window, section 3.3
TEXT = 120  # tokens of the caption
CLAIM = Claim(
    row="qihoo-t2x-pt-dit",
    says="the products of attention cost 34.3, 9.7, 4.7 and 2.3 percent of full attention's at 256, 512, 1024 and 2048 pixels, "
    "1/P^2 + 1/P + 2 P/N (equation 4)",
    source="arXiv:2409.04005, section 3.3 and equation 4",
    recipes=("qihoo-t2x-pt-dit", "dit"),
    budget="counting on the meta device, seconds",
    seeds=(0,),
    exact=True,
)


def products(name: str, changes: dict[str, object]) -> float:
    """B of one block."""
    of = lambda width, depth: counted(recipes.get(name).but({**changes, "network.width": width, "network.backbone.depth": depth})).multiply_adds  # noqa: E731
    one, two = (of(width, 2) - of(width, 1) for width in (144, 288))
    return (2 * one - two / 2) / 144


def measure(seed: int) -> Numbers:
    found: Numbers = {}
    for side, (window, printed) in SHARES.items():
        tokens, places = (side // 16) ** 2, window**2
        mine = products("qihoo-t2x-pt-dit", {"shape": (3, side, side), "network.backbone.block.mixer.window": (window, window)}) - 2 * TEXT * tokens
        full = products("dit", {"shape": (3, side, side)})
        found |= {f"share_{side}": mine / full, f"equation_{side}": 1 / places**2 + 1 / places + 2 * places / tokens, f"printed_{side}": printed}
    return found


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    (run,) = runs
    equation = max(abs(run[f"share_{s}"] - run[f"equation_{s}"]) for s in SHARES)
    wrong = [s for s in SHARES if abs(run[f"share_{s}"] - run[f"printed_{s}"]) > 0.002]
    said = ", ".join(f"{run[f'share_{s}']:.1%} at {s} (printed {run[f'printed_{s}']:.1%})" for s in SHARES)
    verdict = Verdict.HOLDS if equation < 1e-6 and not wrong else Verdict.FAILS
    return verdict, f"{said}; equation 4 is met to {equation:.0e}" + (f", the printed share at {wrong} is not what it gives" if wrong else "")


if __name__ == "__main__":
    main(CLAIM, measure, judge)
