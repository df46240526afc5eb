"""Use of a codebook, in cases known by hand."""
from __future__ import annotations

import pytest
import torch

from omniform.codecs.quality import codebook_use
from omniform.core.errors import ShapeError


def test_even_use_has_the_perplexity_of_its_size():
    use = codebook_use(torch.arange(8).repeat(5)[:, None], 16)
    assert use == {"used": 0.5, "perplexity": pytest.approx(8)}


def test_a_single_code_has_perplexity_one():
    assert codebook_use(torch.full((3, 4), 2), 4) == {"used": 0.25, "perplexity": pytest.approx(1)}


@pytest.mark.parametrize("ids", [torch.zeros(0, dtype=torch.long), torch.zeros(3), torch.tensor([4])])
def test_what_is_not_ids_is_refused(ids):
    with pytest.raises(ShapeError):
        codebook_use(ids, 4)
