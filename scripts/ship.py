"""Trains the tiny systems that ship with the project, and writes them to omniform/shipped/ with what was done beside them.

    OMP_NUM_THREADS=1 python scripts/ship.py kl vq pyramid                               # the codecs first
    OMP_NUM_THREADS=1 python scripts/ship.py image-gpt maskgit dit var mar tarflow       # then the systems, each over its codec
    OMP_NUM_THREADS=1 OMNIFORM_CACHE=runs/ship/cache python scripts/ship.py judge        # and the classifier that judges glyphs

Each name is trained for the steps in PLAN on the embedded glyphs, seed 0. Runs go to runs/ship/NAME and resume where they stopped.
A system whose codec was not trained in runs/ship keeps the codec that it shipped with: `python scripts/ship.py mar` trains MAR alone anew.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from omniform import verbs
from omniform.data import cache_dir, open_data

CODECS = {"image-gpt": "vq", "maskgit": "vq", "dit": "kl", "mar": "kl", "tarflow": "kl", "var": "pyramid"}
PLAN = {"kl": 2000, "vq": 2000, "pyramid": 2500, "image-gpt": 2000, "maskgit": 2200, "dit": 1800, "var": 1600, "mar": 3200, "tarflow": 2200}
RUNS = Path("runs/ship")
SHIPPED = Path(__file__).parent.parent / "omniform" / "shipped"


def codec_of(name: str, codec: str) -> tuple[Path, dict[str, Any]]:
    """Where a system's trained codec is, and what was done to it."""
    if (RUNS / codec / "ship.json").exists():
        return RUNS / codec, {"recipe": codec, **json.loads((RUNS / codec / "ship.json").read_text())}
    return SHIPPED / name, json.loads((SHIPPED / name / "notes.json").read_text())["codec"]


def shipped(name: str) -> None:
    """Train one, and write it."""
    data = open_data("glyphs")
    out, codec = RUNS / name, CODECS.get(name)
    knobs = {"ema": 0.998, "checkpoint_every": 250, "precision": "bf16" if codec else "fp32"}
    place, before = codec_of(name, codec) if codec else (None, {})
    system = verbs.build(name, data=data, codec=place)
    run = verbs.train(system, data, steps=PLAN[name], out=out, resume=(out / "checkpoint").exists(), progress=False, **knobs)
    if run.stopped == "interrupted":
        raise SystemExit(f"{name} was interrupted after {run.steps} steps; the same command goes on")
    done = {"steps": run.steps, "hours": round(run.seconds / 3600, 3), "loss": round(run.losses[-1][1], 4)}
    (out / "ship.json").write_text(json.dumps(done))
    if codec:
        notes = {
            "command": f"OMP_NUM_THREADS=1 python scripts/ship.py {codec} {name}",
            "data": f"glyphs ({data.origin})",
            "seed": 0,
            **done,
            "codec": before,
            "training": {**system.recipe.training, "steps": PLAN[name], **knobs},
            "torch": torch.__version__,
            "machine": f"{platform.machine()}, 1 thread, shared",
            "weights": "averaged (EMA), matrices stored as 8-bit integers with a scale a row",
        }
        verbs.save(verbs.load(out), SHIPPED / name, notes=notes, compact=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for wanted in sys.argv[1:] or [*PLAN, "judge"]:
        if wanted == "judge":
            shutil.rmtree(SHIPPED / "judges", ignore_errors=True)
            verbs.judge("glyphs")
            shutil.copytree(cache_dir() / "judges", SHIPPED / "judges")
        else:
            shipped(wanted)
