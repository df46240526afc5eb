"""Small files, whole and hostile (GGUF, safetensors, configurations): `python tests/interop/hostile.py` writes the hostile ones into corpus/, which is kept."""

from __future__ import annotations

import json
import struct
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def text(s: str) -> bytes:
    return struct.pack("<Q", len(s.encode())) + s.encode()


def gguf(tensors: int, pairs: int, body: bytes, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, pairs) + body


def info(name: str, shape: tuple[int, ...], kind: int, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    said = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(said) if length is None else length) + said + data


def bert(**changes: object) -> bytes:
    return json.dumps({"model_type": "bert", "num_hidden_layers": 2, **changes}).encode()


def said(kind: object, **changes: object) -> bytes:
    return json.dumps({"model_type": kind, "num_hidden_layers": 2, "num_layers": 2, **changes}).encode()


def denoising(kind: str, **changes: object) -> bytes:
    return json.dumps({"_class_name": kind, "num_hidden_layers": 2, **changes}).encode()


def coded(**changes: object) -> bytes:
    return json.dumps({"_class_name": "AutoencoderKLWan", "base_dim": 2, **changes}).encode()


def packed(**changes: object) -> bytes:
    return json.dumps({"_class_name": "AutoencoderKLLTXVideo", **changes}).encode()


ARCH = text("general.architecture") + struct.pack("<I", 8) + text("llama")
HOSTILE = {
    "empty.gguf": b"",
    "magic.gguf": gguf(0, 0, b"", magic=b"GGML"),
    "version.gguf": gguf(0, 0, b"", version=99),
    "petabyte-tensors.gguf": gguf(1 << 50, 0, b""),
    "petabyte-pairs.gguf": gguf(0, 1 << 60, b""),
    "petabyte-name.gguf": gguf(0, 1, struct.pack("<Q", 1 << 50) + b"general"),
    "petabyte-list.gguf": gguf(0, 1, text("x") + struct.pack("<IIQ", 9, 4, 1 << 58)),
    "petabyte-texts.gguf": gguf(0, 1, text("x") + struct.pack("<IIQ", 9, 8, 1 << 58)),
    "list-in-list.gguf": gguf(0, 1, text("x") + struct.pack("<IIQ", 9, 9, 3) + b"\0" * 64),
    "kind-of-value.gguf": gguf(0, 1, text("x") + struct.pack("<I", 77) + b"\0" * 64),
    "petabyte-shape.gguf": gguf(1, 1, ARCH + info("token_embd.weight", (1 << 30, 1 << 30), 0) + b"\0" * 256),
    "overflowing-shape.gguf": gguf(1, 1, ARCH + info("token_embd.weight", (1 << 63, 2, 2, 2), 0) + b"\0" * 256),
    "nothing-shape.gguf": gguf(1, 1, ARCH + info("token_embd.weight", (0, 32), 0) + b"\0" * 256),
    "far-offset.gguf": gguf(1, 1, ARCH + info("token_embd.weight", (4, 4), 0, 1 << 62) + b"\0" * 256),
    "many-dimensions.gguf": gguf(1, 1, ARCH + text("x") + struct.pack("<I", 1 << 31) + b"\0" * 256),
    "kind-of-numbers.gguf": gguf(1, 1, ARCH + info("x", (32,), 9999) + b"\0" * 256),
    "half-a-block.gguf": gguf(1, 1, ARCH + info("x", (33,), 8) + b"\0" * 256),
    "twice.gguf": gguf(2, 1, ARCH + info("x", (4,), 0) + info("x", (4,), 0) + b"\0" * 256),
    "not-utf8.gguf": gguf(0, 1, struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc" + struct.pack("<II", 4, 1)),
    "alignment.gguf": gguf(1, 2, ARCH + text("general.alignment") + struct.pack("<II", 4, 0) + info("x", (4,), 0) + b"\0" * 256),
    "says-nothing.gguf": gguf(0, 0, b"\0" * 64),
    "no-network.gguf": gguf(0, 1, ARCH + b"\0" * 64),
    "empty.safetensors": b"",
    "petabyte-header.safetensors": safetensors(b"{}", length=1 << 50),
    "not-json.safetensors": safetensors(b"{{{{"),
    "petabyte-tensor.safetensors": safetensors({"x": {"dtype": "F32", "shape": [1 << 40, 1 << 10], "data_offsets": [0, 1 << 52]}}),
    "lying-tensor.safetensors": safetensors({"x": {"dtype": "F32", "shape": [1 << 20], "data_offsets": [0, 8]}}, b"\0" * 8),
    "overlapping.safetensors": safetensors({n: {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]} for n in "ab"}, b"\0" * 8),
    "behind-the-end.safetensors": safetensors({"x": {"dtype": "U8", "shape": [8], "data_offsets": [100, 108]}}, b"\0" * 8),
    "half-a-bert.safetensors": safetensors(
        {"bert.embeddings.word_embeddings.weight": {"dtype": "F32", "shape": [9, 4], "data_offsets": [0, 144]}}, b"\0" * 144
    ),
    "wide-bert.json": bert(hidden_size=1 << 24, num_attention_heads=1, intermediate_size=1 << 24, vocab_size=1 << 24),
    "long-bert.json": bert(max_position_embeddings=1 << 21, hidden_size=1 << 20, num_attention_heads=1),
    "longer-bert.json": bert(max_position_embeddings=1 << 40),
    "headless-bert.json": bert(num_attention_heads=0),
    "no-number-bert.json": bert(layer_norm_eps=float("nan")),
    "list-bert.json": bert(hidden_act=["gelu"]),
    "kinds-bert.json": bert(type_vocab_size=-1),
    "list-of-kinds.json": said([]),
    "wide-vit.json": said("vit", hidden_size=1 << 24, num_attention_heads=1, intermediate_size=1 << 24),
    "large-vit.json": said("vit", image_size=1 << 40),
    "many-patches-vit.json": said("vit", image_size=1 << 12, patch_size=1, hidden_size=1 << 20, num_attention_heads=1),
    "pooler-vit.json": said("vit", pooler_act=["tanh"], hidden_act="\u0000"),
    "ratio-dinov2.json": said("dinov2", mlp_ratio=1e308),
    "registers-dinov2.json": said("dinov2_with_registers", num_register_tokens=1 << 24, hidden_size=1 << 24, num_attention_heads=1),
    "halves-clip.json": said("clip", text_config=[], vision_config="none"),
    "projection-clip.json": said("clip", projection_dim=-1, text_config={"hidden_size": 1 << 24, "num_attention_heads": 1}),
    "text-clip.json": said("clip_text_model", max_position_embeddings=1 << 50, eos_token_id=-1),
    "wide-t5.json": said("t5", d_model=1 << 24, d_ff=1 << 24, d_kv=1 << 24, num_heads=1 << 20),
    "buckets-t5.json": said("t5", relative_attention_num_buckets=0, relative_attention_max_distance=1),
    "act-t5.json": said("t5", feed_forward_proj={"gated": "gelu"}),
    "start-t5.json": said("t5", decoder_start_token_id=1 << 60, pad_token_id="<pad>"),
    "wide-uvit.json": denoising("UVit2DModel", hidden_size=1 << 24, intermediate_size=1 << 24, in_channels=1 << 20, block_out_channels=12 << 20),
    "rows-uvit.json": denoising("UVit2DModel", vocab_size=1 << 24, codebook_size=1 << 23, sample_size=1 << 12, micro_cond_encode_dim=1 << 21),
    "large-uvit.json": denoising("UVit2DModel", sample_size=1 << 40, downsample=True, upsample=True),
    "kinds-uvit.json": denoising("UVit2DModel", num_res_blocks=[3], downsample="yes", layer_norm_eps=1e308),
    "wide-wan-vae.json": coded(base_dim=1 << 16, dim_mult=[1] * 10, temperal_downsample=[True] * 9, num_res_blocks=100),
    "deep-wan-vae.json": coded(dim_mult=[1] * (1 << 16), temperal_downsample=[False] * (1 << 16)),
    "many-blocks-wan-vae.json": coded(base_dim=1 << 14, dim_mult=[1, 2, 4, 4], num_res_blocks=100, z_dim=1 << 16, latents_mean=[0], latents_std=[1]),
    "moments-wan-vae.json": coded(latents_mean=[[0.0]] * 16, latents_std=[-1e-300] * 16),
    "halves-wan-vae.json": coded(dim_mult="1244", temperal_downsample={"0": True}),
    "nothing-wan-vae.json": coded(dim_mult=[], temperal_downsample=[]),
    "whole-wan-vae.json": coded(base_dim=1 << 12),
    "whole-ltx-vae.json": packed(),
    "wide-ltx-vae.json": packed(block_out_channels=[1 << 16] * 4, decoder_block_out_channels=[1 << 16] * 4, latent_channels=1 << 16),
    "deep-ltx-vae.json": packed(layers_per_block=[1 << 30] * 5, decoder_layers_per_block=[-1] * 5),
    "levels-ltx-vae.json": packed(block_out_channels=[8] * (1 << 10), spatio_temporal_scaling=[True] * (1 << 10), layers_per_block=[1] * 1025),
    "patches-ltx-vae.json": packed(patch_size=1 << 6, in_channels=1 << 16, out_channels=1 << 16),
    "kinds-ltx-vae.json": packed(down_block_types="LTXVideoDownBlock3D", upsample_factor={"0": 2}, timestep_conditioning="yes"),
    "factors-ltx-vae.json": packed(upsample_residual=[True] * 4, upsample_factor=[1 << 20] * 4),
    "nested-bert.json": b'{"model_type": "bert", "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
}

if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    for name, content in HOSTILE.items():
        (CORPUS / name).write_bytes(content)
