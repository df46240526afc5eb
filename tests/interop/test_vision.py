"""Picture encoders of transformers are ours, number by number, and see pictures as their processors prepare them."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

import omniform as of
from omniform.core.errors import CheckpointError
from omniform.interop.adopting import adopt
from omniform.interop.vision import preparation

from .test_pictures import near, stirred

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 12, "patch_size": 4}
WIDE = {**SMALL, "intermediate_size": 24}
TEXT = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 14, "vocab_size": 30, "max_position_embeddings": 9}
ORIGINALS = {
    "vit": lambda: ViTModel(ViTConfig(**WIDE)),
    "vit without a pooler, biases of queries or colours": lambda: ViTModel(
        ViTConfig(**WIDE, qkv_bias=False, num_channels=1, hidden_act="gelu_new", layer_norm_eps=1e-3), add_pooling_layer=False
    ),
    "vit with a wider pooler and a mask": lambda: ViTModel(ViTConfig(**WIDE, pooler_output_size=20), use_mask_token=True),
    "dinov2": lambda: Dinov2Model(Dinov2Config(**SMALL, layerscale_value=0.3)),
    "dinov2 gated": lambda: Dinov2Model(Dinov2Config(**SMALL, use_swiglu_ffn=True, mlp_ratio=3, layer_norm_eps=1e-3)),
    "dinov2 with registers": lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**SMALL, num_register_tokens=3, qkv_bias=False)),
    "clip": lambda: CLIPVisionModel(CLIPVisionConfig(**WIDE)),
    "clip projected": lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**WIDE, projection_dim=6, hidden_act="gelu", layer_norm_eps=1e-3)),
    "clip, both halves": lambda: CLIPModel(CLIPConfig(text_config=TEXT, vision_config=WIDE, projection_dim=6)),
}
LARGER = ("dinov2", "dinov2 with registers", "clip", "vit")


def pixels(model, rows=12, columns=12):
    vision = getattr(model.config, "vision_config", model.config)
    return torch.randn(2, vision.num_channels, rows, columns, generator=torch.Generator().manual_seed(2))


def theirs(model, x, **how):
    """The stream and the vector."""
    if isinstance(model, CLIPModel):
        said = model.vision_model(x, **how)
        return said.last_hidden_state, model.visual_projection(said.pooler_output)
    if "Dinov2" not in type(model).__name__ and x.shape[-1] != 12:
        how["interpolate_pos_encoding"] = True
    said = model(x, **how)
    whole = said.image_embeds if isinstance(model, CLIPVisionModelWithProjection) else said.pooler_output
    return said.last_hidden_state, said.last_hidden_state[:, 0] if whole is None else whole


def prepared(folder, processor):
    processor.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ORIGINALS)
def test_streams_and_vectors_are_equal(name):
    model = stirred(ORIGINALS[name]())
    encoder, x = adopt(model), pixels(model)
    with torch.no_grad():
        for mine, its in zip(encoder.net(x), theirs(model, x), strict=True):
            near(mine, its)
        if name in LARGER:
            x = pixels(model, 20, 20)
            for mine, its in zip(encoder.net(x), theirs(model, x), strict=True):
                near(mine, its)


@pytest.mark.parametrize("name", ["vit", "dinov2 gated", "clip projected"])
def test_gradients_are_equal(name):
    model = stirred(ORIGINALS[name]())
    net, x = adopt(model).net.requires_grad_(True), pixels(model)
    for said in (net(x), theirs(model, x)):
        sum(y.square().mean() for y in said).backward()
    state = dict(model.named_parameters())
    of_places = next(p for n, p in state.items() if "position_embedding" in n)
    near(net.places.grad, of_places.grad.reshape(net.places.shape), 1e-5)
    norm = next(p for n, p in state.items() if n.endswith(("1.layernorm_before.weight", "1.norm1.weight", "1.layer_norm1.weight")))
    near(net.body.blocks[1].norm_mixer.weight.grad, norm.grad, 1e-5)


@pytest.mark.parametrize("name", ["vit", "dinov2 gated", "dinov2 with registers", "clip projected", "clip, both halves"])
@pytest.mark.parametrize("shard", ["5GB", "20KB"])
def test_a_folder_whole_or_in_pieces(name, shard, tmp_path):
    """On disk, names are those of before 2026."""
    model = stirred(ORIGINALS[name]())
    model.save_pretrained(prepared(tmp_path, CLIPImageProcessor(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12})), max_shard_size=shard)
    encoder, live = of.load(tmp_path), adopt(model)
    assert encoder.digest == live.digest and encoder.name == str(tmp_path)
    assert torch.equal(encoder.net(pixels(model))[0], live.net(pixels(model))[0])


def test_the_body_of_a_classifier(tmp_path):
    model = stirred(ViTForImageClassification(ViTConfig(**WIDE)))
    model.save_pretrained(prepared(tmp_path, ViTImageProcessor(size={"height": 12, "width": 12})))
    x = pixels(model)
    with torch.no_grad():
        near(of.load(tmp_path).net(x)[0], model.vit(x).last_hidden_state)


PROCESSORS = {
    "vit": lambda: ViTImageProcessor(size={"height": 12, "width": 8}),
    "clip": lambda: CLIPImageProcessor(size={"shortest_edge": 12}, crop_size={"height": 8, "width": 10}),
    "only norms": lambda: ViTImageProcessor(do_resize=False, image_mean=[0.1, 0.2, 0.3]),
    "no norms": lambda: ViTImageProcessor(do_normalize=False, size={"height": 12, "width": 12}, resample=3),
    "a crop beyond the edges": lambda: CLIPImageProcessor(do_resize=False, crop_size={"height": 40, "width": 16}),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_pictures_are_prepared_as_the_processor_does(name, tmp_path):
    """To the rounding of bytes, in which it resizes."""
    processor = PROCESSORS[name]()
    smooth = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(3))
    bytes_ = (torch.nn.functional.interpolate(smooth, (30, 24), mode="bilinear") * 255).round()
    want = processor([bytes_[0].to(torch.uint8).numpy()], return_tensors="pt").pixel_values
    mine = preparation(prepared(tmp_path, processor))(bytes_ / 127.5 - 1)
    assert mine.shape == want.shape and float((mine - want).abs().max()) < 1.5 / 255 / 0.2


def test_an_encoder_is_called_with_pictures_and_does_not_learn(tmp_path):
    model = stirred(ORIGINALS["dinov2 with registers"]())
    model.save_pretrained(prepared(tmp_path, ViTImageProcessor(size={"height": 12, "width": 12}, resample=3)))
    encoder = of.load(tmp_path)
    grey = torch.rand(3, 1, 20, 20) * 2 - 1
    assert encoder(grey).shape == (3, 9, 16) == (3, 9, encoder.features) and encoder.whole(grey).shape == (3, encoder.pooled)
    assert not any(p.requires_grad for p in encoder.parameters())
    x = encoder.prepare(grey)
    with torch.no_grad():
        near(encoder(grey), model(x).last_hidden_state[:, 4:])
        near(encoder.whole(grey), model(x).pooler_output)


@pytest.mark.parametrize(
    "name, change, says",
    [
        ("vit", {"hidden_act": "selu"}, "hidden_act='selu' and 'gelu'"),
        ("vit", {"pooler_act": "relu"}, "pooler_act='relu'"),
        ("vit", {"num_hidden_layers": 3}, "has no 'layers.2"),
        ("vit", {"num_hidden_layers": 1}, "'layers.1.*' has no place here"),
        ("vit", {"image_size": 10}, "pictures of 10 in patches of 4"),
        ("vit", {"image_size": 1 << 40}, "image_size is"),
        ("vit", {"image_size": [12, 8]}, r"image_size is \[12, 8\]"),
        ("vit", {"num_attention_heads": 3}, "3 heads of 16 numbers"),
        ("vit", {"intermediate_size": 25}, r"config asks for \(25, 16\)"),
        ("vit", {"model_type": "vitdet"}, "kind 'vitdet'"),
        ("dinov2", {"use_swiglu_ffn": True}, "has no 'encoder.layer.0.mlp.weights_in"),
        ("dinov2", {"mlp_ratio": 1e300}, "mlp_ratio|no more|has shape"),
        ("dinov2 with registers", {"num_register_tokens": 4}, r"register_tokens' has shape \(1, 3, 16\)"),
        ("clip", {"hidden_act": ["gelu"]}, "hidden_act"),
        ("clip", {"num_channels": 1}, "config asks for|norms 3"),
    ],
)
def test_a_configuration_that_is_not_built_here(name, change, says, tmp_path):
    ORIGINALS[name]().save_pretrained(prepared(tmp_path, ViTImageProcessor()))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=says) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"resample": 0}, "resample=0"),
        ({"rescale_factor": 1.0}, "rescale_factor"),
        ({"size": {"longest_edge": 8}}, "size is {'longest_edge': 8}"),
        ({"size": {"height": -8, "width": 8}}, "height is -8"),
        ({"size": 1 << 30}, "size is"),
        ({"image_mean": "half"}, "image_mean is 'half'"),
        ({"image_std": [0.0, 1.0, 1.0]}, "image_std is"),
        ({"image_mean": [0.5, 0.5]}, "as many channels"),
        ({"do_center_crop": True, "crop_size": {"shortest_edge": 3}}, "crop_size of two edges"),
    ],
)
def test_a_preparation_that_is_not_built_here(change, says, tmp_path):
    processor = json.loads((prepared(tmp_path, ViTImageProcessor()) / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**processor, **change}))
    with pytest.raises(CheckpointError, match=says):
        preparation(tmp_path)


def test_a_folder_without_a_processor(tmp_path):
    ORIGINALS["vit"]().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json is missing"):
        of.load(tmp_path)
