"""The demo: shipped systems at once, one of each family from scratch, and the page."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omniform import __version__, recipes, verbs
from omniform.core.errors import BadArgument, DataError
from omniform.data import Dataset, open_data, order
from omniform.demo.families import Family, families
from omniform.demo.measured import BATCH, labels_for, measured, names_of
from omniform.evaluation.features import Classifier, floor_and_ceiling
from omniform.evaluation.report import FamilyResult, Report, write_report
from omniform.system.storage import find_folder, write_file
from omniform.system.system import CodecSystem, System
from omniform.training.trainer import Run
from omniform.verbs.building import SHIPPED

CODEC_SHARE = 0.3
"""Of the training time, where the codecs must learn first (ours)."""
LEAST = 2.0
"""Seconds that a family is trained at the least (ours)."""


class Interrupted(Exception):
    """The user has had enough; what was trained stays."""


@dataclass
class Demo:
    """One run of the demo in a folder. say: where lines for the user go."""

    out: Path
    data: str
    minutes: float
    seed: int
    say: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)
    results: list[FamilyResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0.1 <= self.minutes <= 10_000:
            raise BadArgument(f"a demo takes 0.1 minutes or more, not {self.minutes:g}; write --minutes 5")
        self.dataset: Dataset = open_data(self.data)
        self.kinds = families(self.dataset.modality)
        if not self.kinds:
            raise DataError(
                f"the demo compares families on pictures or text, and {self.dataset.name} holds {self.dataset.modality}; omniform train has recipes for it"
            )
        self.judge: Classifier | None = None
        self.real: Tensor | None = None
        self.codecs_learned: list[str] = []

    @property
    def num(self) -> int:
        """Samples of each system: as many as the budget bears, the same number of each class."""
        if self.dataset.modality == "text":
            return 3
        kinds = max(len(self.dataset.classes), 1)
        return max(2 if kinds > 12 else 4, min(10, round(self.minutes * 0.4))) * kinds if kinds > 1 else 72

    # ---- the stages -------------------------------------------------------------------------------------------------

    def run(self, *, resume: bool) -> Path:
        """All stages; the page is written at the end, and also when something stops it."""
        self._claim(resume)
        try:
            self._prepare()
            self._shipped()
            self._fresh()
        except (KeyboardInterrupt, Interrupted):
            self.notes.append("This run was interrupted; what was trained by then is shown. The same command with --resume goes on.")
            self._report()
            raise Interrupted(str(self.out)) from None
        return self._report()

    def _claim(self, resume: bool) -> None:
        """The folder is ours, or a demo of the same making that goes on."""
        plan = {"data": self.data, "minutes": self.minutes, "seed": self.seed}
        there = self.out / "demo.json"
        if there.is_file():
            earlier = json.loads(there.read_text())
            if not resume:
                raise BadArgument(f"{self.out} holds a demo already; go on with --resume, or choose another --out")
            if earlier.get("plan") != plan:
                said = " ".join(f"--{k} {v}" for k, v in earlier.get("plan", {}).items())
                raise BadArgument(f"the demo in {self.out} was begun with {said}; resume it with the same, or choose another --out")
            self.budget: dict[str, float] = earlier.get("budget", {})
            return
        if self.out.exists() and any(self.out.iterdir()):
            raise BadArgument(f"{self.out} is not empty and holds no demo; choose another --out")
        self.budget = {}
        self.out.mkdir(parents=True, exist_ok=True)
        self._remember()

    def _remember(self) -> None:
        plan = {"data": self.data, "minutes": self.minutes, "seed": self.seed}
        write_file(self.out / "demo.json", json.dumps({"plan": plan, "budget": self.budget}, indent=1))

    def _prepare(self) -> None:
        """The judge, and real examples to compare with."""
        if self.dataset.modality != "image":
            return
        self.say(f"{self.dataset.name}: {len(self.dataset.train)} pictures {self.dataset.shape}, {len(self.dataset.classes) or 'no'} classes")
        known = self.dataset.name == "glyphs"
        if not known:
            self.say("the classifier that judges is trained first")
        self.judge = verbs.judge(self.dataset, steps=None if known or self.minutes >= 15 else 300, progress=False)
        self.say(self.judge.sentence())
        chosen = order(len(self.dataset.train), self.seed, 0, min(2 * self.num, len(self.dataset.train)))
        self.real = self.dataset.train.batch(chosen[: self.num]).data
        self.others = self.dataset.train.batch(chosen[self.num :]) if len(chosen) > self.num + 4 else self.dataset.train.batch(chosen[: self.num])

    def _shipped(self) -> None:
        """Generation at once, from what ships."""
        if self.dataset.name != "glyphs" or self.dataset.modality != "image":
            return
        for family in self.kinds:
            if not (SHIPPED / family.recipe / "recipe.json").is_file():
                self.notes.append(f"No shipped {family.title} was found.")
                continue
            system = verbs.load(f"shipped:{family.recipe}")
            self._measured(system, family, "shipped", None)

    def _measured(self, system: Any, family: Family, origin: str, run: Run | None) -> None:
        began = time.monotonic()
        result = measured(system, family, self.dataset, origin, num=self.num, real=self.real, judge=self.judge, seed=self.seed, run=run)
        self.results.append(result)
        accuracy, distance = result.scores.get("accuracy_on_conditions"), result.scores.get("frechet")
        said = [f"{family.title} ({origin}): {self.num} samples in {time.monotonic() - began:.1f} s"]
        if isinstance(accuracy, float):
            said.append(f"{100 * accuracy:.0f}% are what was asked for")
        if isinstance(distance, float):
            said.append(f"Frechet {distance:.1f}")
        self.say(", ".join(said))

    def _fresh(self) -> None:
        """Each family from scratch, with equal seconds."""
        codecs = self._codecs()
        if "family" not in self.budget:
            spent = time.monotonic() - self.began
            later = sum(float(r.scores["seconds_per_sample"]) * self.num for r in self.results) * 1.3 + 3.0 * len(self.kinds)
            self.budget["family"] = max((60 * self.minutes - spent - later) / len(self.kinds), LEAST)
            self._remember()
        for family in self.kinds:
            out = self.out / "runs" / family.recipe
            system = verbs.build(family.recipe, data=self.dataset, codec=codecs.get(family.codec or ""), seed=self.seed)
            self.say(f"{family.title}: training from scratch for {self.budget['family']:.0f} s")
            run = self._trained(system, out, self.budget["family"], family.rate(self.budget["family"]))
            if run.steps:
                self._measured(run.system.eval(), family, "trained here", run)
            if run.stopped == "interrupted":
                raise Interrupted

    def _trained(self, system: System | CodecSystem, out: Path, seconds: float, rate: float = 1.0) -> Run:
        settings = {"lr": rate * system.recipe.training["lr"]} if rate != 1 else {}
        resume = find_folder(out / "checkpoint") is not None
        return verbs.train(
            system,
            self.dataset,
            minutes=seconds / 60,
            out=out,
            resume=resume,
            seed=self.seed,
            ema=0.99,
            checkpoint_every=100,
            validate_every=0,
            batch=BATCH[self.dataset.modality] if isinstance(system, System) else 64,
            precision="bf16" if isinstance(system, System) else "fp32",
            **settings,
        )

    def _codecs(self) -> dict[str, Any]:
        """Trained codecs by recipe: the shipped ones for the embedded glyphs, else ones that learn here."""
        wanted = list(dict.fromkeys(f.codec for f in self.kinds if f.codec))
        found: dict[str, Any] = {}
        if self.dataset.name == "glyphs":
            for family in self.kinds:
                if family.codec and family.codec not in found and (SHIPPED / family.recipe / "recipe.json").is_file():
                    found[family.codec] = verbs.load(f"shipped:{family.recipe}")
        missing = [name for name in wanted if name not in found]
        if missing and "codec" not in self.budget:
            left = 60 * self.minutes - (time.monotonic() - self.began)
            self.budget["codec"] = max(CODEC_SHARE * left / len(missing), LEAST)
            self._remember()
        for name in missing:
            system = verbs.build(name, data=self.dataset, seed=self.seed)
            self.say(f"codec {recipes.get(name).title}: training for {self.budget['codec']:.0f} s")
            run = self._trained(system, self.out / "runs" / f"codec-{name}", self.budget["codec"])
            if run.stopped == "interrupted":
                raise Interrupted
            found[name] = self.out / "runs" / f"codec-{name}"
        self.codecs_learned = missing
        return found

    # ---- the page ---------------------------------------------------------------------------------------------------

    def _report(self) -> Path:
        """The page, of whatever there is by now."""
        floor: dict[str, Any] = {}
        ceiling: dict[str, Any] = {}
        if self.judge is not None and self.real is not None:
            floor, ceiling = floor_and_ceiling(
                self.judge, self.real, self.others.data, self.others.condition.get("label") if self.judge.classes else None, seed=self.seed
            )
        learned = self.codecs_learned
        if self.dataset.modality == "text":
            codecs = "The systems read bytes; there is no codec."
        elif learned:
            codecs = (
                f"The codecs ({', '.join(learned)}) were trained here first, on the same data, for {self.budget['codec']:.0f} s each; the systems share them."
            )
        else:
            codecs = (
                "The systems trained here speak through the codecs that ship with the project, which were trained on the same data beforehand; "
                "only the transformers start from scratch."
            )
        seconds = self.budget.get("family")
        pictures = self.dataset.modality == "image"
        chosen = [] if not pictures else _by_class(self.dataset, 36)
        real = self.dataset.train.batch(chosen) if pictures else self.dataset.test.batch(range(3))
        content = Report(
            title="Six families, one engine" if pictures else "Three families of text, one engine",
            data_name=self.dataset.name,
            data_sentence=_sentence(self.dataset.origin),
            budget_sentence=(
                "Each system trained here had the same width and depth of transformer, the same data and "
                + (f"{seconds:.0f} seconds of the same machine." if seconds else "no time yet.")
            ),
            results=self.results,
            floor=floor,
            ceiling=ceiling,
            classifier_sentence=self.judge.sentence() if self.judge is not None else "",
            codec_sentence=codecs,
            environment={
                "omniform": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
                "threads": str(torch.get_num_threads()),
                "seed": str(self.seed),
                "command": f"omniform demo --data {self.data} --minutes {self.minutes:g} --seed {self.seed}",
                "samples a system": str(self.num),
            },
            notes=self.notes,
            real=real.data if pictures else [t[:192] for t in real.data],
            real_conditions=names_of(self.dataset, real.condition["label"]) if "label" in real.condition and pictures else (),
        )
        return write_report(self.out / "index.html", content)


def _sentence(words: str) -> str:
    """With a capital and a full stop, as it stands among others."""
    return words[:1].upper() + words[1:].rstrip(".") + "." if words else ""


def _by_class(dataset: Dataset, num: int) -> list[int]:
    """The numbers of `num` training pictures, class after class."""
    pool = order(len(dataset.train), 1, 0, min(len(dataset.train), 40 * max(len(dataset.classes), 1)))
    labels = labels_for(dataset, num)
    if labels is None:
        return pool[:num].tolist()
    have = dataset.train.batch(pool).condition["label"]
    found = []
    for label in labels.unique().tolist():
        mine = pool[have == label].tolist()
        found += mine[: max(1, num // len(dataset.classes))]
    return found
