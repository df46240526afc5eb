"""Pictures by way of another tokenizer's codes, and the network of MaskGIT's VQGAN that makes them."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from omniform.codecs.convolutions import Convolutions
from omniform.codecs.soft_codes import SoftCodes
from omniform.core.errors import BadArgument
from omniform.core.spec import Spec

LEAN = {"widths": (4, 8), "depth": 2, "groups": 2, "looks": False, "maps": (False, False), "lean": True}


def build(**args) -> SoftCodes:
    torch.manual_seed(0)
    return SoftCodes(**{"width": 6, "colours": 3, "stride": 2, "codes": 5, "channels": 4, "network": Spec(Convolutions, LEAN), **args})


def test_where_a_code_is_certain_it_is_that_tokenizers_decoder():
    part, ids = build(), torch.randint(5, (2, 6), generator=torch.Generator().manual_seed(1))
    part.logits = nn.Embedding.from_pretrained(1e4 * torch.eye(5))
    torch.testing.assert_close(part(ids, 2, 3), part.decoder(part.book[ids].mT.unflatten(2, (2, 3))))


def test_where_nothing_is_certain_every_place_is_the_mean_of_the_book():
    part = build()
    part.logits = nn.Embedding.from_pretrained(torch.zeros(1, 5))
    mean = part.book.mean(0)[None, :, None, None].expand(1, -1, 2, 3)
    torch.testing.assert_close(part(torch.zeros(1, 6, dtype=torch.long), 2, 3), part.decoder(mean))


def test_everything_learns():
    part = build()
    part(torch.randn(2, 6, 6), 2, 3).square().sum().backward()
    assert [n for n, p in part.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_lean_network_is_maskgits():
    """Block by block, by plain functions, on the way there and back."""
    torch.manual_seed(0)
    encoder, decoder, x = Convolutions(**LEAN).encoder(3, 5), Convolutions(**LEAN).decoder(5, 3), torch.randn(2, 3, 6, 4)

    def block(layer, x):
        h = x
        for norm, conv in zip(layer.norms, layer.convs, strict=True):
            assert conv.bias is None
            h = F.conv2d(F.silu(F.group_norm(h, 2, norm.weight, norm.bias, 1e-6)), conv.weight, padding=1)
        return h + (x if layer.past is None else F.conv2d(h, layer.past.weight))

    h = F.conv2d(x, encoder[0].weight, padding=1)
    h = block(encoder[2], block(encoder[1], h))
    h = (h[:, :, ::2, ::2] + h[:, :, 1::2, ::2] + h[:, :, ::2, 1::2] + h[:, :, 1::2, 1::2]) / 4
    for i in (4, 5, 6, 7):
        h = block(encoder[i], h)
    h = F.conv2d(F.silu(encoder[8](h)), encoder[10].weight, encoder[10].bias)
    torch.testing.assert_close(encoder(x), h)
    assert len(encoder) == 11 and encoder[0].bias is None and encoder[4].past is not None and encoder[5].past is None

    y = decoder[0](h)
    for i in (1, 2, 3, 4):
        y = block(decoder[i], y)
    y = F.conv2d(y.repeat_interleave(2, 2).repeat_interleave(2, 3), decoder[5].conv.weight, decoder[5].conv.bias, padding=1)
    y = block(decoder[7], block(decoder[6], y))
    torch.testing.assert_close(decoder(h), F.conv2d(F.silu(decoder[8](y)), decoder[10].weight, decoder[10].bias, padding=1))
    assert len(decoder) == 11 and decoder[6].past.weight.shape == (4, 4, 1, 1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadArgument, match="makes 2 pixels a side of a place and its patch has 4"):
        build(stride=4)
    with pytest.raises(BadArgument, match="2 codes or more"):
        build(codes=1)
