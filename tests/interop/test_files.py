"""Files that are hostile until shown otherwise: one clear line each, nothing executed, nothing allocated; and fuzzed readers."""

from __future__ import annotations

import importlib.util
import json
import resource
import struct
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import omniform as of
from omniform.cli import PROGRAM
from omniform.core.errors import CheckpointError
from omniform.interop.encoders import open_encoder
from omniform.interop.files import json_of, safetensors_of, weights_of
from omniform.interop.gguf import open_gguf

_SPEC = importlib.util.spec_from_file_location("hostile", Path(__file__).with_name("hostile.py"))
hostile = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(hostile)


def read(path: Path):
    """Everything in a file."""
    weights = open_gguf(path).weights if path.suffix == ".gguf" else safetensors_of([path])
    return {name: weights.read(name) for name in weights.shapes}


def test_the_corpus_is_the_one_that_is_written_down():
    assert {p.name: p.read_bytes() for p in hostile.CORPUS.iterdir()} == hostile.HOSTILE


@pytest.fixture
def little_room():
    """No more than a gigabyte besides what the process has: whoever believes a hostile header runs into it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30), hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize("name", hostile.HOSTILE)
def test_a_hostile_file_is_one_line_and_no_memory(name, tmp_path, little_room):
    path = hostile.CORPUS / name
    if path.suffix == ".gguf":
        with pytest.raises(CheckpointError) as error:
            of.load(path)
    else:
        small = hostile.CORPUS / "half-a-bert.safetensors" if path.suffix == ".json" else path
        (tmp_path / "config.json").write_bytes(path.read_bytes() if path.suffix == ".json" else b'{"model_type": "gpt2"}')
        for start in ("model", "diffusion_pytorch_model"):
            (tmp_path / f"{start}.safetensors").write_bytes(small.read_bytes())
        (tmp_path / "preprocessor_config.json").write_text("{}")
        with pytest.raises(CheckpointError) as error:
            of.load(tmp_path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    said = CliRunner().invoke(PROGRAM, ["sample", str(path if path.suffix == ".gguf" else tmp_path), "--prompt", "x"])
    assert said.exit_code == 2 and len(said.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("name", [n for n in hostile.HOSTILE if not n.endswith(".gguf")])
def test_a_hostile_text_encoder_is_one_line_and_no_memory(name, tmp_path, little_room):
    content = hostile.HOSTILE[name]
    (tmp_path / "config.json").write_bytes(content if name.endswith(".json") else hostile.bert())
    (tmp_path / "model.safetensors").write_bytes(hostile.HOSTILE["half-a-bert.safetensors"] if name.endswith(".json") else content)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece", "vocab": {"[MASK]": 0}, "unk_token": "[UNK]"}}')
    with pytest.raises(CheckpointError) as error:
        open_encoder(str(tmp_path))
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


WHOLE = hostile.gguf(
    2,
    3,
    hostile.ARCH
    + hostile.text("names") + struct.pack("<IIQ", 9, 8, 2) + hostile.text("a") + hostile.text("b")
    + hostile.text("llama.rope.freq_base") + struct.pack("<If", 6, 1e4)
    + hostile.info("a", (4, 2), 0) + hostile.info("b", (32,), 8, 32),
)
WHOLE += b"\0" * (-len(WHOLE) % 32) + struct.pack("<8f", *range(8)) + struct.pack("<e", 0.5) + bytes(range(32)) + b"\0" * 32


def test_the_whole_file_that_is_fuzzed_is_whole(tmp_path):
    (tmp_path / "x.gguf").write_bytes(WHOLE)
    found = read(tmp_path / "x.gguf")
    assert found["a"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]] and torch.equal(found["b"], torch.arange(32) * 0.5)


CUTS = st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CUTS, keep=st.integers(0, len(WHOLE)))
@example(changes=[], keep=len(WHOLE))
@example(changes=[(24, 255), (31, 127)], keep=len(WHOLE))
def test_a_gguf_file_that_was_altered_is_read_or_refused(changes, keep, tmp_path):
    data = bytearray(WHOLE[:keep])
    for at, value in changes:
        if at < len(data):
            data[at] = value
    (tmp_path / "x.gguf").write_bytes(bytes(data))
    try:
        read(tmp_path / "x.gguf")
        of.load(tmp_path / "x.gguf")
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        raise AssertionError("a file without a network was loaded")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_safetensors_file_that_was_altered_is_read_or_refused(data, tmp_path):
    save_file({"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}, tmp_path / "x.safetensors")
    whole = bytearray((tmp_path / "x.safetensors").read_bytes())
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4)):
        whole[at] = value
    (tmp_path / "y.safetensors").write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    try:
        read(tmp_path / "y.safetensors")
    except CheckpointError as error:
        assert "\n" not in str(error)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda x: st.lists(x, max_size=3), max_leaves=4),
       name=st.sampled_from(["model_type", "n_embd", "n_layer", "n_head", "vocab_size", "n_positions", "layer_norm_epsilon", "tie_word_embeddings", "n_inner"]))
def test_a_configuration_that_says_anything_is_read_or_refused(value, name, tmp_path):
    config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 5, "n_positions": 4, name: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        of.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("named", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "", "..", ".hidden"])
def test_an_index_cannot_name_a_file_elsewhere(named, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"x": torch.zeros(1)}, tmp_path / "secret.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": named}}))
    with pytest.raises(CheckpointError, match="not a file of the folder"):
        weights_of(folder)


def test_an_index_and_its_pieces_agree(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "one.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "one.safetensors", "y": "one.safetensors"}}))
    with pytest.raises(CheckpointError, match="disagree on 'y'"):
        weights_of(tmp_path)
    index.write_text(json.dumps({"weight_map": {"x": "two.safetensors"}}))
    with pytest.raises(CheckpointError, match="two.safetensors is missing"):
        weights_of(tmp_path)
    index.write_text(json.dumps({"weight_map": ["x"]}))
    with pytest.raises(CheckpointError, match="no weight_map"):
        weights_of(tmp_path)


def test_json_that_is_none(tmp_path):
    with pytest.raises(CheckpointError, match="is missing"):
        json_of(tmp_path / "config.json")
    for content, says in ((b"[1]", "a list where an object"), (b"\xff", "not JSON"), (b"[" * 100_000, "not JSON")):
        (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(CheckpointError, match=says):
            json_of(tmp_path / "config.json")


def test_the_little_room_is_little(little_room):
    with pytest.raises((MemoryError, RuntimeError)):
        torch.ones(1 << 30)                                            # four gigabytes
