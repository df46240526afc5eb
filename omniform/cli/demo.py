"""omniform demo: the main job."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="See every family at work: report/index.html.")
@click.option("--data", "-d", default="glyphs", metavar="DATA", help="A name, a folder of pictures, a text [default: glyphs].")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    default=5.0,
    help="How long in all [default: 5].",
)
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=Path("report"),
    help="The page's folder [default: report].",
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", default=0, help="Of everything that is drawn [default: 0].")
@click.option("--resume", is_flag=True, help="Go on with the demo in --out.")
@click.pass_context
def demo(context: click.Context, data: str, minutes: float, out: Path, seed: int, resume: bool) -> int:
    """Generate with what ships, train one small system of each family, compare.

    Writes DIR/index.html, a page that needs nothing else. Ctrl-C leaves what
    was trained, and --resume goes on.

    \b
    omniform demo
    omniform demo --data fashion-mnist --minutes 30
    """
    from omniform.demo.command import command

    quiet = context.obj["progress"] is False
    say = (lambda line: None) if quiet else (lambda line: click.echo(line, err=True))
    page, whole = command(data=data, minutes=minutes, out=out, seed=seed, resume=resume, say=say)
    if not whole:
        click.echo(f"stopped; {page} shows what there is so far, omniform demo --resume --out {out} goes on", err=True)
        return 130
    click.echo(str(page))
    return 0
