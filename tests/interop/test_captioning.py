"""CLIP score is what transformers' CLIP says of pictures and captions, and a command tells it of samples beside real pairs and strangers."""

from __future__ import annotations

import json
import re

import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

import omniform as of
from omniform.cli import PROGRAM
from omniform.core.errors import BadArgument, ShapeError
from omniform.data import open_data, order
from omniform.evaluation.retrieval import clip_score
from omniform.interop.encoders import open_encoder, text_half
from omniform.verbs.captioning import vectors

from .spelling import clip_files
from .test_clip import VISION
from .test_pictures import stirred

OPTIONS = {"captions": True, "charset": "alnum"}
SMALL = {"network.width": 16, "network.backbone.depth": 1, "network.backbone.block.mixer.heads": 2, "network.backbone.block.cross.heads": 2}
PROCESSORS = {
    "cropped": ({"do_resize": False, "crop_size": {"height": 16, "width": 16}}, 1e-5),
    "resized": ({"size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}}, 2e-2),  # theirs resizes bytes
}


def clip(place, **processor):
    codes = clip_files(place)
    text = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": codes, "max_position_embeddings": 77}
    text |= {"eos_token_id": codes - 1, "bos_token_id": codes - 2, "pad_token_id": codes - 1}
    model = stirred(CLIPModel(CLIPConfig(text_config=text, vision_config={**VISION, "image_size": 16}, projection_dim=6)))
    model.save_pretrained(place)
    made = CLIPImageProcessor(**processor)
    made.save_pretrained(place)
    return model, CLIPTokenizer.from_pretrained(place, model_max_length=77), made


def theirs(model, tokenizer, processor, pictures, captions):
    bytes_ = ((pictures + 1) * 127.5).round().to(torch.uint8).expand(-1, 3, -1, -1)
    said = tokenizer(["A photo depicts " + c for c in captions], padding="max_length", truncation=True, return_tensors="pt")
    with torch.no_grad():
        out = model(**said, pixel_values=processor(list(bytes_.numpy()), return_tensors="pt").pixel_values)
    return out.image_embeds, out.text_embeds  # of length 1


@pytest.mark.parametrize("name", PROCESSORS)
def test_pairs_are_as_near_as_transformers_says(name, tmp_path):
    said, close = PROCESSORS[name]
    originals, split = clip(tmp_path, **said), open_data("glyphs", **OPTIONS).test
    rows = split.batch(range(20))
    seen, read = vectors(of.load(tmp_path), open_encoder(str(tmp_path)), rows.data, rows.condition["text"])
    its = theirs(*originals, rows.data, rows.condition["text"])
    cosines = (its[0] * its[1]).sum(1)
    assert float((F.cosine_similarity(seen, read) - cosines).abs().max()) < close
    assert clip_score(seen, read) == pytest.approx(2.5 * float(cosines.clamp(min=0).mean()), abs=2.5 * close)


def test_the_ends_of_the_scale():
    a = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    assert clip_score(a, 3 * a) == pytest.approx(2.5) and clip_score(a, -a) == 0.0
    with pytest.raises(ShapeError, match="as many vectors of pictures"):
        clip_score(a, a[:3])


def test_samples_beside_real_pairs_and_strangers(tmp_path):
    originals, data = clip(tmp_path / "clip", **PROCESSORS["cropped"][0]), open_data("glyphs", **OPTIONS)
    system = of.build("pixart", size="tiny", data=data, changes=SMALL)
    system.process = system.process.but(steps=2)
    of.save(system, tmp_path / "run")
    answer = of.evaluate(system, data, 6, encoder=tmp_path / "clip", progress=False)
    said = answer["captions"]
    assert (said["told"], said["texts"]) == ("text", 6)
    told, held = data.train.batch(order(len(data.train), 0, 0, 6)), data.test.batch(order(len(data.test), 0, 0, 6))
    want = theirs(*originals, held.data, held.condition["text"])
    assert said["held_out"] == pytest.approx(clip_score(*want), abs=1e-4)
    fake = system.generate(6, {k: v for k, v in told.condition.items() if k in system.conditioning.parts}, rows=range(6)).clamp(-1, 1)
    seen, read = vectors(of.load(tmp_path / "clip"), open_encoder(str(tmp_path / "clip")), fake, told.condition["text"])
    assert said["clip_score"] == pytest.approx(clip_score(seen, read)) and said["chance"] == pytest.approx(clip_score(seen, read[[5, 0, 1, 2, 3, 4]]))
    words = ["evaluate", str(tmp_path / "run"), "-d", "glyphs", "--data-option", "captions=true", "-n", "6", "--features", str(tmp_path / "clip")]
    shown = CliRunner().invoke(PROGRAM, words)
    assert shown.exit_code == 0 and re.search(r"told 6 captions +pixart +held-out real +captions of others", shown.output), shown.output
    spoken = json.loads(CliRunner().invoke(PROGRAM, [*words, "--json"]).stdout)["captions"]
    assert spoken["held_out"] == said["held_out"]


def test_an_encoder_that_reads_nothing_says_nothing_of_captions(tmp_path):
    clip(tmp_path, do_resize=False)
    assert text_half(tmp_path) is not None and text_half(tmp_path / "gone") is None
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config["vision_config"], "model_type": "clip_vision_model"}))
    assert text_half(tmp_path) is None
    clip(tmp_path / "other", do_resize=False)
    reader = open_encoder(str(tmp_path / "other"))
    reader.pooled = 16
    with pytest.raises(BadArgument, match="give a whole CLIP"):
        vectors(of.load(tmp_path / "other"), reader, torch.zeros(1, 3, 16, 16), ["a cat"])
