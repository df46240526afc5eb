"""Which attention kernel is the faster one: torch's fused kernel against two matrix products and a softmax, the choice in
omniform/backbones/attention/kernels.py.

python benchmarks/attention.py [--quick] [--json FILE]

A ratio above 1 says that the fused kernel takes longer than the products. One thread, forward and forward with backward, in turns.
"""

from __future__ import annotations

import torch
from interleaved import Ratio, in_turns, machine, options, said_of, table, written
from torch.nn import functional as F

from omniform.backbones.attention.kernels import products as by_products

CASES = ((32, 4, 16, 16, 32), (64, 4, 49, 49, 32), (16, 4, 88, 88, 32), (8, 4, 256, 256, 32), (4, 8, 512, 512, 64), (1, 8, 1024, 1024, 64), (8, 8, 1, 256, 64))
"""(rows, heads, queries, keys, width of a head)."""


def measured(case: tuple[int, ...], dtype: torch.dtype, masked: bool, rounds: int, seed: int) -> dict[str, Ratio]:
    """Fused over products, forward alone and with backward; both must agree first."""
    rows, heads, queries, keys, width = case
    torch.manual_seed(seed)
    q, k, v = (torch.randn(rows, heads, n, width, dtype=dtype).requires_grad_() for n in (queries, keys, keys))
    mask = (torch.rand(1, 1, queries, keys) < 0.7) | torch.eye(queries, keys, dtype=torch.bool) if masked else None
    fused = lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    products = lambda: by_products(q, k, v, mask, width**-0.5)
    torch.testing.assert_close(fused(), products(), atol=2e-2 if dtype == torch.bfloat16 else 1e-4, rtol=2e-2)

    def alone(do):
        with torch.no_grad():
            do()

    found = {"forward": Ratio.of(*in_turns([lambda: alone(fused), lambda: alone(products)], rounds))}
    if queries > 1:
        found["with backward"] = Ratio.of(*in_turns([lambda: fused().sum().backward(), lambda: products().sum().backward()], rounds))
    return found


def main() -> None:
    chosen = options(__doc__).parse_args()
    torch.set_num_threads(1)
    rows, kept = [], []
    for case in CASES[::3] if chosen.quick else CASES:
        for dtype in (torch.float32, torch.bfloat16):
            for masked in (False, True):
                for way, ratio in measured(case, dtype, masked, 3 if chosen.quick else 9, chosen.seed).items():
                    name = f"{case[2]} x {case[3]}, {case[1]} heads of {case[4]}, {case[0]} rows"
                    said = f"{ratio.median:.2f}", f"{ratio.low:.2f}-{ratio.high:.2f}"
                    rows.append((name, str(dtype).removeprefix("torch."), "yes" if masked else "no", way, *said))
                    kept.append({"case": case, "dtype": str(dtype), "masked": masked, "way": way, "median": ratio.median, "low": ratio.low, "high": ratio.high})
    print(table(("queries x keys", "dtype", "mask", "what", "fused / products", "quartiles"), rows))
    print(said_of(machine()) + f", seed {chosen.seed}")
    written(chosen.json, {"machine": machine(), "seed": chosen.seed, "rows": kept})


if __name__ == "__main__":
    main()
