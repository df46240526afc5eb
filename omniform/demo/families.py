"""Which system stands for each family."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A family and the recipe that stands for it; codec: the recipe of the codec that it speaks through, None where it reads the data itself."""

    recipe: str
    name: str
    title: str
    sentence: str
    codec: str | None = None


IMAGE = (
    Family("image-gpt", "Autoregressive", "GPT over image codes", "Draws one code after another in raster order, each given all before it.", "vq"),
    Family("maskgit", "Masked", "MaskGIT", "Starts with every code hidden and shows the ones it is surest of, a few more at each question.", "vq"),
    Family("dit", "Diffusion and flow", "DiT (velocity)", "Starts from noise and moves all latents together along the velocity that the network names.", "kl"),
    Family("var", "Next-scale", "VAR", "Draws whole maps of codes from coarse to fine, each map in one question.", "pyramid"),
    Family(
        "mar", "Masked autoregressive", "MAR", "Shows continuous latents in random order, each drawn by a small diffusion given the network's vector.", "kl"
    ),
    Family(
        "tarflow",
        "Normalizing flow",
        "TarFlow",
        "Inverts autoregressive affine maps, latent by latent, from Gaussian noise back to the picture: exact likelihood.",
        "kl",
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
