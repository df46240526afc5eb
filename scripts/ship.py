"""Trains the tiny systems that ship with the project, and writes them to omniform/shipped/ with what was done beside them.

    OMP_NUM_THREADS=1 python scripts/ship.py kl vq pyramid                               # the codecs first
    OMP_NUM_THREADS=1 python scripts/ship.py image-gpt maskgit dit var mar tarflow       # then the systems, each over its codec

Each name is trained for the steps in PLAN on the embedded glyphs, seed 0. Runs go to runs/ship/NAME and resume where they stopped.
"""
from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import torch

from omniform import recipes
from omniform.data import open_data
from omniform.system.build import assemble, fitted, load, save
from omniform.training.plan import Training
from omniform.training.tokenised import tokenised
from omniform.training.trainer import train

CODECS = {"image-gpt": "vq", "maskgit": "vq", "dit": "kl", "mar": "kl", "tarflow": "kl", "var": "pyramid"}
PLAN = {"kl": 2000, "vq": 2000, "pyramid": 2000, "image-gpt": 4000, "maskgit": 5000, "dit": 4000, "var": 3000, "mar": 4000, "tarflow": 4000}
RUNS = Path("runs/ship")
SHIPPED = Path(__file__).parent.parent / "omniform" / "shipped"


def shipped(name: str) -> None:
    """Train one, and write it."""
    data = open_data("glyphs")
    recipe = fitted(recipes.get(name).sized("tiny"), shape=data.shape, classes=data.classes)
    codec = None
    if name in CODECS:
        inner = load(RUNS / CODECS[name])
        codec, recipe = inner.codec, recipe.but({"codec": inner.recipe.codec})
        data = tokenised(data, codec)
    system = assemble(recipe, codec)
    if codec is not None:
        codec.requires_grad_(False)
    knobs = {**recipe.training, "steps": PLAN[name], "ema": 0.998, "precision": "bf16" if codec is not None else "fp32", "checkpoint_every": 250, "validate_every": 500}
    out = RUNS / name
    run = train(system, data, Training(**knobs), out=out, resume=(out / "checkpoint").exists(), progress=False)
    system = load(out)
    if codec is None:
        system.codec.settle(data.train.batch(range(4096)).data)
        save(system, out / "checkpoint")
    else:
        notes = {"command": f"OMP_NUM_THREADS=1 python scripts/ship.py {name}", "data": f"glyphs ({data.origin})", "seed": 0, "steps": run.steps,
                 "hours": round(run.seconds / 3600, 3), "training": knobs, "codec_hours": json.loads((RUNS / CODECS[name] / "ship.json").read_text())["hours"],
                 "torch": torch.__version__, "machine": f"{platform.machine()}, 1 thread", "weights": "averaged (EMA), bfloat16"}
        save(system, SHIPPED / name, notes=notes, dtype=torch.bfloat16)
    (out / "ship.json").write_text(json.dumps({"steps": run.steps, "hours": round(run.seconds / 3600, 3), "loss": run.losses[-1]}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for wanted in sys.argv[1:] or list(PLAN):
        shipped(wanted)
