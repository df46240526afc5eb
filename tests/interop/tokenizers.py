"""Convolutional tokenizers of papers in the size of a test, for several test files, and checkpoints of them."""

import torch

from omniform.interop.adopting import _network as own_of
from omniform.interop.adopting import paper
from omniform.interop.papers import PAPERS

_NET = {"codec.network.widths": (8, 8, 16, 16, 32), "codec.network.groups": 4}
SCALES, PHI_OF = ((1, 1), (1, 2), (2, 3)), (0, 0, 1)
SIZES = {
    "vqgan": ("VQ-16", {**_NET, "codec.network.inner": 12, "codec.bottleneck.codes": 24}),
    "kl": ("f16", _NET),
    "pyramid": ("ch160", {**_NET, **{f"codec.bottleneck.{k}": v for k, v in (("scales", SCALES), ("phis", 2), ("phi_of", PHI_OF), ("codes", 24))}}),
}


def small(name):
    """Pictures of 32 x 48 to latents of 2 x 3 through a narrow network of the real kind."""
    size, changes = SIZES[name]
    return paper(name, size).but({"shape": (3, 32, 48), **changes}, sizes={}, tiny={}, facts=())


def drawn(recipe, seed=0):
    """A checkpoint with numbers of the size that trained ones have: maps keep their scale, biases are small, codes are told apart."""
    own, generator = own_of(recipe), torch.Generator().manual_seed(seed)
    shapes = PAPERS[recipe.name].table(own).their_shapes(own)
    theirs = {n: torch.randn(shape, generator=generator) for n, shape in sorted(shapes.items())}
    kept = lambda n, x: x if "embedding" in n else 1.3 * x / x[0].numel() ** 0.5 if x.dim() > 1 else x / 10 + (n.endswith("weight"))  # noqa: E731
    return {n: kept(n, x) for n, x in theirs.items()}
