"""Two families on handwritten digits, over one codec and for the same seconds: which finds held-out ones likelier?

python examples/compare_families.py --minutes 2
"""

from __future__ import annotations

import argparse
from typing import Any

import omniform as of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "families", nargs="*", default=["image-gpt", "maskgit"], help="recipes that speak codes of a VQ codec"
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="for the codec, and for each family")
    parser.add_argument("--num", type=int, default=300, help="digits scored and drawn")
    asked = parser.parse_args()

    data = of.data.open_data("digits")
    codec = of.train(of.build("vq", data=data), data, minutes=asked.minutes).system
    systems: list[Any] = []
    for name in asked.families:
        run = of.train(of.build(name, data=data, codec=codec), data, minutes=asked.minutes)
        print(f"{name}: {run.steps} steps in {run.seconds:.0f} s")
        systems.append(run.system)
    for row in of.compare(systems, data, num=asked.num):
        right = 100 * row["accuracy_on_conditions"]
        print(f"{row['recipe']:12} {row['nats_per_dimension']:.3f} nats a code ({row['kind']})")
        print(f"{'':12} Frechet {row['frechet']:.1f}, {right:.0f}% as asked, {row['seconds_per_sample']:.3f} s a digit")


if __name__ == "__main__":
    main()
