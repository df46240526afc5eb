"""Write a word with every family: the systems that ship with Omniform, side by side.

python examples/sample_shipped.py --word OMNIFORM --out word.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import omniform as of

FAMILIES = ("image-gpt", "maskgit", "dit", "var", "mar", "tarflow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--word", default="OMNIFORM", help="digits and capitals")
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("word.png"))
    asked = parser.parse_args()

    rows = []
    for name in asked.families:
        system = of.load(f"shipped:{name}")
        letters = system.generate(len(asked.word), condition={"label": list(asked.word)}, seed=asked.seed)
        rows.append(letters[:, 0].permute(1, 0, 2).reshape(letters.shape[-2], -1))  # (28, 28 n)
        print(f"{name}: {', '.join(system.cite()[:1])}")
    page = rows[0].new_tensor([row.tolist() for row in rows]).flatten(0, 1)
    Image.fromarray(page.add(1).mul(127.5).clamp(0, 255).byte().numpy()).save(asked.out)
    print(asked.out)


if __name__ == "__main__":
    main()
