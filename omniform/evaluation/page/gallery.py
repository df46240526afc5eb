"""What the systems made: side by side, as it grew, and in large sheets; and how each one learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from omniform.evaluation.page.charts import Panel, loss_curve
from omniform.evaluation.page.markup import Html, scroll, section, tag
from omniform.evaluation.page.pictures import as_array, data_url, sheet
from omniform.evaluation.page.table import is_text, origin_chip, style_of

if TYPE_CHECKING:
    from omniform.evaluation.report import FamilyResult, Report

MOST_CONDITIONS, MOST_FRAMES, MOST_IN_SHEET, MOST_TEXTS = 12, 12, 144, 3  # ours: what an eye takes in
TILE, SHEET = 56, 530  # CSS pixels a tile, a sheet; ours


def side_by_side(content: Report) -> Html | None:
    """Real data and every system under the same conditions; texts in blocks."""
    if is_text(content.real) or any(is_text(r.samples) for r in content.results):
        return _texts(content)
    sources = [("Real data", tag("span", "not generated", class_="chip real"), content.real, content.real_conditions)]
    sources += [(r.title, origin_chip(r.origin), r.samples, r.conditions) for r in by_family(content.results)]
    sources = [source for source in sources if source[2] is not None]
    if not sources:
        return None
    columns = _columns(sources)
    num, titles = (2 if len(sources) <= 8 else 1), [title for title, *_ in sources]
    rows: list[Html] = []
    for i, (title, chip, samples, conditions) in enumerate(sources):
        first, last = i == 0 or titles[i - 1] != title, i == len(titles) - 1 or titles[i + 1] != title
        style = " ".join(["first"] * first + ["last"] * last) or None
        name = tag("th", title if first else None, chip, scope="row")
        rows.append(tag("tr", name, _cells(title, samples, conditions, columns, num), class_=style))
    head = tag("thead", tag("tr", tag("td", ""), [tag("th", name, scope="col") for name, _ in columns]))
    asked = any(conditions for *_, conditions in sources)
    words = "The first samples of each system, not chosen ones. "
    words += "Each column is one condition." if asked else "Nothing was asked of them: no conditions."
    table = tag("table", head, tag("tbody", rows), class_="side")
    return section("samples", "Side by side", tag("p", words), scroll("Samples of all systems by condition", table))


def films(content: Report) -> Html | None:
    """How one sample of each system grows."""
    results = [r for r in by_family(content.results) if r.strip]
    if not results:
        return None
    strips = []
    for i, result in enumerate(results):
        again = i > 0 and results[i - 1].family == result.family
        head = [] if again else [tag("h3", result.title), tag("p", result.sentence)]
        frames = [
            tag("figure", _frame(what, f"{result.title}, {caption}"), tag("figcaption", caption))
            for caption, what in (result.strip[j] for j in _spread(len(result.strip), MOST_FRAMES))
        ]
        label = f"How a sample of {result.title}, {result.origin}, grows"
        strips.append(
            tag(
                "div",
                head,
                origin_chip(result.origin),
                scroll(label, frames, class_="frames"),
                class_="film more" if again else "film",
            )
        )
    words = "The same loop drives them all; what differs is what one turn adds."
    return section("growth", "How a sample grows", tag("p", words), strips)


def curves(content: Report) -> Html | None:
    """How each system learned: one small panel each."""
    panels, without = [], []
    for result in by_family(content.results):
        finite = [(int(step), float(loss)) for step, loss in result.losses if math.isfinite(loss)]
        if len(finite) < 2:
            without.append(f"{result.title} ({result.origin})")
            continue
        panel, lost = Panel(finite), len(result.losses) - len(finite)
        words = panel.words() + (f"; {lost} values were not finite" if lost else "")
        caption = tag("figcaption", tag("h3", result.title), origin_chip(result.origin), tag("br"), words)
        name = f"{result.title}, {result.origin}"
        panels.append(tag("figure", caption, loss_curve(panel, name=name, colour=style_of(result.origin))))
    if not panels:
        return None
    missing = tag("p", f"No losses were recorded for {', '.join(without)}.", class_="soft") if without else None
    words = "Training loss, every step pale and its running mean bold. Families minimise different losses: read the shape of a curve, do not compare heights."
    return section("training", "How each one learned", tag("p", words), missing, tag("div", panels, class_="panels"))


def sheets(content: Report) -> Html | None:
    """All samples of each system, one large picture each."""
    results = [r for r in by_family(content.results) if r.samples is not None and not is_text(r.samples)]
    if not results:
        return None
    return section("sheets", "Larger sheets", tag("div", [_sheet(result) for result in results], class_="sheets"))


def _sheet(result: FamilyResult) -> Html:
    pictures = as_array(result.samples)
    shown = pictures[:MOST_IN_SHEET]
    pixels = sheet(shown, _columns_of_sheet(len(shown), SHEET // _shown_size(shown), result.conditions))
    scale = max(1, SHEET // pixels.shape[1])
    count = f"{len(shown)} samples" if len(shown) == len(pictures) else f"{len(shown)} of {len(pictures)} samples"
    count += " in the order of the conditions" if result.conditions else ""
    image = tag(
        "img",
        src=data_url(pixels),
        width=pixels.shape[1] * scale,
        height=pixels.shape[0] * scale,
        alt=f"{count}, {result.title}, {result.origin}",
    )
    words = f"{result.sentence} {count}."
    return tag("figure", tag("figcaption", tag("h3", result.title), origin_chip(result.origin), tag("br"), words), image)


def by_family(results: Sequence[FamilyResult]) -> list[FamilyResult]:
    """Results of one family next to each other, shipped first, families in their order of appearance."""
    place = {family: i for i, family in reversed(list(enumerate(r.family for r in results)))}
    return sorted(results, key=lambda r: (place[r.family], r.origin != "shipped"))


def _texts(content: Report) -> Html:
    sources = [("Real data", tag("span", "not generated", class_="chip real"), content.real, content.real_conditions, "")]
    sources += [(r.title, origin_chip(r.origin), r.samples, r.conditions, r.sentence) for r in by_family(content.results)]
    articles = []
    for title, chip, samples, conditions, sentence in sources:
        if not is_text(samples):
            continue
        blocks = []
        for i, text in enumerate(samples[:MOST_TEXTS]):
            asked = conditions[i] if conditions else ""
            blocks.append(
                [
                    tag("p", "asked for ", tag("code", asked), class_="soft") if asked else None,
                    tag("pre", text),
                ]
            )
        articles.append(tag("article", tag("h3", title), chip, tag("p", sentence, class_="soft") if sentence else None, blocks))
    return tag(
        "section",
        tag("h2", "Side by side", id="samples"),
        tag("p", f"The first {MOST_TEXTS} samples of each system, not chosen ones."),
        tag("div", articles, class_="texts"),
    )


def _columns(sources: Sequence[tuple]) -> list[tuple[str, int]]:
    """(condition, number of the column): those that most sources have, in order of appearance, at most a dozen."""
    counts: dict[str, int] = {}
    for *_, conditions in sources:
        for name in dict.fromkeys(conditions):
            counts[name] = counts.get(name, 0) + 1
    if not counts:
        most = max(len(as_array(samples)) for _, _, samples, _ in sources)
        return [(str(i + 1), i) for i in range(min(MOST_CONDITIONS, most))]
    shared = [name for name, count in counts.items() if count == max(counts.values())]
    return [(shared[i], i) for i in _spread(len(shared), MOST_CONDITIONS)]


def _cells(title: str, samples: Any, conditions: Sequence[str], columns: Sequence[tuple[str, int]], num: int) -> list[Html]:
    pictures = as_array(samples)
    return [tag("td", [_picture(pictures[j], f"{title}: {name}") for j in _which(conditions, name, i, len(pictures), num)]) for name, i in columns]


def _which(conditions: Sequence[str], name: str, column: int, num_samples: int, num: int) -> list[int]:
    if not conditions:
        return [column] if column < num_samples else []
    return [j for j, condition in enumerate(conditions) if condition == name][:num]


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of 0..count-1, evenly spaced, with both ends."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def _shown_size(pictures: np.ndarray) -> int:
    """The CSS pixels that one picture of these, gap included, takes: a whole multiple, near TILE."""
    height, width = pictures.shape[-2:]
    return (width + 1) * max(1, TILE // max(height, width))


def _picture(picture: np.ndarray, alt: str) -> Html:
    _, height, width = picture.shape
    scale = max(1, TILE // max(height, width))
    return tag("img", src=data_url(sheet(picture[None], 1)[..., :-1]), width=width * scale, height=height * scale, alt=alt)


def _frame(what: Any, alt: str) -> Html:
    if isinstance(what, str):
        return tag("pre", what)
    pictures = as_array(what)
    pixels = sheet(pictures, math.ceil(math.sqrt(len(pictures))))
    scale = max(1, (TILE if len(pictures) > 1 else TILE + 28) // max(pictures.shape[2:]))
    return tag("img", src=data_url(pixels), width=pixels.shape[1] * scale, height=pixels.shape[0] * scale, alt=alt)


def _columns_of_sheet(num: int, most: int, conditions: Sequence[str]) -> int:
    """As many columns as fit, fewer if rows then come out full, or if equal conditions then stay in one row."""
    run = next((i for i, name in enumerate(conditions) if name != conditions[0]), 1)
    fits = [d for d in range(max(1, most // 2), max(1, most) + 1) if d <= num]
    return max(fits or [min(num, max(1, most))], key=lambda d: (num % d == 0, d % run == 0, d))
