"""How far a reconstruction is from the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from omniform.core.errors import BadArgument
from omniform.core.spec import Spec


class Distortion(nn.Module, ABC):
    """Compares what a decoder says with the pixels, and knows which picture the decoder meant."""

    @abstractmethod
    def forward(self, said: Tensor, data: Tensor) -> Mapping[str, Tensor]:
        """Named sums over all numbers of the batch; "main" and others."""

    @abstractmethod
    def picture(self, said: Tensor) -> Tensor:
        """Pixels in [-1, 1], where the data are pixels."""


@final
class Absolute(Distortion):
    """|said - data|: the nll of a Laplace distribution, up to constants."""

    def forward(self, said: Tensor, data: Tensor) -> Mapping[str, Tensor]:
        return {"main": (said - data).abs().sum()}

    def picture(self, said: Tensor) -> Tensor:
        return said.clamp(-1, 1)


@final
class Squared(Distortion):
    """(said - data)^2: the nll of a Gaussian of variance 1/2, up to constants."""

    def forward(self, said: Tensor, data: Tensor) -> Mapping[str, Tensor]:
        return {"main": (said - data).square().sum()}

    def picture(self, said: Tensor) -> Tensor:
        return said.clamp(-1, 1)


@final
class Smooth(Distortion):
    """Half the square below 1 and the absolute difference less a half above it (Huber's loss), of what has no bounds: channels of motion (B, C, H, T).

    stress: (first, last, weight): channels of C H that are counted so much more, as the mean over themselves (MMM's official code: 0.5 of the joints' places).
    """

    def __init__(self, stress: tuple[int, int, float] | None = None):
        super().__init__()
        if stress is not None and not (0 <= stress[0] < stress[1] and stress[2] >= 0):
            raise BadArgument(f"stress is (first, last, weight) with first below last and a weight of 0 or more, not {stress}")
        self.stress = stress

    def forward(self, said: Tensor, data: Tensor) -> Mapping[str, Tensor]:
        main = F.smooth_l1_loss(said, data, reduction="sum")
        if self.stress is None:
            return {"main": main}
        first, last, weight = self.stress
        mine, its = (x.flatten(1, -2)[:, first:last] for x in (said, data))
        return {"main": main, "stress": weight * F.smooth_l1_loss(mine, its) * data.numel()}

    def picture(self, said: Tensor) -> Tensor:
        return said


@final
class Logistic(Distortion):
    """Cross-entropy of logits of white against black, above that of the data itself, so that 0 is perfect.

    For pictures that are nearly black and white.
    """

    def forward(self, said: Tensor, data: Tensor) -> Mapping[str, Tensor]:
        white = ((data + 1) / 2).clamp(0, 1)
        own = F.binary_cross_entropy(white, white, reduction="sum")
        return {"main": F.binary_cross_entropy_with_logits(said, white, reduction="sum") - own}

    def picture(self, said: Tensor) -> Tensor:
        return 2 * said.sigmoid() - 1


@final
class Perceptual(Distortion):
    """Another distortion, and weight times the distance of features (LPIPS, arXiv:1801.03924, equation 1, unweighted).

    features: a network, frozen here, from pixels to a map (B, C, h, w) or a sequence of maps; each is scaled to unit
    length over C.
    """

    def __init__(self, pixels: Spec, features: Spec, weight: float = 1.0):
        super().__init__()
        if weight < 0:
            raise BadArgument(f"expected a weight of 0 or more, found {weight}")
        self.pixels, self.features, self.weight = pixels.build(), features.build().requires_grad_(False), weight

    def forward(self, said: Tensor, data: Tensor) -> Mapping[str, Tensor]:
        pairs = zip(self._maps(self.pixels.picture(said)), self._maps(data), strict=True)
        distance = sum((a - b).square().sum(1).mean() for a, b in pairs)
        return {**self.pixels(said, data), "perceptual": self.weight * distance * data.numel()}

    def _maps(self, pixels: Tensor) -> list[Tensor]:
        """Features of unit length."""
        maps = self.features(pixels)
        return [F.normalize(x, dim=1, eps=1e-8) for x in ((maps,) if isinstance(maps, Tensor) else maps)]

    def picture(self, said: Tensor) -> Tensor:
        return self.pixels.picture(said)
