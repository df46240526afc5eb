"""The codebook: nearest by brute force, the running mean by its definition, restarts by the given randomness only."""
from __future__ import annotations

import pytest
import torch

from omniform.codecs.codebook import Codebook, clustered
from omniform.core.errors import BadArgument
from omniform.core.rng import Rng


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return Rng.seeded(seed).normal(shape)


@pytest.mark.parametrize("normalise", [False, True])
def test_nearest_equals_brute_force(normalise):
    book = Codebook(37, 5, normalise=normalise)
    z = normal(4, 11, 5)
    posed, codes = book.posed(z).double(), book.posed(book.vectors).double()
    assert torch.equal(book.nearest(z), torch.cdist(posed, codes).argmin(-1))
    assert torch.equal(book.nearest(book.lookup(torch.arange(37))), torch.arange(37))


def test_ema_equals_sums_over_counts():
    """Appendix A.1 of VQ-VAE keeps N = d N + (1-d) n and m = d m + (1-d) sum z, and codes are m / N; from N = 1/K, m = code/K."""
    book = Codebook(6, 3, ema=0.9, restart=0.0)
    size, total = torch.full((6,), 1 / 6), book.vectors.clone() / 6
    for step in range(5):
        z = normal(20, 3, seed=step)
        ids = book.nearest(z)
        chosen = torch.nn.functional.one_hot(ids, 6).float()
        size = 0.9 * size + 0.1 * chosen.mean(0)
        total = 0.9 * total + 0.1 * chosen.t() @ z / 20
        book.observe(z, ids)
        assert torch.allclose(book.vectors, total / size[:, None], atol=1e-5)


def test_the_first_batch_places_all_codes_and_restarts_place_the_idle_ones():
    book = Codebook(8, 2, ema=0.9, restart=0.5)
    z = normal(50, 2)
    book.prepare(z, Rng.seeded(1))
    placed = book.vectors.clone()
    assert all((z == code).all(-1).any() for code in placed) and len(placed.unique(dim=0)) == 8
    book.usage[3] = 0.4 / 8
    book.prepare(z + 10, Rng.seeded(2))
    kept = torch.arange(8) != 3
    assert torch.equal(book.vectors[kept], placed[kept])
    assert (z + 10 == book.vectors[3]).all(-1).any() and book.usage[3] == 1 / 8


def test_randomness_is_the_argument():
    def placed(seed: int) -> torch.Tensor:
        book = Codebook(8, 2)
        book.prepare(normal(50, 2), Rng.seeded(seed))
        return book.vectors.detach()
    assert torch.equal(placed(5), placed(5)) and not torch.equal(placed(5), placed(6))


def test_fewer_vectors_than_codes_are_repeated():
    book = Codebook(8, 2)
    book.prepare(normal(3, 2), Rng.seeded(0))
    assert len(book.vectors.unique(dim=0)) == 3


def test_normalised_codes_stay_on_the_sphere():
    book = Codebook(8, 4, ema=0.5, normalise=True)
    z = normal(64, 4)
    book.prepare(z, Rng.seeded(0))
    book.observe(z, book.nearest(z))
    assert torch.allclose(book.vectors.norm(dim=-1), torch.ones(8), atol=1e-6)


@pytest.mark.parametrize("arguments", [(1, 2), (4, 0), (4, 2, 1.0)])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(BadArgument):
        Codebook(*arguments)


def test_clusters_are_lloyd_s_fixed_point_and_none_is_empty():
    vectors = normal(60, 3)
    label, nearest = clustered(vectors, 7)
    centres = torch.stack([vectors[label == k].mean(0) for k in range(7)])
    assert torch.equal(torch.cdist(vectors, centres).argmin(1), label)
    for k in range(7):
        own = (label == k).nonzero()[:, 0]
        assert int(nearest[k]) == int(own[(vectors[own] - centres[k]).norm(dim=-1).argmin()])
    assert torch.equal(label, clustered(vectors, 7)[0])


def test_clusters_of_equal_vectors_are_not_empty_and_each_code_may_be_one():
    vectors = torch.cat([torch.zeros(5, 2), torch.ones(1, 2)])
    label, nearest = clustered(vectors, 4)
    assert torch.bincount(label, minlength=4).min() > 0 and torch.equal(label[nearest], torch.arange(4))
    label, nearest = clustered(normal(9, 2), 9)
    assert sorted(label.tolist()) == list(range(9)) and torch.equal(label[nearest], torch.arange(9))
    with pytest.raises(BadArgument, match="1 to 9 clusters"):
        clustered(normal(9, 2), 10)
