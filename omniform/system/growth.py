"""A trained system given more parameters without a change of what it says."""

from __future__ import annotations

import math

import torch

from ..backbones.mlp import Pattention
from ..core.errors import BadArgument
from ..core.spec import Spec
from .build import assemble
from .system import System


def grown(system: System, factor: float, *, seed: int = 0) -> System:
    """The same system with `factor` times as many pairs of key and value in each Pattention (TokenFormer, arXiv:2410.23168, section 3.3 and appendix B).

    The new keys are zero and the scale stays that of before (the paper's equations leave it out, its code lets it grow), so that every answer is what it was;
    the new values start at random, so that the new keys learn. The recipe of what comes back says so and can be saved.
    """
    network = system.recipe.network
    assert network is not None
    paths = [path for path, part in network.walk() if isinstance(part, Spec) and part.make is Pattention]
    if not paths or factor < 1:
        raise BadArgument(f"{system.recipe.name} grows by learned tokens, to as many or more; it has {len(paths)} maps of such and the factor is {factor:g}")
    changes = {}
    for path in paths:
        part: Spec = network
        for name in path.split("."):
            part = part.args[name]
        pairs = part.args["pairs"]
        scale = part.args.get("scale")
        changes |= {f"network.{path}.pairs": round(pairs * factor), f"network.{path}.scale": math.sqrt(pairs) if scale is None else scale}
    larger = assemble(system.recipe.but(changes), system.codec, seed=seed)
    assert isinstance(larger, System)
    old = dict(system.named_parameters())
    with torch.no_grad():
        for name, p in larger.named_parameters():
            if name.endswith(".keys") and p.shape != old[name].shape:
                p.zero_()
            p[: len(old[name])].copy_(old[name])
    return larger.train(system.training)
