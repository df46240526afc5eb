"""Solids as a set of vectors."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from omniform import recipes
from omniform.codecs.vecset import VecSet, faces_of, waves
from omniform.core.errors import BadArgument, ShapeError
from omniform.core.rng import Rng
from omniform.core.tokens import Tokens

SHAPE = (4, 6, 8)


def codec(**changes: object) -> VecSet:
    torch.manual_seed(0)
    spec = recipes.get("mar-3d-vae").sized("tiny").codec
    small = {"width": 32, "latents": 5, "points": (24, 8), "queries": 20, "encoder.depth": 1, "decoder.depth": 1, "bottleneck.channels": 3}
    return spec.but({**small, **changes}).build(shape=SHAPE).double().eval()


def solids(rows: int = 3) -> torch.Tensor:
    grid = torch.full((rows, *SHAPE), -1.0, dtype=torch.float64)
    for row in range(rows):
        grid[row, 1 : 3 + row % 2, 1:4, 1 : 4 + row] = 1.0
    return grid


def test_faces_are_those_between_inside_and_outside():
    """By hand, cell by cell; a solid at the edge of the grid is closed there."""
    inside = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(1)) < 0.4
    ways = ((0, 0, 1), (0, 0, -1), (0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0))
    found = faces_of(inside)
    for row in range(2):
        for z in range(SHAPE[0]):
            for y in range(SHAPE[1]):
                for x in range(SHAPE[2]):
                    for number, (dz, dy, dx) in enumerate(ways):
                        there = (z + dz, y + dy, x + dx)
                        beyond = any(not 0 <= n < size for n, size in zip(there, SHAPE, strict=True))
                        wanted = bool(inside[row, z, y, x]) and (beyond or not bool(inside[(row, *there)]))
                        assert bool(found[row, z, y, x, number]) is wanted


@pytest.mark.parametrize("seed", [None, 3])
def test_points_lie_on_faces_with_their_normals(seed):
    made = codec(points=(400,))
    inside = solids(2) > 0
    found = made.surface(inside, None if seed is None else Rng.seeded(seed, 2))
    unit = 2 / max(SHAPE)
    for row in range(2):
        seen = set()
        for point, normal in zip(found[row, :, :3], found[row, :, 3:], strict=True):
            assert sorted(normal.abs().tolist()) == [0, 0, 1]
            for step, wanted in ((-0.25, True), (0.25, False)):  # a quarter of a cell to either side
                at = ((point + step * unit * normal) / unit + torch.tensor(SHAPE[::-1]) / 2).floor().long().tolist()
                beyond = any(not 0 <= n < size for n, size in zip(at, SHAPE[::-1], strict=True))
                assert (not beyond and bool(inside[row, at[2], at[1], at[0]])) is wanted
            seen.add((*at, *normal.tolist()))
        assert len(seen) == int(faces_of(inside)[row].sum()), "every face has its share of so many points"


def test_a_place_asked_about_is_inside_as_the_grid_says():
    made, grid = codec(queries=400), solids()
    surface = made.surface(grid > 0, Rng.seeded(1))
    cell, meant = made._asked(grid > 0, surface, Rng.seeded(2))
    assert cell.shape == meant.shape == (3, 400) and torch.equal(meant, grid.flatten(1).gather(1, cell) > 0)
    near = meant[:, 200:].float().mean()
    assert 0.4 < float(near) < 0.6 and float(meant[:, :200].float().mean()) == pytest.approx(float((grid > 0).float().mean()), abs=0.08)


def slow(made: VecSet, grid: torch.Tensor) -> torch.Tensor:
    """Logits of all cells of one solid, written out: heads, queries and places one by one."""

    def attended(part, x, read):
        q = part.mixer.q(part.norm_mixer(x))
        k, v = part.mixer.kv(part.mixer.norm_context(read)).chunk(2, -1)
        n = part.mixer.head_width
        rows = []
        for i in range(len(x)):
            heads = []
            for h in range(part.mixer.heads):
                cut = slice(h * n, (h + 1) * n)
                score = torch.stack([q[i, cut] @ k[j, cut] / math.sqrt(n) for j in range(len(read))]).softmax(0)
                heads.append(sum(s * v[j, cut] for j, s in enumerate(score)))
            rows.append(torch.cat(heads))
        x = x + part.mixer.out(torch.stack(rows))
        feed = part.mlp.feed.each[0]
        return x + feed.down(torch.nn.functional.gelu(feed.up(part.norm_mlp(x))))

    surface = made.surface(grid[None] > 0, None)[0]
    read = made.enter(torch.cat([waves(surface[:, :3], made.octaves), surface[:, 3:]], -1).double())
    levels = [torch.stack([read[i * made.points[0] // n] for i in range(n)]) for n in made.points]
    x = sum(attended(part, made.asking, level) for part, level in zip(made.cross, levels, strict=True))
    mean = made.squeeze(made._through(made.encoder, x[None], {})[0]).chunk(2, -1)[0]
    held = made._through(made.decoder, made.spread(mean)[None], {})[0]
    unit, found = 2 / max(SHAPE), []
    for z in range(SHAPE[0]):
        for y in range(SHAPE[1]):
            for x_ in range(SHAPE[2]):
                place = torch.tensor([(n + 0.5 - size / 2) * unit for n, size in zip((x_, y, z), SHAPE[::-1], strict=True)], dtype=torch.float64)
                angle = [n * 2**k for n in place for k in range(made.octaves)]
                wave = torch.cat([place, torch.tensor([math.sin(a) for a in angle] + [math.cos(a) for a in angle], dtype=torch.float64)])
                found.append(made.out(made.norm(attended(made.answer, made.ask(wave)[None], held)))[0, 0])
    return torch.stack(found)


@torch.no_grad()
def test_it_says_what_the_slow_one_says():
    made, grid = codec(octaves=3, points=(6, 3)), solids(1)
    said = made.decode(made.encode(grid))[0]
    assert torch.allclose(said, torch.tanh(slow(made, grid[0]) / 2).view(SHAPE), atol=2e-5)


@torch.no_grad()
def test_tokens_are_a_set():
    """A solid does not change when its tokens change places, and neither do tokens but for their places when the learned queries do."""
    made, grid = codec(), solids()
    tokens = made.encode(grid)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.allclose(made.decode(replace(tokens, vec=tokens.vec[:, order])), made.decode(tokens), atol=1e-9)
    other = tokens.vec.clone()
    other[:, 0] += 1
    assert float((made.decode(replace(tokens, vec=other)) - made.decode(tokens)).abs().max()) > 1e-4
    made.asking.copy_(made.asking[order])
    assert torch.allclose(made.encode(grid).vec, tokens.vec[:, order], atol=1e-9)


@torch.no_grad()
def test_one_level_twice_is_one_level_and_its_sum():
    """Equal levels read by equal parts are one level, counted twice."""
    made, flat = codec(points=(24, 24)), codec(points=(24,))
    flat.load_state_dict({k: v for k, v in made.state_dict().items() if not k.startswith("cross.1")})
    made.cross[1].load_state_dict(made.cross[0].state_dict())
    surface, seen = made.surface(solids() > 0, None).double(), []
    for one in (made, flat):
        one.encoder.register_forward_pre_hook(lambda _, args, kept=seen: kept.append(args[0]))
        one._latent(surface, {})
    assert torch.allclose(seen[0], 2 * seen[1], atol=1e-9)


def test_it_learns_solids_and_every_parameter_learns():
    made = codec(points=(48, 16), queries=96).float().train()
    data, rate = solids(4).float(), 3e-3
    optimizer = torch.optim.AdamW(made.parameters(), lr=rate)
    costs = []
    for step in range(120):
        (loss,) = made.loss(data, rng=Rng.seeded(step))
        optimizer.zero_grad()
        loss.mean().backward()
        if step == 0:
            assert [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()] == []
        optimizer.step()
        costs.append(float((loss.parts["main"] / loss.count).detach()))
    assert costs[0] == pytest.approx(math.log(2), abs=0.15) and sum(costs[-10:]) / 10 < 0.35
    made.eval().settle(data)
    with torch.no_grad():
        assert float(((made.decode(made.encode(data)) > 0) == (data > 0)).float().mean()) > 0.9


def test_a_solid_without_a_surface_is_read_as_nothing():
    made = codec()
    assert not bool(made.surface(torch.zeros(1, *SHAPE, dtype=torch.bool), None).any())
    assert bool(torch.isfinite(made.encode(torch.full((1, *SHAPE), -1.0)).vec).all())


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadArgument, match=r"\(Z, Y, X\)"):
        recipes.get("mar-3d-vae").sized("tiny").codec.build(shape=(256, 3))
    with pytest.raises(BadArgument, match="densest first"):
        codec(points=(8, 24))
    with pytest.raises(ShapeError, match="expects a batch of"):
        codec().encode(torch.zeros(1, 4, 6, 6))
    with pytest.raises(ShapeError, match="no continuous content"):
        blank = codec().space.blank(1)
        codec().decode(Tokens(None, None, blank.coord, blank.kind, blank.doc))
