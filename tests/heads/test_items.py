"""Items by cosine, and the loss that looks at a few of them."""
from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from omniform.core.distribution import Content, Sampling
from omniform.core.rng import Rng
from omniform.core.tokens import Axis, Space
from omniform.heads.items import ItemHead, SampledItems

SPACE = Space(axes=(Axis("event", 4),), vocab=(50,))


def head(negatives):
    torch.manual_seed(0)
    made, table = ItemHead(8, SPACE, 0.1, negatives), nn.Embedding(50, 8)
    made.tie((table,))
    return made, table


def test_items_by_cosine():
    made, table = head(0)
    h = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(1))
    want = torch.stack([F.cosine_similarity(h[..., None, :], table.weight[None, None], dim=-1)], 2) / 0.1
    assert torch.allclose(made(h).logits, want, atol=1e-5) and made.train()(h).exact


def test_a_few_negatives_stand_for_all():
    made, _ = head(20_000)
    h, right = torch.randn(2, 4, 8), Content(ids=torch.randint(0, 50, (2, 4, 1)))
    said = made.train()(h)
    assert isinstance(said, SampledItems) and not said.exact and made.eval()(h).exact
    got, full = said.nll(right, rng=Rng.seeded(0, 2)), made(h)
    others = full.logits.masked_fill(F.one_hot(right.ids, 50).bool(), -torch.inf).logsumexp(-1)[..., 0] + torch.log(torch.tensor(20_000 / 50))
    mine = full.logits.gather(-1, right.ids[..., None])[..., 0, 0]
    assert torch.allclose(got, torch.logaddexp(mine, others) - mine, atol=0.15)
    assert torch.equal(said.sample(rng=Rng.seeded(0, 2), how=Sampling()).ids,
                       full.sample(rng=Rng.seeded(0, 2), how=Sampling()).ids)
