"""The command line: `omniform VERB`. Nothing here imports torch before a verb needs it.

Every mistake is one line on the error stream and exit status 2; Ctrl-C is 130.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, NoReturn, final

import click

from omniform import __version__
from omniform.cli.data import data
from omniform.cli.demo import demo
from omniform.cli.export import export, push
from omniform.cli.look import show, systems
from omniform.cli.measure import compare, evaluate, score
from omniform.cli.sample import sample
from omniform.cli.train import train
from omniform.core.errors import OmniformError

_INTERRUPTED = 130  # 128 + SIGINT, as shells say it


class Loud(logging.Handler):
    """What the library says while it works, on the error stream as it is now."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(record.getMessage(), err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-q", "--quiet", is_flag=True, help="No progress bars and no remarks.")
@click.option("--traceback", is_flag=True, help="Show where an error came from.")
@click.version_option(__version__, prog_name="omniform")
@click.pass_context
def omniform(context: click.Context, quiet: bool, traceback: bool) -> None:
    """Generative transformers of every family on one engine.

    \b
    omniform demo
    omniform train dit --data glyphs --minutes 5 --out runs/dit
    omniform sample runs/dit --label A --label B --out letters.png
    omniform evaluate runs/dit --data glyphs
    """
    context.obj = {"progress": False if quiet else None}


for _command in (demo, systems, show, train, sample, score, evaluate, compare, data, export, push):
    omniform.add_command(_command)


@final
class Program:
    """The group with Omniform's manners about errors; click's test runner takes it for a command."""

    name = "omniform"

    def main(self, args: Sequence[str] | None = None, prog_name: str = "omniform", **_: Any) -> NoReturn:
        arguments = list(sys.argv[1:] if args is None else args)
        leading = list(takewhile(lambda word: word.startswith("-"), arguments))
        with _speaking(quiet="-q" in leading or "--quiet" in leading):
            try:
                status = omniform.main(arguments, prog_name=prog_name, standalone_mode=False)
            except (click.exceptions.Abort, KeyboardInterrupt):
                _refuse("interrupted", _INTERRUPTED)
            except Exception as error:
                if "--traceback" in leading:
                    raise
                line = one_line(error)
                if line is None:
                    raise
                _refuse(line, 2)
        sys.exit(status if isinstance(status, int) else 0)


def one_line(error: Exception) -> str | None:
    """What to say of an error that is not our fault; None: it is."""
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "omniform"
        return f"{error.format_message().rstrip('.')} ({path} --help)"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OmniformError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space and try again"
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError | ConnectionError):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{where}"
    if isinstance(error, MemoryError) or "not enough memory" in str(error) or "out of memory" in str(error).lower():
        return "there is not enough memory; choose a smaller --size or --batch"
    return None


def _refuse(line: str, status: int) -> NoReturn:
    click.echo("omniform: " + " ".join(line.split()), err=True)
    sys.exit(status)


@contextlib.contextmanager
def _speaking(*, quiet: bool) -> Iterator[None]:
    """The library's remarks on the error stream."""
    log, handler = logging.getLogger("omniform"), Loud()
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


PROGRAM = Program()


def main() -> NoReturn:
    """The console script."""
    try:
        PROGRAM.main()
    except BrokenPipeError:  # the reader of a pipe went away: `omniform systems | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
