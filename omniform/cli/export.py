"""omniform export, push."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from omniform.cli.words import bare_options, system_of


@click.command(short_help="Into another library's format.")
@click.argument("run")
@click.option("--to", required=True, metavar="FORMAT", help="transformers, diffusers, torch or onnx.")
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The folder to write.")
@bare_options
def export(run: str, to: str, out: Path, **bare: Any) -> None:
    """Write a system in another library's format. RUN: its folder, or shipped:NAME.

    transformers: a text model (the recipes gpt, llama, mamba, bert, t5) with its tokenizer. diffusers: a denoising or masked
    transformer (DiT, SiT, PixArt, Stable Diffusion 3, FLUX, LTX-Video, Wan, aMUSEd) with its scheduler, and with its autoencoder where that is one of
    theirs; or a codec by itself. torch, onnx: one call of a network, with inputs that have names.

    \b
    omniform export runs/gpt --to transformers --out gpt-hf
    omniform export shipped:dit --to diffusers --out dit-hf
    omniform export shipped:dit --to onnx --out dit-onnx
    """
    from omniform.verbs import export as exported

    place = exported(system_of(run, bare) if any(bare.values()) else run, to, out)
    click.echo(f"{place}: " + ", ".join(sorted(p.name for p in place.iterdir() if p.name != "manifest.json")))


@click.command(short_help="With a model card, to a folder or the hub.")
@click.argument("run")
@click.argument("where")
@click.option("--private", is_flag=True, help="A new repository is seen by its owner alone.")
def push(run: str, where: str, private: bool) -> None:
    """Put a system with a model card into a folder, or onto the Hugging Face hub. RUN: its folder, or shipped:NAME. WHERE: a folder, or hf:OWNER/NAME.

    \b
    omniform push runs/dit published/dit
    omniform push runs/dit hf:OWNER/NAME
    """
    from omniform.verbs import push as pushed

    click.echo(pushed(run, where if where.startswith("hf:") else Path(where).expanduser(), private=private))
