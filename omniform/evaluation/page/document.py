"""The whole page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniform.evaluation.page.gallery import curves, films, sheets, side_by_side
from omniform.evaluation.page.markup import Html, tag
from omniform.evaluation.page.style import CSS
from omniform.evaluation.page.table import comparison

if TYPE_CHECKING:
    from omniform.evaluation.report import Report

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # the browser itself forbids anything from outside
PARTS = (
    ("comparison", "The comparison", comparison),
    ("samples", "Side by side", side_by_side),
    ("growth", "How a sample grows", films),
    ("training", "How each one learned", curves),
    ("sheets", "Larger sheets", sheets),
)


def document(content: Report) -> str:
    """The page as HTML."""
    drawn = [(anchor, name, section) for anchor, name, make in PARTS if (section := make(content)) is not None]
    links = [tag("a", name, href=f"#{anchor}") for anchor, name, _ in drawn] + [tag("a", "Environment", href="#environment")]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", content.title),
        tag("style", Html(CSS)),
    )
    body = tag("body", _opening(content, links), tag("main", [section for *_, section in drawn]), _environment(content))
    return "<!doctype html>\n" + tag("html", head, body, lang="en")


def _opening(content: Report, links: list[Html]) -> Html:
    families = list(dict.fromkeys(result.family for result in content.results))
    count = {
        0: "No family of generative transformers has finished yet",
        1: "One family of generative transformers, asked through one engine",
    }.get(
        len(families),
        f"{_word(len(families))} families of generative transformers, run through one engine, learned the same data and were asked for the same things",
    )
    notes = tag("aside", tag("h2", "Please note"), tag("ul", [tag("li", note) for note in content.notes])) if content.notes else None
    return tag(
        "header",
        tag("p", f"Omniform report · {content.data_name}", class_="kicker"),
        tag("h1", content.title),
        tag("p", f"{count}. {content.data_sentence} {content.budget_sentence}", class_="lead"),
        notes,
        tag("nav", links, aria_label="Sections"),
        class_="top",
    )


def _environment(content: Report) -> Html:
    facts = [tag("dt", name) + tag("dd", tag("code", value) if name.lower() == "command" else value) for name, value in content.environment.items()]
    words = "What it takes to get the same numbers again." if facts else "Nothing was recorded."
    return tag(
        "footer",
        tag(
            "section",
            tag("h2", "Environment", id="environment"),
            tag("p", words),
            tag("dl", [Html(fact) for fact in facts], class_="facts") if facts else None,
        ),
    )


def _word(number: int) -> str:
    words = ("Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")
    return words[number - 2] if 2 <= number <= 12 else str(number)
