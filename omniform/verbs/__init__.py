"""What a person does with Omniform, as functions; the command line calls the same ones."""

from __future__ import annotations

from omniform.catalogue.listing import systems
from omniform.system.build import save
from omniform.verbs.building import build, load, opened
from omniform.verbs.fitting import fit_codec, suits
from omniform.verbs.learning import Tokenised, train
from omniform.verbs.leaving import export, push
from omniform.verbs.measuring import compare, evaluate, judge, score

__all__ = [
    "Tokenised",
    "build",
    "compare",
    "evaluate",
    "export",
    "fit_codec",
    "judge",
    "load",
    "opened",
    "push",
    "save",
    "score",
    "suits",
    "systems",
    "train",
]
