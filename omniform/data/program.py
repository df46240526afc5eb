"""Transforms as one-line programs: "resize_small(64)|central_crop(64)|grey" (after big_vision's preprocessing strings).

A program works on a decoded picture; decoding before it and the range [-1, 1] after it are always done.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from omniform.core.errors import BadArgument, UnknownName, nearest

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST = 4_096  # pixels; ours


def parse(program: str) -> Callable[[Image], Image]:
    """The program as a function of a picture; each step is checked now, not at the first picture."""
    if not isinstance(program, str) or not program.strip():
        raise BadArgument(f"expected a program such as 'resize_small(64)|central_crop(64)', found {program!r}")
    steps = [_step(text.strip()) for text in program.split("|")]

    def run(picture: Image) -> Image:
        for step, numbers in steps:
            picture = step(picture, *numbers)
        return picture

    return run


def _step(text: str) -> tuple[Callable[..., Image], tuple[int, ...]]:
    found = re.fullmatch(r"(\w+)(?:\(([\d\s,]*)\))?", text)
    if not found:
        raise BadArgument(f"expected a step such as central_crop(64), found {text!r}; the steps are {', '.join(STEPS)}, joined by |")
    name, numbers = found[1], tuple(int(number) for number in (found[2] or "").split(",") if number.strip())
    if name not in STEPS:
        raise UnknownName(f"no step is called {name!r}; {nearest(name, STEPS)}")
    step, num = STEPS[name]
    if len(numbers) != num or not all(1 <= number <= LARGEST for number in numbers):
        example = f"{name}({', '.join(['64'] * num)})" if num else name
        raise BadArgument(f"expected {num} number{'s' * (num != 1)} from 1 to {LARGEST} for {name}, found {text!r}; write for example {example}")
    return step, numbers


def _resize_small(picture: Image, side: int) -> Image:
    """The shorter side becomes this long; the proportions stay."""
    from PIL.Image import Resampling

    scale = side / min(picture.size)
    return picture.resize((max(side, round(picture.width * scale)), max(side, round(picture.height * scale))), Resampling.LANCZOS)


def _resize(picture: Image, height: int, width: int) -> Image:
    from PIL.Image import Resampling

    return picture.resize((width, height), Resampling.LANCZOS)


def _central_crop(picture: Image, side: int) -> Image:
    """The middle square; what lies outside the picture is black."""
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def _grey(picture: Image) -> Image:
    return picture.convert("L").convert(picture.mode)


STEPS: dict[str, tuple[Callable[..., Image], int]] = {
    "resize_small": (_resize_small, 1),
    "resize": (_resize, 2),
    "central_crop": (_central_crop, 1),
    "grey": (_grey, 0),
}
