"""Pictures by way of another tokenizer's codes, each place a mixture of them."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from omniform.core.errors import BadArgument
from omniform.core.spec import Spec


@final
class SoftCodes(nn.Module):
    """What a place says, as probabilities of another tokenizer's codes, and the picture that its decoder makes of their mean (TiTok, arXiv:2406.07550, section
    3.3: decoder fine-tuning; official code).

    Features (B, h w, width) -> logits of `codes` through a hidden layer twice as wide (tanh) -> the mean of the book (codes, channels) under their softmax ->
    the decoder of `network` (a Spec of convolutions.Convolutions), whose stride is `stride`. Where one code is certain, this is its decoder of that code.
    """

    def __init__(self, width: int, colours: int, stride: int, codes: int, channels: int, network: Spec):
        super().__init__()
        made = network.build()
        if made.stride != stride:
            raise BadArgument(f"the network makes {made.stride} pixels a side of a place and its patch has {stride}; give it other widths, or another patch")
        if codes < 2 or channels < 1:
            raise BadArgument(f"expected 2 codes or more of 1 channel or more, found {codes} and {channels}")
        self.logits = nn.Sequential(nn.Linear(width, 2 * width), nn.Tanh(), nn.Linear(2 * width, codes))
        self.book = nn.Parameter(torch.randn(codes, channels))
        self.decoder = made.decoder(channels, colours)

    def forward(self, h: Tensor, rows: int, columns: int) -> Tensor:
        """(B, rows columns, width) -> (B, colours, rows stride, columns stride)."""
        said = self.logits(h).mT.softmax(1)  # along this axis as in the official code: along the other, sums differ in their last bit
        return self.decoder((said.mT @ self.book).mT.unflatten(2, (rows, columns)))
