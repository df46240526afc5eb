"""Train a system on a folder of pictures, going on where an earlier call stopped, and draw a few.

python examples/train_on_folder.py my/pictures --recipe dit --minutes 30 --out runs/mine
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import omniform as of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures; subfolders are classes")
    parser.add_argument("--recipe", default="dit")
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("runs/mine"))
    asked = parser.parse_args()
    end = {"steps": asked.steps} if asked.steps else {"minutes": asked.minutes or 30.0}

    data = of.data.open_data(asked.folder, size=asked.size)
    classes = ", ".join(data.classes) or "none"
    print(f"{len(data.train)} pictures to learn from, {len(data.test)} held out, classes: {classes}")
    system = of.build(asked.recipe, data=data)
    run = of.train(system, data, out=asked.out, resume=asked.out.exists(), batch=asked.batch, **end)
    print(f"{run.steps} steps in {run.seconds:.0f} s, {run.stopped}")

    labels = {"label": [name for name in data.classes for _ in range(4)]} if data.classes else {}
    num = len(labels.get("label", range(8)))
    pictures = run.system.generate(num, labels, seed=0).add(1).mul(127.5).clamp(0, 255).byte()
    strip = pictures.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).permute(1, 0, 2, 3).reshape(asked.size, -1, 3)
    Image.fromarray(strip.contiguous().numpy()).save(asked.out / "drawn.png")
    print(asked.out / "drawn.png")


if __name__ == "__main__":
    main()
