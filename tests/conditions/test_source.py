"""A source is read whole, row by row, by the network's own table of codes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from omniform import recipes
from omniform.backbones.attention import Attention
from omniform.backbones.blocks import PreNorm
from omniform.backbones.mlp import Mlp
from omniform.backbones.stack import Stack
from omniform.codecs.ids import Ids
from omniform.codecs.text import Bytes
from omniform.conditions.source import SourceText
from omniform.core.errors import BadArgument, ConditionError
from omniform.core.net import alone
from omniform.core.spec import Spec
from omniform.system.build import assemble

D = 8
BLOCK = Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 2}), "mlp": Spec(Mlp)})
STACK = Spec(Stack, {"depth": 2, "block": BLOCK})


def part(**said):
    torch.manual_seed(0)
    return SourceText(D, 12, **{"codec": Spec(Ids, {"vocab": 9}), "encoder": STACK, "tied": False, **said})


def test_a_row_is_read_whole_and_does_not_see_its_padding():
    source, ids = part(), torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, -1, -1]])
    said = source.encode(ids)
    for row, num in ((0, 5), (1, 3)):
        h = source.encoder(F.embedding(ids[row : row + 1, :num], source.table.weight), alone(1, num))[0]
        torch.testing.assert_close(said.tokens[row, :num], h)
        torch.testing.assert_close(said.pooled[row], h.mean(0))
    assert said.doc.tolist() == [[0] * 5, [0] * 3 + [-1] * 2] and not said.tokens[1, 3:].any()
    other = source.encode(ids.clone().index_fill_(1, torch.tensor([4]), 7))
    assert not torch.allclose(other.tokens[0, 0], said.tokens[0, 0]), "the first place sees the last"


def test_texts_end_with_their_codecs_mark_and_what_nobody_says_is_nothing():
    source = part(codec=Spec(Bytes, {"long": "cut"}))
    said = source.encode(["ab", "abcdefghijklmnop"])
    assert (said.doc == 0).sum(1).tolist() == [3, 12]
    null = source.null(4)
    assert null.tokens.shape == (4, 1, D) and (null.doc == -1).all()


def test_the_table_is_the_networks_own():
    system = assemble(recipes.get("t5").sized("tiny").but({"network.backbone.depth": 1, "conditions.source.0.encoder.depth": 1}))
    source, table = system.conditioning.parts["source"], system.network.towers["main"].embed.tables[0]
    assert not any("table.weight" in name for name, _ in source.named_parameters() if "relative" not in name)
    before = source.encode(["ab"]).tokens
    with torch.no_grad():
        table.weight[ord("a")] += 1
    assert not torch.allclose(source.encode(["ab"]).tokens, before)
    source.encode(["ab"]).tokens.sum().backward()
    assert {int(i) for i in table.weight.grad.abs().sum(1).nonzero()[:, 0]} == {ord("a"), ord("b"), 256}


def test_what_cannot_be_a_source_is_refused():
    with pytest.raises(ConditionError, match="cannot be read.*list of strings"):
        part(codec=Spec(Bytes)).encode([3])
    with pytest.raises(ConditionError, match="cannot be read.*codes go from 0 to 8"):
        part().encode(torch.tensor([[9]]))
    with pytest.raises(BadArgument, match="9 codes.*has 5"):
        part(tied=True).tie([torch.nn.Embedding(5, D)])
