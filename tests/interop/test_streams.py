"""Flow transformers of diffusers are ours, number by number."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import FluxTransformer2DModel, LTXVideoTransformer3DModel, SD3Transformer2DModel, WanTransformer3DModel

import omniform as of
from omniform.core.errors import CheckpointError
from omniform.interop.adopting import adopt

from .test_pictures import latents, near, said, stirred

SD3 = {"num_attention_heads": 3, "attention_head_dim": 8, "caption_projection_dim": 24, "num_layers": 2, "sample_size": 6, "pos_embed_max_size": 8}
SD3 |= {"joint_attention_dim": 10, "pooled_projection_dim": 7, "in_channels": 5, "out_channels": 5}
LTX = {"num_attention_heads": 2, "attention_head_dim": 14, "cross_attention_dim": 28, "num_layers": 2, "in_channels": 5, "out_channels": 5}
LTX |= {"caption_channels": 10}
WAN = {"num_attention_heads": 2, "attention_head_dim": 14, "num_layers": 2, "in_channels": 3, "out_channels": 3, "text_dim": 10, "ffn_dim": 40, "freq_dim": 32}
FLUX = {"num_attention_heads": 3, "attention_head_dim": 10, "axes_dims_rope": (2, 4, 4), "num_layers": 2, "num_single_layers": 3, "in_channels": 12}
FLUX |= {"joint_attention_dim": 10, "pooled_projection_dim": 7}
CLIP = (3, 4, 6)
MODELS = {
    "sd3": lambda: SD3Transformer2DModel(**SD3),
    "sd3 with norms": lambda: SD3Transformer2DModel(**{**SD3, "qk_norm": "rms_norm", "patch_size": 3, "pos_embed_max_size": 5, "num_layers": 3}),
    "sd3 of one block": lambda: SD3Transformer2DModel(**{**SD3, "num_layers": 1, "patch_size": 1, "sample_size": 3}),
    "flux": lambda: FluxTransformer2DModel(**FLUX),
    "flux that is guided": lambda: FluxTransformer2DModel(**{**FLUX, "guidance_embeds": True, "axes_dims_rope": (0, 6, 4), "num_single_layers": 1}),
    "flux of other axes": lambda: FluxTransformer2DModel(
        **{**FLUX, "in_channels": 20, "attention_head_dim": 14, "axes_dims_rope": (8, 2, 4), "num_layers": 1, "num_attention_heads": 1}
    ),
    "ltx": lambda: LTXVideoTransformer3DModel(**LTX),
    "ltx without biases": lambda: LTXVideoTransformer3DModel(
        **{**LTX, "attention_bias": False, "norm_eps": 1e-3, "num_attention_heads": 3, "cross_attention_dim": 42}
    ),
    "wan": lambda: WanTransformer3DModel(**WAN),
    "wan without a norm": lambda: WanTransformer3DModel(**{**WAN, "cross_attn_norm": False, "eps": 1e-3, "attention_head_dim": 12, "patch_size": (1, 1, 1)}),
}


def adopted(model):
    if isinstance(model, FluxTransformer2DModel):
        return adopt(model, shape=(model.config.in_channels // 4, *CLIP[1:]))
    return adopt(model) if isinstance(model, SD3Transformer2DModel) else adopt(model, shape=(CLIP[0], model.config.in_channels, *CLIP[1:]))


def packed(x, rows, columns):
    """Latents as FLUX's pipeline packs them, and the ids of their places."""
    tokens = x.unflatten(2, (rows, 2)).unflatten(4, (columns, 2)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    return tokens, torch.cartesian_prod(torch.zeros(1), torch.arange(float(rows)), torch.arange(float(columns)))


def unpacked(tokens, rows, columns):
    """The inverse of the first."""
    return tokens.unflatten(1, (rows, columns)).unflatten(3, (-1, 2, 2)).permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def flowed(model, x, features, pooled, time):
    """What FLUX says of latents; time: of noise. The second picture was guided less."""
    rows, columns = x.shape[2] // 2, x.shape[3] // 2
    guided = torch.tensor([3.5, 1.0]) if model.config.guidance_embeds else None
    tokens, ids = packed(x, rows, columns)
    return unpacked(model(tokens, features, pooled, time, ids, torch.zeros(features.shape[1], 3), guided).sample, rows, columns)


def both(model, system):
    """What the two say of the same latents; their velocity is from data to noise."""
    x, time = latents(system), torch.tensor([0.125, 0.75], dtype=torch.float64)
    g, said_at = torch.Generator().manual_seed(3), 1000 * (1 - time).float()
    part = system.conditioning.parts["text"]
    if isinstance(model, SD3Transformer2DModel):
        features, pooled = torch.randn(2, part.length, 10, generator=g), torch.randn(2, 7, generator=g)
        mine = -said(system, x, time, {"text": list(zip(features, pooled, strict=True))})
        return mine, model(x, features, pooled, said_at).sample
    if isinstance(model, FluxTransformer2DModel):
        features, pooled = torch.randn(2, part.length, 10, generator=g), torch.randn(2, 7, generator=g)
        told = {"text": list(zip(features, pooled, strict=True))}
        if model.config.guidance_embeds:
            told["guidance"] = torch.tensor([[3.5], [1.0]])
        return -said(system, x, time, told), flowed(model, x, features, pooled, said_at / 1000)
    features = torch.randn(2, 6, 10, generator=g)
    told = {"text": [features[0], features[1, :4]]}
    mine = -said(system, x, time, told)
    if isinstance(model, WanTransformer3DModel):
        padded = torch.zeros(2, part.length, 10)
        padded[0, :6], padded[1, :4] = features[0], features[1, :4]
        return mine, model(x.transpose(1, 2), said_at, padded).sample.transpose(1, 2)
    mask = torch.ones(2, 6)
    mask[1, 4:] = 0
    rows = x.permute(0, 1, 3, 4, 2).flatten(1, 3)
    y = model(rows, features, said_at[:, None], mask, *CLIP, rope_interpolation_scale=(8 / 25, 32, 32)).sample
    return mine, y.unflatten(1, CLIP).permute(0, 1, 4, 2, 3)


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_equal(name):
    model = stirred(MODELS[name]())
    with torch.no_grad():
        near(*both(model, adopted(model)))


@pytest.mark.parametrize(
    "name, theirs, ours",
    [
        ("sd3 with norms", "transformer_blocks.2.norm1_context.linear.weight", "towers.main.backbone.last.modulation.1.out.weight"),
        ("flux that is guided", "time_text_embed.guidance_embedder.linear_1.weight", "guidance"),
        ("flux", "single_transformer_blocks.1.proj_mlp.weight", "towers.main.backbone.blocks.1.blocks.1.mlp.feed.each.0.up.weight"),
        ("ltx", "transformer_blocks.0.attn2.to_q.weight", "towers.main.backbone.blocks.0.cross.q.weight"),
        ("wan", "blocks.0.attn1.norm_k.weight", "towers.main.backbone.blocks.0.mixer.norm.k.0.weight"),
    ],
)
def test_gradients_are_equal(name, theirs, ours):
    model = stirred(MODELS[name]())
    system = adopted(model)
    mine, its = both(model, system)
    mine.square().mean().backward()
    its.square().mean().backward()
    own = {"guidance": system.conditioning.parts["guidance"].maps[0][0].weight} if ours == "guidance" else dict(system.network.named_parameters())
    grad = own[ours].grad
    want = dict(model.named_parameters())[theirs].grad
    near(grad, torch.cat(want.chunk(2)[::-1]) if "norm1_context" in theirs else want, 1e-5)


def test_a_folder(tmp_path):
    model = stirred(MODELS["sd3 with norms"]())
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        near(*both(model, of.load(tmp_path)))
    stirred(MODELS["flux"]()).save_pretrained(tmp_path / "flux")
    assert of.load(tmp_path / "flux").codec.shape == (3, 128, 128)
    stirred(MODELS["wan"]()).save_pretrained(tmp_path / "wan")
    assert of.load(tmp_path / "wan").codec.shape == (21, 3, 60, 104)


@pytest.mark.parametrize(
    "name, change, says",
    [
        ("sd3", {"dual_attention_layers": [0]}, "dual_attention_layers"),
        ("sd3", {"qk_norm": "layer_norm"}, "qk_norm='layer_norm'"),
        ("sd3", {"pos_embed_max_size": 2}, "does not fit itself"),
        ("sd3", {"caption_projection_dim": 20}, "caption_projection_dim=20"),
        ("flux", {"axes_dims_rope": [4, 4, 4]}, "does not fit itself"),
        ("flux", {"axes_dims_rope": [3, 3, 4]}, "does not fit itself"),
        ("flux", {"axes_dims_rope": "abc"}, "axes_dims_rope"),
        ("flux", {"in_channels": 13}, "does not fit itself"),
        ("flux", {"out_channels": 6}, "out_channels=6"),
        ("flux", {"patch_size": 2}, "patch_size=2"),
        ("flux", {"guidance_embeds": "yes"}, "guidance_embeds"),
        ("flux", {"guidance_embeds": True}, "no 'time_text_embed.guidance_embedder"),
        ("flux", {"num_single_layers": 2}, "single_transformer_blocks.2"),
        ("flux", {"num_layers": 1 << 40}, "num_layers"),
        ("ltx", {"patch_size_t": 2}, "patch_size_t=2"),
        ("ltx", {"norm_elementwise_affine": True}, "norm_elementwise_affine=True"),
        ("wan", {"image_dim": 5}, "image_dim=5"),
        ("wan", {"patch_size": [2, 2, 2]}, "patch_size"),
        ("wan", {"in_channels": 36}, "out_channels=3"),
    ],
)
def test_a_configuration_that_is_not_built_here(name, change, says, tmp_path):
    MODELS[name]().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(3, 5, 6), (4, 4, 6), (4, 6), (3, 0, 6)])
def test_latents_that_flux_does_not_read(shape):
    with pytest.raises(CheckpointError, match="FLUX"):
        adopt(MODELS["flux"](), shape=shape)
