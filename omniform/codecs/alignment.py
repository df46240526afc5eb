"""Latents drawn towards the features of a frozen encoder while an autoencoder learns, and such an encoder without weights."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omniform.core.errors import BadArgument
from omniform.core.spec import Spec

_LEAST, _MOST = 1e-4, 1e8
"""What is added below the ratio of gradients, and its largest value (the official code)."""


def balance(wanted: Tensor, loss: Tensor, layer: Tensor, most: float = _MOST) -> Tensor:
    """|gradient of wanted| / |gradient of loss| at a layer's weight (VQGAN, arXiv:2012.09841, equation 7), itself without gradient; 1 where nothing learns."""
    if not (loss.requires_grad and wanted.requires_grad):
        return torch.ones((), device=loss.device)
    aim, own = (torch.autograd.grad(x, layer, retain_graph=True)[0].norm() for x in (wanted, loss))
    return (aim / (own + _LEAST)).clamp(max=most)


class Alignment(nn.Module):
    """The vision-foundation loss of VA-VAE (arXiv:2501.01423, section 3, equations 1 to 5): latents (B, C, h, w), through a 1 x 1 convolution without bias,
    against features (B, F, h, w) of a frozen encoder. near: mean ReLU(1 - m1 - cos(z', f)) place by place; alike: mean ReLU(|cos(z'_i, z'_j) - cos(f_i, f_j)|
    - m2) over all pairs of a picture's places (the paper's pairs are of z, its code's of z'). Zero where the projected latents are the features.

    teacher: Spec of a module pixels -> features, never trained. weight: of the whole, times |gradient of the reconstruction| / |gradient of the loss| at the
    encoder's last layer. margins: m1, m2.
    """

    def __init__(self, channels: int, teacher: Spec, features: int, weight: float = 0.1, margins: tuple[float, float] = (0.5, 0.25)):
        super().__init__()
        self.teacher = teacher.build().requires_grad_(False)
        self.project = nn.Conv2d(channels, features, 1, bias=False)
        self.weight, self.margins = weight, margins

    def terms(self, latent: Tensor, pixels: Tensor) -> Tensor:
        """near + alike."""
        with torch.no_grad():
            seen = self.teacher(pixels)
        said = self.project(latent)
        if seen.shape[1] != said.shape[1]:
            raise BadArgument(f"the teacher has {seen.shape[1]} features and the alignment expects {said.shape[1]}; write features={seen.shape[1]}")
        if seen.shape[2:] != said.shape[2:]:
            seen = F.interpolate(seen, said.shape[2:], mode="bilinear", align_corners=False)
        z, f = (F.normalize(x.flatten(2).float(), dim=1) for x in (said, seen))
        near = F.relu(1 - self.margins[0] - (z * f).sum(1)).mean()
        return near + F.relu((z.mT @ z - f.mT @ f).abs() - self.margins[1]).mean()

    def forward(self, latent: Tensor, pixels: Tensor, reconstruction: Tensor, layer: Tensor) -> Tensor:
        """What it adds to the loss; layer: the weight at which gradients are compared."""
        loss = self.terms(latent, pixels)
        return self.weight * balance(reconstruction, loss, layer) * loss


class Orientations(nn.Module):
    """Histograms of oriented gradients (Dalal and Triggs 2005) as a frozen encoder: (B, C, H, W) -> (B, bins + 1, H / cell, W / cell), each cell of length 1;
    the last feature is a constant, so that a flat cell has a direction. A target as good as many learned ones (MaskFeat, arXiv:2112.09133, section 4.2)."""

    def __init__(self, bins: int = 9, cell: int = 4, flat: float = 0.05):
        super().__init__()
        self.bins, self.cell, self.flat = bins, cell, flat

    def forward(self, pixels: Tensor) -> Tensor:
        grey = F.pad(pixels.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        dx, dy = grey[:, :, 1:-1, 2:] - grey[:, :, 1:-1, :-2], grey[:, :, 2:, 1:-1] - grey[:, :, :-2, 1:-1]
        blank = (dx == 0) & (dy == 0)
        dx = dx.masked_fill(blank, 1.0)  # an angle has no gradient where nothing changes; its vote is taken out below
        share = (torch.atan2(dy, dx) % math.pi) / math.pi * self.bins
        low = share.floor()
        spread = torch.arange(self.bins, device=pixels.device)[None, :, None, None]
        votes = sum(w * (spread == (at % self.bins)) for at, w in ((low, 1 - (share - low)), (low + 1, share - low)))
        cells = F.avg_pool2d(votes * torch.hypot(dx, dy).masked_fill(blank, 0.0), self.cell)
        return F.normalize(torch.cat([cells, torch.full_like(cells[:, :1], self.flat)], 1), dim=1)
