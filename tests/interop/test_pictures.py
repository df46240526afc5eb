"""Denoising transformers of diffusers are ours, number by number: what they say of noisy latents, and the gradients of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from diffusers import DiTTransformer2DModel, PixArtTransformer2DModel

import omniform as of
from omniform.core.errors import CheckpointError
from omniform.interop.adopting import adopt
from omniform.processes.masked import asked

B = 2
DIT = {"num_attention_heads": 3, "attention_head_dim": 8, "num_layers": 2, "sample_size": 6, "num_embeds_ada_norm": 11}
PIXART = {"num_attention_heads": 3, "attention_head_dim": 8, "cross_attention_dim": 24, "num_layers": 2, "sample_size": 6, "caption_channels": 10}
DITS = {
    "dit with a learned variance": {**DIT, "out_channels": 8},
    "dit without": {**DIT, "in_channels": 3, "patch_size": 3, "attention_bias": False, "activation_fn": "gelu", "norm_eps": 1e-2},
    "dit of one block": {**DIT, "num_layers": 1, "patch_size": 1, "in_channels": 5, "out_channels": 10},
}
PIXARTS = {
    "pixart-alpha": PIXART,
    "pixart-alpha told sizes": {**PIXART, "use_additional_conditions": True, "interpolation_scale": 2, "norm_eps": 1e-3},
    "pixart of given features": {**PIXART, "caption_channels": None, "cross_attention_dim": 14, "out_channels": 4, "attention_bias": False, "patch_size": 3},
    "pixart-sigma": {**PIXART, "sample_size": 128, "patch_size": 16, "use_additional_conditions": False},
}


def stirred(model, by=0.1):
    """Weights far from their start: gates, biases and small tables count too."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=g) * by)
    return model.eval()


def dit(config):
    """As released: every block holds a copy of the first's embeddings."""
    model = stirred(DiTTransformer2DModel(**config))
    for block in model.transformer_blocks:
        block.norm1.emb.load_state_dict(model.transformer_blocks[0].norm1.emb.state_dict())
    return model


def latents(system):
    return torch.randn(B, *system.codec.shape, generator=torch.Generator().manual_seed(2))


def said(system, x, time, condition):
    """The network's answer, as latents: its prediction, and its variance behind that if it has one. time (B,): ours."""
    tokens = system.codec.encode(x)
    net = system.network.open(system.conditioning.context(condition, len(x)))
    point = net(asked(tokens, torch.ones_like(tokens.doc, dtype=torch.bool), torch.zeros(len(x)), time[:, None])).distribution
    parts = [point.value] + ([] if point.spread is None else [point.spread])
    return torch.cat([system.codec.decode(replace(tokens, vec=v)) for v in parts], 1)


def near(x, y, tol=1e-5):
    assert x.shape == y.shape and float((x - y).abs().max()) <= tol * float(y.abs().max())


def level(i):
    """DDPM's level as our time."""
    return 1 - (i.double() + 1) / 1000


LEVELS = torch.tensor([17, 981])


def both(model, system, **named):
    """What the two say of the same latents."""
    x = latents(system)
    if isinstance(model, DiTTransformer2DModel):
        label = torch.tensor([3, 11])  # the last is "nothing"
        kept = system.conditioning.parts["label"]
        told = torch.stack([kept.table.weight[i] for i in label])
        assert torch.equal(told[1:], kept.null(1).pooled)
        ours = torch.cat([said(system, x[:1], level(LEVELS[:1]), {"label": label[:1]}), said(system, x[1:], level(LEVELS[1:]), {})])
        return ours, model(x, LEVELS, label).sample
    features, mask = torch.randn(B, 5, system.conditioning.parts["text"].features, generator=torch.Generator().manual_seed(3)), torch.ones(B, 5)
    mask[1, 3:] = 0
    condition, added = {"text": [features[0], features[1, :3]]}, {"resolution": None, "aspect_ratio": None}
    if "size" in system.conditioning.parts:
        condition["size"] = torch.tensor([[300.0, 200.0, 0.7], [64.0, 64.0, 1.0]])
        added = {"resolution": condition["size"][:, :2], "aspect_ratio": condition["size"][:, 2:]}
    theirs = model(x, features, LEVELS, added_cond_kwargs=added, encoder_attention_mask=mask).sample
    return said(system, x, level(LEVELS), condition), theirs


MODELS = {
    **{name: lambda c=c: dit(c) for name, c in DITS.items()},
    **{name: lambda c=c: stirred(PixArtTransformer2DModel(**c)) for name, c in PIXARTS.items()},
}


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_equal(name):
    model = MODELS[name]()
    with torch.no_grad():
        near(*both(model, adopt(model)))


@pytest.mark.parametrize(
    "name, theirs, ours",
    [
        ("dit with a learned variance", "transformer_blocks.1.ff.net.2.weight", "towers.main.backbone.blocks.1.mlp.feed.each.0.down.weight"),
        ("pixart-alpha told sizes", "adaln_single.linear.weight", "towers.main.backbone.shared.out.weight"),
    ],
)
def test_gradients_are_equal(name, theirs, ours):
    model = MODELS[name]()
    system = adopt(model)
    mine, its = both(model, system)
    mine.square().mean().backward()
    its.square().mean().backward()
    near(dict(system.network.named_parameters())[ours].grad, dict(model.named_parameters())[theirs].grad, 1e-5)


@pytest.mark.parametrize("shard", ["5GB", "20KB"])
@pytest.mark.parametrize("name", ["dit without", "pixart-alpha"])
def test_a_folder_of_diffusers_whole_or_in_pieces(name, shard, tmp_path):
    model = MODELS[name]()
    model.save_pretrained(tmp_path, max_shard_size=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard == "20KB")
    with torch.no_grad():
        near(*both(model, of.load(tmp_path)))


def test_the_table_gives_theirs_back():
    from omniform.interop import pictures

    for name, read in (("dit with a learned variance", pictures.dit), ("pixart-alpha told sizes", pictures.pixart)):
        model = MODELS[name]()
        back = read({**model.config}).table.theirs(adopt(model).state_dict())
        state = model.state_dict()
        assert set(back) == set(state) and all(torch.equal(x, state[n]) for n, x in back.items())


def test_embeddings_that_are_no_copies_are_refused():
    with pytest.raises(CheckpointError, match="transformer_blocks.1.norm1.emb.*differs from"):
        adopt(stirred(DiTTransformer2DModel(**DIT)))


@pytest.mark.parametrize(
    "name, change, says",
    [
        ("dit without", {"_class_name": "UNet2DModel"}, "UNet2DModel of diffusers"),
        ("dit without", {"norm_type": "ada_norm"}, "norm_type='ada_norm'"),
        ("dit without", {"activation_fn": "geglu"}, "activation_fn='geglu'"),
        ("dit without", {"out_channels": 4}, "out_channels=4 for 3 channels"),
        ("dit without", {"sample_size": 7}, "patches of 3 do not fill"),
        ("dit without", {"num_layers": 3}, "has no 'transformer_blocks.2"),
        ("dit without", {"num_attention_heads": "many"}, "num_attention_heads is 'many'"),
        ("pixart-alpha", {"attention_type": "gated"}, "attention_type='gated'"),
        ("pixart-alpha", {"norm_elementwise_affine": True}, "norm_elementwise_affine=True"),
        ("pixart-alpha", {"cross_attention_dim": 20}, "cross-attention reads 20"),
        ("pixart-alpha", {"use_additional_conditions": True}, "resolution_embedder|aspect_ratio_embedder"),
    ],
)
def test_a_configuration_that_is_not_built_here(name, change, says, tmp_path):
    MODELS[name]().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)
