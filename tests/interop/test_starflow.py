"""Checkpoints of apple/ml-starflow told texts: against a plain account of that network, as a file, and from the prompt to the picture."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional as F
from transformers import T5Config, T5EncoderModel

import omniform as of
from omniform.cli import PROGRAM
from omniform.codecs.patch import Patches
from omniform.core.errors import CheckpointError, ConditionError
from omniform.core.rng import Rng
from omniform.core.spec import Spec
from omniform.interop import adopting
from omniform.interop.adopting import load_paper, paper
from omniform.interop.papers import PAPERS
from omniform.system.facts import built
from omniform.verbs.hearing import heard_by

WORDS = ("<pad>", "</s>", "<unk>", "a", "the", "cat", "red", "sat", "on", "mat")
TEXTS = ["the red cat sat on a mat the red cat sat", "a cat", "red"]
LENGTH, SIDE, MAPS, WIDTH, FEATURES = 6, 4, 3, 128, 24
DEEP = "network.towers.deep.backbone."
NARROW = {"network.width": WIDTH, "network.stages": MAPS - 1, "process.maps": MAPS, "process.noise": 0.0}
NARROW |= {f"{at}block.mixer.heads": 2 for at in ("network.backbone.", DEEP)} | {"network.backbone.depth": 1, DEEP + "depth": 2}
NARROW |= {"conditions.text.0.length": LENGTH, "conditions.text.0.step": SIDE / LENGTH, "conditions.text.0.features": FEATURES}
LATENTS = {"codec": Spec(Patches, {"patch": 1, "bounded": False}), "shape": (4, SIDE, SIDE)}


def small(**changes):
    return paper("starflow-text").but({**NARROW, **LATENTS, **changes}, sizes={}, tiny={}, facts=())


def own_of(recipe):
    return {n: tuple(x.shape) for n, x in built(recipe).state_dict().items() if not n.startswith("codec.")}


def weights(recipe, seed=0):
    """Under their names, so large that everything matters."""
    g, own = torch.Generator().manual_seed(seed), own_of(recipe)
    drawn = {n: torch.randn(s, generator=g) for n, s in PAPERS["starflow-text"].table(own).their_shapes(own).items()}
    made = {n: x * (0.5 / x.shape[-1] ** 0.5 if x.dim() == 2 else 0.1 if x.dim() == 1 else 0.5) for n, x in drawn.items()}
    return {n: x * 4 if "qkv.weight" in n or "proj_txt.weight" in n else x for n, x in made.items()}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A folder of T5's encoder that reads a few words."""
    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "d_model": FEATURES, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    model = T5EncoderModel(T5Config(**sizes, feed_forward_proj="gated-gelu", tie_word_embeddings=False)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape))
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    return folder, model, tokenizer


def features(encoder, texts):
    """What the encoder says of a padded batch, zeros where there is padding."""
    _, model, tokenizer = encoder
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    said = tokenizer.encode_batch(list(texts))
    ids, real = (torch.tensor([getattr(s, n) for s in said]) for n in ("ids", "attention_mask"))
    with torch.no_grad():
        return model(ids, attention_mask=real).last_hidden_state * real[..., None]


def places(length, step):
    """Angles of 32 pairs, (length + SIDE^2, 32): twelve for rows, twelve for columns, eight for places in a text."""
    rows = [(0.0, 0.0, i * step) for i in range(length)] + [(float(y), float(x), 0.0) for y in range(SIDE) for x in range(SIDE)]
    return torch.tensor([[p / 10000 ** (i / n) for p, n in zip(row, (12, 12, 8), strict=True) for i in range(n)] for row in rows])


def attended(x, of, name, angle):
    """Each head of 64 and each place by itself: what it reads of those up to it."""
    b, n, width = x.shape
    qkv = F.linear(F.layer_norm(x, (width,), of[name + "norm.weight"], of[name + "norm.bias"]), of[name + "qkv.weight"], of[name + "qkv.bias"])
    q, k, v = (y.view(b, n, -1, 64) for y in qkv.chunk(3, -1))
    turn = torch.polar(torch.ones_like(angle), angle)[:, None]
    q, k = (torch.view_as_real(torch.view_as_complex(y.reshape(*y.shape[:-1], 32, 2)) * turn).flatten(-2) for y in (q, k))
    out = torch.zeros_like(v)
    for i in range(n):
        score = torch.einsum("bhd,bjhd->bhj", q[:, i], k[:, : i + 1]) / 8
        out[:, i] = torch.einsum("bhj,bjhd->bhd", score.softmax(-1), v[:, : i + 1])
    return F.linear(out.reshape(b, n, width), of[name + "proj.weight"], of[name + "proj.bias"])


def said(of, number, fed, text):
    """Shift and scale (B, L, 4) of a map, from what each place is fed and what stands before."""
    x, lead = F.linear(fed, of[f"blocks.{number}.proj_in.weight"], of[f"blocks.{number}.proj_in.bias"]), 0
    if f"blocks.{number}.proj_txt.weight" in of:
        x, lead = torch.cat([F.linear(text, of[f"blocks.{number}.proj_txt.weight"], of[f"blocks.{number}.proj_txt.bias"]), x], 1), text.shape[1]
    angle = places(lead, SIDE / LENGTH)[: x.shape[1]]
    for i in range(1 + bool(lead)):
        at = f"blocks.{number}.attn_blocks.{i}."
        x = x + attended(x, of, at + "attention.", angle)
        h = F.layer_norm(x, x.shape[-1:], of[at + "mlp.norm.weight"], of[at + "mlp.norm.bias"])
        h = F.gelu(F.linear(h, of[at + "mlp.main.0.weight"], of[at + "mlp.main.0.bias"]))
        x = x + F.linear(h, of[at + "mlp.main.2.weight"], of[at + "mlp.main.2.bias"])
    x = x[:, lead:] / (x[:, lead:].square().mean(-1, keepdim=True) + 1e-6).sqrt() * (1 + of[f"blocks.{number}.final_norm.weight"])
    raw, shift = (4 * torch.tanh(F.linear(x, of[f"blocks.{number}.proj_out.weight"], of[f"blocks.{number}.proj_out.bias"]) / 4)).chunk(2, -1)
    return shift, torch.log1p(torch.exp(raw + math.log(math.e - 1)))


def fed(of, number, x):
    """The token before each, a learned one before the first."""
    return torch.cat([of[f"blocks.{number}.sos_embed"].expand(len(x), -1, -1), x[:, :-1]], 1)


def mapped(of, x, text):
    """z and log|det| of tokens (B, L, 4): maps of even number read from the end."""
    stretch = torch.zeros(len(x))
    for number in range(MAPS):
        x = x.flip(1) if number % 2 == 0 else x
        shift, scale = said(of, number, fed(of, number, x), text)
        x, stretch = (x - shift) / scale, stretch - scale.log().sum((1, 2))
        x = x.flip(1) if number % 2 == 0 else x
    return x, stretch


def unmapped(of, z, text, none, extra):
    """Tokens of noise, in the deep map guided by densities p^(1 + w) q^-w."""
    for number in reversed(range(MAPS)):
        z = z.flip(1) if number % 2 == 0 else z
        x = torch.zeros_like(z)
        for i in range(z.shape[1]):
            shift, scale = (y[:, i] for y in said(of, number, fed(of, number, x), text))
            if number == MAPS - 1 and extra:
                other, wide = (y[:, i] for y in said(of, number, fed(of, number, x), none))
                less = extra * (scale / wide).clamp(max=1) ** 2
                shift, scale = ((1 + extra) * shift - less * other) / (1 + extra - less), scale / (1 + extra - less).sqrt()
            x[:, i] = z[:, i] * scale + shift
        z = x.flip(1) if number % 2 == 0 else x
    return z


def near(mine, theirs):
    assert mine.shape == theirs.shape and float((mine - theirs).abs().max()) <= 1e-5 * float(theirs.abs().max())


@pytest.fixture(scope="module")
def opened(encoder, tmp_path_factory):
    """A system out of a file, and what is in the file."""
    recipe = small(**{"process.backward": "even"})
    theirs = weights(recipe)
    file = tmp_path_factory.mktemp("starflow") / "x.safetensors"
    save_file({**theirs, "var": torch.ones(SIDE**2, 4), "blocks.0.attn_mask": torch.ones((SIDE**2 + LENGTH,) * 2)}, file)
    return of.verbs.building.attach(load_paper(file, heard_by(recipe, str(encoder[0])))), theirs, file


@torch.no_grad()
@pytest.mark.parametrize("told", [True, False])
def test_from_data_to_noise(opened, encoder, told):
    """A text that is cut, one that is padded, and none: z and log-determinant."""
    system, theirs, _ = opened
    data = torch.randn(3, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    context = system.conditioning.context({"text": TEXTS} if told else {}, 3)
    base, log_det, _ = system.process.forward_map(system.network.open(context), system.codec.encode(data))
    z, stretch = mapped(theirs, data.flatten(2).mT, features(encoder, TEXTS if told else [""] * 3))
    near(base.vec, z)
    near(log_det, stretch)
    other = mapped(theirs, data.flatten(2).mT, features(encoder, ["the mat"] * 3))[0]
    assert float((other - z).abs().max()) > 1e-2 * float(z.abs().max()), "what is told matters"


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 3.5])
def test_from_noise_to_data(opened, encoder, scale):
    system, theirs, _ = opened
    made = system.generate(3, {"text": TEXTS}, seed=5, scale=scale)
    noise = system.process.init(system.codec.space.blank(3), rng=Rng.seeded(5, 3).split("init")).tokens.vec
    want = unmapped(theirs, noise, features(encoder, TEXTS), features(encoder, [""] * 3), scale - 1)
    near(made.flatten(2).mT, want)


def test_what_it_is_told_is_the_encoders_to_say(opened, encoder, tmp_path):
    """Without an encoder features are taken and strings are refused; another width is refused; a saved system opens with its encoder."""
    system, theirs, file = opened
    bare = load_paper(file, small())
    rows = list(features(encoder, TEXTS))
    near(bare.conditioning.context({"text": rows}, 3).prefix.tokens, system.conditioning.context({"text": TEXTS}, 3).prefix.tokens)
    for raw in ({"text": ["a cat"]}, {}):
        with pytest.raises(ConditionError, match="read by hf:google/flan-t5-xl here, which was not handed over; .* encoder="):
            bare.conditioning.context(raw, 1)
    of.save(system, tmp_path / "kept")
    again = of.load(tmp_path / "kept")
    assert torch.equal(again.generate(1, {"text": ["a cat"]}, seed=1), system.generate(1, {"text": ["a cat"]}, seed=1))


@pytest.mark.parametrize("changes, name, says", [
    ({"learnable_self_denoiser.proj_in.weight": torch.zeros(2, 2)}, "starflow-text", "that learns to denoise"),
    ({"blocks.2.proj_txt.weight": torch.zeros(WIDTH, 1001)}, "starflow-text", "is told one of 1000 classes .* read it as starflow"),
    ({"blocks.2.proj_txt.weight": torch.zeros(WIDTH, 4096)}, "starflow-text", r"'blocks.2.proj_txt.weight' has shape \(128, 4096\)"),
    ({"blocks.1.attn_mask": torch.zeros(20, 20)}, "starflow-text", "its masks are of 20x20, 22x22 tokens, and 16 of a picture after 6 of a text are expected"),
    ({"blocks.0.proj_txt.weight": torch.zeros(WIDTH, FEATURES)}, "starflow-text", "'blocks.0.proj_txt.weight' has no place here"),
    ({"blocks.2.proj_txt.bias": None}, "starflow-text", "has no 'blocks.2.proj_txt.bias'"),
    ({}, "starflow", f"is told texts by vectors of {FEATURES} numbers, and starflow one of 1000 classes .* read it as starflow-text"),
])  # fmt: skip
def test_relatives_are_refused(opened, tmp_path, changes, name, says):
    _, theirs, _ = opened
    mask = {"blocks.0.attn_mask": torch.zeros((SIDE**2 + LENGTH,) * 2)}
    save_file({n: x for n, x in {**theirs, **mask, **changes}.items() if x is not None}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=says):
        load_paper(tmp_path / "x.safetensors", small() if name == "starflow-text" else paper(name))


def test_from_the_prompt_to_the_picture(encoder, tmp_path, monkeypatch):
    little = {"codec.width": 8, "codec.depth": 1, "shape": (3, 32, 32)}
    recipe = paper("starflow-text").but({**NARROW, **little}, sizes={}, tiny={}, facts=())
    monkeypatch.setattr(adopting, "paper", lambda name, size=None: recipe if (name, size) == ("starflow-text", "3B") else paper(name, size))
    save_file(weights(recipe), tmp_path / "flow.safetensors")
    of.save(of.build("kl", None, changes=little), tmp_path / "kl")
    typed = lambda *words: CliRunner().invoke(PROGRAM, [str(w) for w in words])  # noqa: E731
    what = ("sample", tmp_path / "flow.safetensors", "--as", "starflow-text", "--size", "3B", "--codec", tmp_path / "kl")
    told, pictures = ("--encoder", encoder[0]), []
    for number, prompt in enumerate(("a cat", "the red mat")):
        done = typed(*what, *told, "--prompt", prompt, "-n", 1, "--out", tmp_path / f"{number}.png")
        assert done.exit_code == 0, done.output
        pictures.append((tmp_path / f"{number}.png").read_bytes())
    assert pictures[0].startswith(b"\x89PNG") and pictures[0] != pictures[1]
    for words, says in (
        ((*what, "--prompt", "a cat"), "hf:google/flan-t5-xl here, which was not handed over"),
        ((*what, "--encoder", tmp_path / "nowhere", "--prompt", "a cat"), "is no folder of a text encoder"),
        ((*what, *told, "--prompt", "a cat", "--condition", "text=a mat"), "say the text once"),
        (("sample", tmp_path / "flow.safetensors", *told), "--as NAME"),
        (("sample", tmp_path / "kl", *told), "say --as NAME with them"),
        (("sample", tmp_path / "flow.safetensors", "--as", "starflow", *told), "has no caption"),
        (("sample", tmp_path / "flow.safetensors", "--as", "starflow"), "read it as starflow-text"),
    ):
        result = typed(*words, "--out", tmp_path / "no.png")
        assert result.exit_code == 2 and says in result.stderr and len(result.stderr.strip().splitlines()) <= 3, (says, result.stderr)
    assert not (tmp_path / "no.png").exists()


def test_a_reversed_order_is_another_network(opened):
    """The order is not written in a file: read otherwise it is another map of the same data."""
    system, _, file = opened
    other = load_paper(file, replace(system.recipe).but({"process.backward": "odd"}))
    data = torch.randn(1, 4, SIDE, SIDE)
    mine, theirs = (s.process.forward_map(s.network.open(s.conditioning.context({"text": [torch.zeros(1, FEATURES)]}, 1)), s.codec.encode(data))[0].vec
                    for s in (system, other))  # fmt: skip
    assert not torch.allclose(mine, theirs, atol=1e-3)
