"""Checkpoints of LTH14/mar."""

from __future__ import annotations

from ..ties import Cut, Table, Tie, joined, layers, same, shaped
from .shared import LABEL, MAIN, Own, Paper, depth, leveled, pairs


def mar(own: Own) -> Table:
    """LTH14/mar: its tables of places hold those of the copies of the class first; the null class is a vector of its own.

    Its noise levels go from 0 at the data to 999, our small network's from 999 to 0.
    """
    back, mlp, net = MAIN + "backbone.", MAIN + "head.mlp.", "diffloss.net."
    _, buffer, width = own[back + "buffer_places"]
    length = own[back + "encode_places.0.table"][0]
    classes = own[LABEL][0] - 1

    def side(half: str) -> list[Tie]:
        def block(i: int) -> list[Tie]:
            named = (
                ("mixer.qkv.each.0", "attn.qkv"),
                ("mixer.out.each.0", "attn.proj"),
                ("mlp.feed.each.0.up", "mlp.fc1"),
                ("mlp.feed.each.0.down", "mlp.fc2"),
                ("norm_mixer", "norm1"),
                ("norm_mlp", "norm2"),
            )
            return pairs(f"{back}{half}.blocks.{i}.", f"{half}_blocks.{i}.", *named)

        return layers(depth(own, f"{back}{half}.blocks."), block)

    def denoising(i: int) -> list[Tie]:
        theirs = f"{net}res_blocks.{i}."
        return pairs(mlp, theirs, (f"norms.{i}", "in_ln"), (f"mods.{i}", "adaLN_modulation.1"), (f"blocks.{i}.0", "mlp.0"), (f"blocks.{i}.2", "mlp.2"))

    tables = ("encoder_pos_embed_learned", "decoder_pos_embed_learned")
    ties = (
        joined(LABEL, ("class_emb.weight", "fake_latent"), (classes, 1)),
        *pairs("", "", (MAIN + "embed.enter", "z_proj"), (back + "norm", "z_proj_ln"), (back + "enter", "decoder_embed")),
        *pairs("", "", (back + "encoder.final", "encoder_norm"), (back + "decoder.final", "decoder_norm")),
        shaped(back + "mask", "mask_token", (width,), (1, 1, width)),
        joined(back + "buffer_places", [f"{t}[:{buffer}]" for t in tables]),
        *(
            shaped(f"{back}{ours}_places.0.table", theirs, (length, width), (1, length, width))
            for ours, theirs in (
                ("encode", f"{tables[0]}[{buffer}:]"),
                ("decode", f"{tables[1]}[{buffer}:]"),
                ("last", "diffusion_pos_embed_learned"),
            )
        ),
        *side("encoder"),
        *side("decoder"),
        *pairs(mlp, net, ("enter", "input_proj"), ("told", "cond_embed"), ("time.2", "time_embed.mlp.2")),
        leveled(mlp + "time.0.weight", net + "time_embed.mlp.0.weight", 999, -1),
        same(mlp + "time.0.bias", net + "time_embed.mlp.0.bias"),
        *layers(depth(own, mlp + "blocks."), denoising),
        *pairs(mlp, net + "final_layer.", ("last_mod", "adaLN_modulation.1"), ("out", "linear")),
    )
    cuts = tuple(Cut(t, (f"{t}[:{buffer}]", f"{t}[{buffer}:]"), (buffer, length), 1) for t in tables)
    return Table("MAR", ties, cuts=cuts)


MAR = Paper("MAR", mar, codec=("kl", "f16"))
