"""Checkpoints of papers' own repositories, bare files of weights without a configuration: which recipe it is must be said, and tables follow from our shapes.

Only the network is in them: the autoencoder that their tokens come from is a file of its own, which is read here as well for some.
"""

from __future__ import annotations

from .convolutional import KL, PYRAMID, VQGAN
from .dit import DIT, SIT
from .llamagen import LLAMAGEN
from .mar import MAR
from .shared import Paper
from .starflow import STARFLOW, STARFLOW_TEXT
from .tarflow import TARFLOW
from .titok import TITOK
from .titok_tokenizer import TOKENIZER
from .var import VAR

PAPERS: dict[str, Paper] = {
    "dit": DIT,
    "sit": SIT,
    "var": VAR,
    "mar": MAR,
    "llamagen": LLAMAGEN,
    "tarflow": TARFLOW,
    "starflow": STARFLOW,
    "starflow-text": STARFLOW_TEXT,
    "titok-maskgit": TITOK,
    "titok": TOKENIZER,
    "vqgan": VQGAN,
    "kl": KL,
    "pyramid": PYRAMID,
}
"""By the name of a recipe."""
