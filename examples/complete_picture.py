"""Complete pictures of which only the left half is given, several times each: what a model believes of the rest.

python examples/complete_picture.py shipped:maskgit --data glyphs --out completed.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import omniform as of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", help="a run's folder, or shipped:NAME")
    parser.add_argument("--data", default="glyphs")
    parser.add_argument("--num", type=int, default=8, help="held-out pictures")
    parser.add_argument("--tries", type=int, default=4)
    parser.add_argument("--untold", action="store_true", help="say no labels: the half that is seen has to do")
    parser.add_argument("--out", type=Path, default=Path("completed.png"))
    asked = parser.parse_args()

    system = of.load(asked.system)
    held_out = of.data.open_data(asked.data).test
    seen = held_out.batch([i * len(held_out) // asked.num for i in range(asked.num)])
    names = [axis.name for axis in system.codec.space.axes]
    column, columns = system.codec.space.places[:, names.index("x")], system.codec.space.axes[names.index("x")].size
    keep = column < columns / 2  # (L,) true where the tokens stay

    told = {} if asked.untold else {k: v for k, v in seen.condition.items() if k in system.conditioning.parts}
    rows = [
        seen.data,
        *(system.generate(asked.num, told, given=(seen.data, keep), seed=seed) for seed in range(asked.tries)),
    ]
    sheet = [
        row.add(1).mul(127.5).clamp(0, 255).byte().permute(2, 0, 3, 1).flatten(1, 2) for row in rows
    ]  # (H, num W, C)
    page = sheet[0].new_tensor([row.tolist() for row in sheet]).flatten(0, 1).expand(-1, -1, 3)
    Image.fromarray(page.contiguous().numpy()).save(asked.out)
    print(f"{asked.out}: the first row is real, each row below completes its left half")


if __name__ == "__main__":
    main()
