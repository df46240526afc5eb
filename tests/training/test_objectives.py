"""Ways to learn: at weight 0 nothing changes, gradients go where they should, a killed run goes on to the bit, and each limit is what it should be."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from omniform import recipes
from omniform.backbones.attention import Attention
from omniform.backbones.attention.subsets import subset
from omniform.core.batch import Batch
from omniform.core.errors import BadArgument, CheckpointError, ShapeError, UnknownName
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.data import Dataset, Split
from omniform.system.build import assemble, fitted, load
from omniform.training import Training, train
from omniform.training.objectives import NAMED, named
from omniform.training.objectives.align import Align, Reader, on_grid
from omniform.training.objectives.line import Line, blocks_of, expanded
from omniform.training.objectives.nested import Nested, cut, narrow
from omniform.training.objectives.objective import Objective
from omniform.training.objectives.self_align import SelfAlign
from omniform.training.objectives.subsampled import Subsampled, subsample
from omniform.training.objectives.widths import MaximalUpdate, learned, rms, role

SMALL = {"network.width": 32, "network.backbone.depth": 3, "network.backbone.block.mixer.heads": 2, "codec.width": 8, "shape": (1, 16, 16)}
PLAN = {"batch": 4, "steps": 4, "lr": 1e-2, "checkpoint_every": 2, "validate_every": 0, "ema": 0.9, "warmup": 0, "shape": "constant"}


class Noise(Split):
    def __len__(self):
        return 12

    def batch(self, indices):
        x = torch.rand(12, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
        return Batch(x[torch.as_tensor(indices)], {"label": torch.as_tensor(indices) % 3})


def pictures():
    return Dataset("noise", "image", (1, 16, 16), ("a", "b", "c"), Noise(), Noise(), "ours", "ours")


def system(name="dit", seed=0, **more):
    recipe = recipes.get(name).sized("tiny").but({**SMALL, **more})
    made = assemble(fitted(recipe, classes=("a", "b", "c")), seed=seed)
    made.codec.requires_grad_(False)
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in made.network.parameters():
            if not p.any():
                p.copy_(torch.randn(p.shape, generator=g) * 0.1)
    return made


def eye(pictures):
    """(B, 5, 4, 4): what a convolution might see."""
    g = torch.Generator().manual_seed(3)
    return nn.functional.conv2d(pictures, torch.randn(5, 1, 4, 4, generator=g), stride=4)


BUILT = {
    "align": lambda s: Align(s, eye, hidden=16),
    "self-align": lambda s: SelfAlign(s, decay=0.9),
    "subsampled": lambda s: Subsampled(s, keep=0.5, dense=0.5),
    "nested": lambda s: Nested(s, (1.0, 0.5)),
    "line": lambda s: Line(s),
    "mup": lambda s: MaximalUpdate(s, {"network.width": 16, "network.backbone.block.mixer.heads": 1}),
}
NEUTRAL = {
    "align": lambda s: Align(s, eye, weight=0.0, hidden=16),
    "self-align": lambda s: SelfAlign(s, weight=0.0),
    "subsampled": lambda s: Subsampled(s, keep=1.0),
    "nested": lambda s: Nested(s, (1.0,)),
    "line": lambda s: Line(s, lines=3),
    "mup": lambda s: MaximalUpdate(s, {}),
    "none": lambda s: Plain(),
}


class Plain(Objective):
    """Nothing besides."""


def weights(made):
    return {name: p.detach().clone() for name, p in made.named_parameters()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_every_objective_has_a_name_and_is_tested():
    assert set(NAMED) == set(BUILT) == set(NEUTRAL) - {"none"}
    assert named("mup") is MaximalUpdate
    with pytest.raises(UnknownName, match="did you mean nested"):
        named("nestd")


@pytest.mark.parametrize("name", NEUTRAL)
def test_at_weight_nought_it_is_the_plain_run_to_the_bit(name):
    plain, other = system(), system()
    train(plain, pictures(), Training(**PLAN), progress=False)
    train(other, pictures(), Training(**PLAN), progress=False, objective=NEUTRAL[name](other))
    assert same(weights(plain), weights(other))


@pytest.mark.parametrize("name", BUILT)
def test_it_does_something_and_leaves_the_system_as_it_was(name):
    plain, other = system(), system()
    keys = set(other.state_dict())
    train(plain, pictures(), Training(**PLAN), progress=False)
    train(other, pictures(), Training(**PLAN), progress=False, objective=BUILT[name](other))
    assert not same(weights(plain), weights(other))
    assert set(other.state_dict()) == keys
    for module in other.modules():
        assert getattr(module, "keep", None) is None or not isinstance(module, Attention)
        assert getattr(module, "units", None) is None


@pytest.mark.parametrize("name", BUILT)
def test_a_killed_run_goes_on_to_the_bit(name, tmp_path):
    whole, first, second = system(), system(), system()
    train(whole, pictures(), Training(**PLAN), out=tmp_path / "whole", progress=False, objective=BUILT[name](whole))

    def killed(step, loss):
        if step == 3:
            raise RuntimeError("killed")

    plan = Training(**PLAN)
    with pytest.raises(RuntimeError, match="killed"):
        train(first, pictures(), plan, out=tmp_path / "killed", progress=False, objective=BUILT[name](first), on_step=killed)
    train(second, pictures(), plan, out=tmp_path / "killed", resume=True, progress=False, objective=BUILT[name](second))
    assert same(weights(whole), weights(second))
    assert same(weights(load(tmp_path / "killed")), weights(second))


def test_a_run_goes_on_with_its_own_objective_only(tmp_path):
    made = system()
    train(made, pictures(), Training(**PLAN), out=tmp_path / "run", progress=False, objective=BUILT["align"](made))
    longer = Training(**{**PLAN, "steps": 6})
    with pytest.raises(CheckpointError, match="another objective"):
        train(system(), pictures(), longer, out=tmp_path / "run", resume=True, progress=False)


def test_a_plan_names_its_objective(tmp_path):
    plan = Training(**PLAN, objective=Spec(Nested, {"shares": (1.0, 0.5)}))
    assert Training(**plan.json()) == plan and Training(**PLAN).json()["objective"] is None
    made, other = system(), system()
    train(made, pictures(), plan, out=tmp_path / "run", progress=False)
    train(other, pictures(), Training(**PLAN), progress=False, objective=BUILT["nested"](other))
    assert same(weights(made), weights(other))
    with pytest.raises(BadArgument, match="objective"):
        train(system(), pictures(), Training(**{**PLAN, "steps": 6}), out=tmp_path / "run", resume=True, progress=False)
    with pytest.raises(BadArgument, match="objective"):
        Training(**PLAN, objective="nested")


# ---- representation alignment ----------------------------------------------------------------------------------------


def losses(made, objective, seed=7):
    return {x.player: x for x in objective.loss(made, Noise().batch(range(4)), rng=Rng.seeded(seed))}["main"]


def test_alignment_adds_to_the_plain_loss_and_reaches_what_lies_before_the_tap():
    made = system()
    objective = Align(made, eye, weight=0.5, at="block.1", hidden=16)
    plain = {x.player: x for x in made.loss(Noise().batch(range(4)), rng=Rng.seeded(7))}["main"]
    both = losses(made, objective)
    assert torch.equal(both.parts["main"], plain.parts["main"]) and torch.equal(both.count, plain.count)
    made.zero_grad()
    both.parts["align"].backward()
    graded = {name for name, p in made.network.named_parameters() if p.grad is not None and bool(p.grad.any())}
    blocks = [f"towers.main.backbone.blocks.{i}." for i in range(3)]
    assert all(any(name.startswith(block) for name in graded) for block in blocks[:2]) and not any(name.startswith(blocks[2]) for name in graded)
    assert not any(".head." in name for name in graded) and all(p.grad is not None for p in objective.projector.parameters())


def test_alignment_is_minus_the_weight_where_everything_points_the_same_way():
    made = system()
    objective = Align(made, eye, weight=0.5, hidden=16)
    with torch.no_grad():
        for p in objective.projector.parameters():
            p.zero_()
        objective.projector[-1].bias.fill_(1.0)
    for scale in (1.0, 7.0):
        objective.__dict__["encoder"] = lambda x, scale=scale: torch.full((len(x), 16, 5), scale)
        loss = losses(made, objective)
        assert float((loss.parts["align"] / loss.count).detach()) == pytest.approx(-0.5, abs=1e-5)


def test_an_encoder_may_be_a_trained_system_and_is_not_trained(tmp_path):
    made, other = system(), system("maskgit")
    before = weights(other)
    reader = Reader(other, "block.1")
    seen = reader(Noise().batch(range(4)).data)
    assert seen.shape == (4, other.codec.space.length, 32) and torch.equal(seen, reader(Noise().batch(range(4)).data))
    train(made, pictures(), Training(**PLAN), progress=False, objective=Align(made, reader, hidden=16))
    assert same(before, weights(other))


def test_grids_are_resized_where_both_are_squares():
    seen = torch.randn(2, 16, 3)
    assert on_grid(seen, 16) is seen and on_grid(seen, 4).shape == (2, 4, 3)
    assert torch.allclose(on_grid(torch.ones(1, 9, 2), 25), torch.ones(1, 25, 2))
    with pytest.raises(ShapeError, match="squares"):
        on_grid(seen, 5)


def test_taps_that_are_not_there_are_refused():
    made = system()
    with pytest.raises(BadArgument, match=r"block\.9.*block\.2"):
        losses(made, Align(made, eye, at="block.9", hidden=16))
    with pytest.raises(BadArgument, match="tokens"):
        batch = Batch(made.tokens(Noise().batch(range(4)).data), {})
        Align(made, eye, hidden=16).loss(made, batch, rng=Rng.seeded(0))


# ---- self-alignment --------------------------------------------------------------------------------------------------


def test_self_alignment_is_nought_where_teacher_and_student_are_one():
    made = system().eval()
    objective = SelfAlign(made, student="block.1", teacher="block.1", gap=0.0)
    objective.head = nn.Sequential(nn.Identity())
    objective.head[0].weight = nn.Parameter(torch.zeros(1))
    loss = losses(made, objective)
    assert float(loss.parts["align"].detach()) == pytest.approx(0.0, abs=1e-6)


def test_the_teacher_sees_the_same_noise_but_less_of_it_and_is_never_trained():
    made = system()
    objective = SelfAlign(made, gap=0.3)
    asked = []
    network = objective.average["network"]
    opened = network.open

    def opening(*args, **more):
        net = opened(*args, **more)
        return lambda query: (asked.append(query), net(query))[1]

    network.open = opening
    batch = Noise().batch(range(4))
    from omniform.training.objectives.objective import heard

    objective.loss(made, batch, rng=Rng.seeded(7))
    _, tokens, query, _ = heard(made, batch, frozenset(), Rng.seeded(7))
    t, later = query.time, asked[0].time
    assert bool((later >= t).all()) and bool((later - t <= 0.3 + 1e-6).all()) and bool((later > t).any())
    x, path = tokens.vec, made.process.path
    noise = (query.tokens.vec - path.a(t)[..., None] * x) / path.b(t)[..., None]
    assert torch.allclose(asked[0].tokens.vec, path.mixed(x, noise, later[..., None]), atol=1e-4)
    objective.loss(made, batch, rng=Rng.seeded(7))[0].mean().backward()
    assert all(p.grad is None and not p.requires_grad for p in objective.average.parameters())


def test_the_teacher_is_the_running_average():
    made = system()
    objective = SelfAlign(made, decay=0.0)
    with torch.no_grad():
        for p in made.network.parameters():
            p.add_(1.0)
    objective.after(made, 1)
    assert all(torch.allclose(a, p) for a, p in zip(objective.average["network"].parameters(), made.network.parameters(), strict=True))


def test_the_distances_are_the_published_ones():
    made = system()
    smooth, cosine = SelfAlign(made, beta=0.05), SelfAlign(made, kind="cosine")
    a, b = torch.zeros(1, 1, 2), torch.tensor([[[0.02, 1.0]]])
    assert float(smooth.distance(a, b)) == pytest.approx((0.02**2 / 0.1 + 1 - 0.025) / 2)
    assert float(cosine.distance(torch.ones(1, 1, 4), 3 * torch.ones(1, 1, 4))) == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(BadArgument, match="flow"):
        SelfAlign(system("maskgit"))


# ---- subsampled attention --------------------------------------------------------------------------------------------


def test_a_subset_of_the_keys_is_attended_to_as_by_a_mask():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, 8, 4) for _ in range(3))
    attend = nn.functional.scaled_dot_product_attention
    for causal, seed in itertools.product((False, True), range(5)):
        torch.manual_seed(seed)
        some_k, some_v, mask = subset(k, v, None, causal, 0.4)
        assert some_k.shape[2] == 4
        there = (k[0, 0, :, None] == some_k[0, 0, None]).all(-1).any(1)
        dense = there[None] & (torch.ones(8, 8).tril() > 0 if causal else torch.ones(8, 8) > 0)
        assert torch.allclose(attend(q, some_k, some_v, attn_mask=mask), attend(q, k, v, attn_mask=dense), atol=1e-6)
        torch.manual_seed(seed)
        rule = torch.ones(1, 1, 8, 8, dtype=torch.bool).tril()
        assert bool((subset(k, v, rule, False, 0.4)[2] & ~rule).sum() == 0) and bool(subset(k, v, rule, False, 0.4)[2].any(-1).all())


def test_all_keys_are_full_attention_and_use_is_always_full():
    made = system().train()
    batch = Noise().batch(range(4))
    plain = made.loss(batch, rng=Rng.seeded(1))[0].mean()
    subsample(made.network, 1.0)
    assert torch.equal(made.loss(batch, rng=Rng.seeded(1))[0].mean(), plain)
    subsample(made.network, 0.25)
    assert not torch.equal(made.loss(batch, rng=Rng.seeded(1))[0].mean(), plain)
    made.eval()
    assert torch.equal(made.loss(batch, rng=Rng.seeded(1))[0].mean(), plain)


def test_the_end_of_a_run_is_dense():
    made, seen = system(), []
    objective = Subsampled(made, keep=0.25, dense=0.25)
    train(made, pictures(), Training(**PLAN), progress=False, objective=objective, on_step=lambda *_: seen.append(first(made).keep))
    assert seen == [0.25, 0.25, 0.25, None]
    with pytest.raises(BadArgument, match="share"):
        Subsampled(made, keep=0.0)


def first(made):
    return next(module for module in made.network.modules() if isinstance(module, Attention))


# ---- layers on a line ------------------------------------------------------------------------------------------------


def test_gradients_of_base_and_slope_are_sums_over_the_layers():
    """With the blocks laid on the line and free, a slope's gradient is the sum of l / L times those of the blocks, a base's the sum of all."""
    tied, free = system(), system()
    line = Line(tied)
    for objective, made in ((line, tied), (Line(free), free)):
        objective.begin(made, fresh=True)
    losses(tied, line).mean().backward()
    losses(free, Plain()).mean().backward()
    blocks = blocks_of(free)
    for number, (name, p) in enumerate(blocks_of(tied)[0].named_parameters()):
        each = [block.get_parameter(name).grad for block in blocks]
        assert torch.allclose(p.grad, sum(each), rtol=1e-3, atol=1e-6)
        assert torch.allclose(line.slopes[0][number].grad, sum(i / 3 * g for i, g in enumerate(each)), rtol=1e-3, atol=1e-6)
    assert all(p.grad is None for block in blocks_of(tied)[1:] for p in block.parameters())


def test_after_training_every_weight_lies_on_a_line_and_any_depth_is_read_off_it():
    made = system()
    train(made, pictures(), Training(**PLAN), progress=False, objective=Line(made))
    blocks = blocks_of(made)
    for name, p in blocks[0].named_parameters():
        one, two, three = (block.get_parameter(name) for block in blocks)
        assert torch.allclose(three - two, two - one, atol=1e-6) and (p.dim() == 1 or not torch.equal(one, two))
    score = lambda s: losses(s.eval(), Plain()).mean()  # noqa: E731
    with torch.no_grad():
        assert torch.allclose(score(expanded(made, 3)), score(made), rtol=1e-5)
    for depth in (1, 2, 6):
        other = expanded(made, depth)
        assert len(blocks_of(other)) == depth and same({"x": other.network.towers.main.embed.enter.weight}, {"x": made.network.towers.main.embed.enter.weight})
        for number, block in enumerate(blocks_of(other)):
            for name, p in block.named_parameters():
                base, last = blocks[0].get_parameter(name), blocks[2].get_parameter(name)
                assert torch.allclose(p, base + number / depth * 1.5 * (last - base), atol=1e-6)


def test_blocks_that_are_free_are_on_no_line():
    with pytest.raises(BadArgument, match="does not lie on the line"):
        expanded(system(), 2)
    with pytest.raises(BadArgument, match="not for 2"):
        Line(system(), lines=2)


# ---- nested MLPs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["gelu_tanh", "swiglu"])
@pytest.mark.parametrize("share", [0.5, 0.125])
def test_a_part_is_the_system_that_is_cut_out(share, activation):
    made = system(**{"network.backbone.block.mlp.activation": activation}).eval()
    small = cut(made, share)
    assert sum(p.numel() for p in small.network.parameters()) < sum(p.numel() for p in made.network.parameters())
    batch = Noise().batch(range(4))
    narrow(made.network, share)
    assert torch.allclose(small.loss(batch, rng=Rng.seeded(1))[0].mean(), made.loss(batch, rng=Rng.seeded(1))[0].mean(), rtol=1e-6)
    with torch.no_grad():  # what is outside is not heard
        for feed in (m for m in made.network.modules() if hasattr(m, "units") and not feed_gated(m)):
            feed.up.weight[feed.units :].add_(1.0)
            feed.down.weight[:, feed.units :].add_(1.0)
    assert torch.allclose(small.loss(batch, rng=Rng.seeded(1))[0].mean(), made.loss(batch, rng=Rng.seeded(1))[0].mean(), rtol=1e-6)


def feed_gated(feed):
    return feed.gated


def test_losses_of_all_parts_are_summed_and_a_part_grades_its_own_units_only():
    made = system()
    both = losses(made, Nested(made, (1.0, 0.5)))
    assert set(both.parts) == {"main", "main@0.5"}
    made.zero_grad()
    both.parts["main@0.5"].backward()
    up = next(m for m in made.network.modules() if hasattr(m, "units")).up.weight.grad
    assert bool(up[:64].any()) and not bool(up[64:].any())
    drawn = {tuple(losses(made, Nested(made, (0.5, 0.25), "draw"), seed).parts) for seed in range(8)}
    assert drawn == {("main",)}
    narrow(made.network, [1.0, 0.5, 0.25])
    with pytest.raises(BadArgument, match="3 MLPs"):
        narrow(made.network, [1.0])


# ---- widths ----------------------------------------------------------------------------------------------------------


def test_roles_are_told_by_what_grows():
    shape = torch.empty
    assert role(shape(64, 3), shape(16, 3)) == ("input", 1.0)
    assert role(shape(64, 64), shape(16, 16)) == ("hidden", 4.0)
    assert role(shape(192, 64), shape(48, 16)) == ("hidden", 4.0)
    assert role(shape(5, 64), shape(5, 16)) == ("output", 4.0)
    assert role(shape(64), shape(16)) == ("input", 1.0)
    assert role(shape(10, 64), shape(10, 16), table=True) == ("input", 1.0)
    with pytest.raises(BadArgument, match="widths"):
        role(shape(3, 3), shape(3))


def test_rates_and_starts_follow_the_roles():
    made = system("dit", seed=0)
    objective = MaximalUpdate(made, {"network.width": 16, "network.backbone.block.mixer.heads": 1})
    before = weights(made)
    objective.begin(made, fresh=False)
    assert same(before, weights(made)), "a run that goes on keeps its weights"
    objective.begin(made, fresh=True)
    for name, p in learned(made).items():
        kind, m = objective.roles[name]
        assert objective.rate(name) == (1.0 if kind == "input" else 1 / m) and m in (1.0, 2.0)
        base = rms(objective.narrow[name])
        if p.dim() > 1 and p.shape != objective.narrow[name].shape and base:
            assert rms(p) == pytest.approx(base * {"input": 1, "hidden": 2**-0.5, "output": 0.5}[kind], rel=1e-4)
    kinds = {objective.roles[name][0] for name in objective.roles}
    assert kinds == {"input", "hidden", "output"}


def test_a_first_step_moves_each_role_by_its_rate():
    """Adam's first step is lr * rate wherever there is a gradient."""
    made = system()
    objective = MaximalUpdate(made, {"network.width": 8, "network.backbone.block.mixer.heads": 1}, scaled=False)
    before = weights(made)
    train(made, pictures(), Training(**{**PLAN, "steps": 1, "ema": 0.0, "weight_decay": 0.0, "clip": 0.0}), progress=False, objective=objective)
    for name, p in learned(made).items():
        moved = (p.detach() - before[name]).abs()
        assert float(moved.max()) <= 1e-2 * objective.rate(name) * 1.001, name
        assert float(moved.max()) >= 1e-2 * objective.rate(name) * 0.9 or not bool(moved.any()), name


def test_a_tied_table_has_no_one_role():
    with pytest.raises(BadArgument, match="tied"):
        recipe = recipes.get("gpt").sized("tiny").but({"network.width": 32, "network.backbone.depth": 1, "network.backbone.block.mixer.heads": 2})
        MaximalUpdate(assemble(replace(recipe)), {})
