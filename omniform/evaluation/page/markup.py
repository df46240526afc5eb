"""HTML that is escaped unless it was made here."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

EMPTY = frozenset({"br", "img", "meta", "line", "circle", "polyline"})


class Html(str):
    """Text that is markup already. Everything else is escaped where it enters."""


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """One element. Children are text (escaped), Html, None (nothing) or iterables of these; class_="x" gives class="x".

    An attribute that is None or False is left out; an underscore inside a name becomes a hyphen.
    """
    words = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.strip("_").replace("_", "-")
        words.append(f" {key}" if value is True else f' {key}="{html.escape(str(value))}"')
    opening = f"<{name}{''.join(words)}"
    return Html(f"{opening}/>" if name in EMPTY else f"{opening}>{join(*children)}</{name}>")  # SVG needs the slash


def join(*children: Any) -> Html:
    """Children one after the other, as `tag` takes them."""
    out = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            out.append(str(child))
        elif isinstance(child, Iterable) and not isinstance(child, str):
            out.append(str(join(*child)))
        else:
            out.append(html.escape(str(child)))
    return Html("".join(out))


def section(anchor: str, title: str, *children: Any) -> Html:
    """A part of the page that a link can lead to."""
    return tag("section", tag("h2", title, id=anchor), children)


def scroll(label: str, *children: Any, class_: str = "scroll") -> Html:
    """What may be wider than the screen: it scrolls by itself, also by keyboard."""
    return tag("div", children, class_=class_, tabindex=0, role="region", aria_label=label)
