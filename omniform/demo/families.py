"""Which system stands for each family."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHORT, LONG = 40.0, 240.0
"""Seconds of training between which a family's learning rate goes from the one that suits a few hundred steps to the one that suits a thousand (ours)."""


@dataclass(frozen=True)
class Family:
    """A family and the recipe that stands for it.

    codec: the recipe of the codec that it speaks through, None where it reads the data itself. rates: what the recipe's learning rate is multiplied with in
    a training of SHORT seconds and in one of LONG (ours: found on the glyphs).
    """

    recipe: str
    name: str
    title: str
    sentence: str
    codec: str | None = None
    rates: tuple[float, float] = (1.0, 1.0)

    def rate(self, seconds: float) -> float:
        """The factor at a budget: from one to the other with the logarithm of the seconds."""
        far = min(max(math.log(seconds / SHORT) / math.log(LONG / SHORT), 0.0), 1.0)
        return self.rates[0] ** (1 - far) * self.rates[1] ** far


IMAGE = (
    Family("image-gpt", "Autoregressive", "GPT over image codes", "Draws one code after another in raster order, each given all before it.", "vq", (2.5, 1.0)),
    Family(
        "maskgit",
        "Masked",
        "MaskGIT",
        "Starts with every code hidden and shows the ones it is surest of, a few more at each question.",
        "vq",
        (2.0, 1.0),
    ),
    Family(
        "dit",
        "Diffusion and flow",
        "DiT (velocity)",
        "Starts from noise and moves all latents together along the velocity that the network names.",
        "kl",
        (3.0, 1.0),
    ),
    Family("var", "Next-scale", "VAR", "Draws whole maps of codes from coarse to fine, each map in one question.", "pyramid", (3.0, 2.5)),
    Family(
        "mar", "Masked autoregressive", "MAR", "Shows continuous latents in random order, each drawn by a small diffusion given the network's vector.", "kl"
    ),
    Family(
        "tarflow",
        "Normalizing flow",
        "TarFlow",
        "Inverts autoregressive affine maps, latent by latent, from Gaussian noise back to the picture: exact likelihood.",
        "kl",
        (2.5, 1.0),
    ),
)

TEXT = (
    Family("gpt", "Autoregressive", "GPT", "Draws one byte after another, each given all before it."),
    Family("mdlm", "Masked diffusion", "MDLM", "Starts with every byte hidden and shows each at a time of its own."),
    Family("block-diffusion", "Block diffusion", "Block diffusion", "Draws blocks from left to right, each by masked diffusion given the finished ones."),
)


def families(modality: str) -> tuple[Family, ...]:
    """Those that have a form in this modality."""
    return {"image": IMAGE, "text": TEXT}.get(modality, ())
