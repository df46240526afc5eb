"""A GPT that reads and writes bytes: train it on a text, hear how surprised it is, let it go on with a prompt.

python examples/write_text.py stdlib --minutes 20 --prompt "def "
"""

from __future__ import annotations

import argparse
import math

import torch

import omniform as of
from omniform.core.distribution import Sampling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", help="a text file, a folder of .txt files, or stdlib")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int)
    parser.add_argument("--prompt", default="The ")
    parser.add_argument("--length", type=int, default=200, help="bytes, prompt included")
    parser.add_argument("--temperature", type=float, default=0.8)
    asked = parser.parse_args()
    end = {"steps": asked.steps} if asked.steps else {"minutes": asked.minutes or 20.0}

    data = of.data.open_data(asked.text)
    run = of.train(of.build("gpt", data=data), data, **end)
    nats = of.score(run.system, data, num=64)["nats_per_dimension"]
    print(f"{run.steps} steps: {nats:.3f} nats a byte, that is {nats / math.log(2):.3f} bits")

    prompt = run.system.codec.prompt([asked.prompt])
    everything = torch.ones(prompt.length, dtype=torch.bool)
    (text,) = run.system.generate(
        1, given=(prompt, everything), length=asked.length, sampling=Sampling(temperature=asked.temperature), seed=0
    )
    print(text)


if __name__ == "__main__":
    main()
