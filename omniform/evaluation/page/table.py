"""The comparison: the table of scores, why a number is missing, and what each column means."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omniform.evaluation.page.charts import dots, short
from omniform.evaluation.page.markup import Html, scroll, section, tag

if TYPE_CHECKING:
    from omniform.evaluation.report import FamilyResult, Report

ORIGINS = (
    ("shipped", "Shipped weights", "trained beforehand, for longer"),
    ("trained here", "Trained here", "in this run, on this machine"),
)


@dataclass(frozen=True)
class Column:
    """One column: where its number is found, how it is written, which direction is better, and what it means."""

    keys: tuple[str, ...]
    heading: str
    better: str  # "lower", "higher" or "" (a cost or a size, never marked)
    write: Callable[[float], str]
    meaning: str
    missing: str = "not measured in this run"

    @property
    def of_pictures(self) -> bool:
        return self.better != ""


def duration(seconds: float) -> str:
    """0.4 ms, 12 ms, 3.4 s, 5 min 20 s, 2 h 5 min."""
    if seconds < 0.9995:
        return f"{seconds * 1e3:.2g} ms" if seconds < 0.0995 else f"{seconds * 1e3:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def figures(value: float) -> str:
    """Three figures, with their zeros, so that a column lines up."""
    return f"{value:#.3g}".rstrip(".") if 1e-4 <= abs(value) < 999.5 else short(value)


COLUMNS = (
    Column(
        ("frechet",),
        "Fréchet",
        "lower",
        figures,
        "Distance between Gaussian fits of the features of real and generated pictures (FID's formula).",
    ),
    Column(
        ("kernel",),
        "Kernel",
        "lower",
        figures,
        "Unbiased squared distance under a cubic kernel (KID's formula); may dip below zero when sets are alike.",
    ),
    Column(
        ("precision",),
        "Precision",
        "higher",
        "{:.2f}".format,
        "Share of generated pictures that lie among the real ones: are they believable?",
    ),
    Column(
        ("recall",),
        "Recall",
        "higher",
        "{:.2f}".format,
        "Share of real pictures that lie among the generated ones: is everything covered?",
    ),
    Column(
        ("accuracy", "accuracy_on_conditions"),
        "Accuracy",
        "higher",
        "{:.1%}".format,
        "Share of generated pictures in which the classifier sees what was asked for.",
    ),
    Column(
        ("nats_per_dim",),
        "Nats / dim",
        "",
        "{:.3f}".format,
        "Surprise at held-out data, for each dimension. Lower is better, but only within the same space: a pixel, "
        "a codebook index and a latent channel are different things. A bound may be above the true value.",
        "this family has no likelihood and no bound",
    ),
    Column(("calls",), "Calls", "", short, "Times the network is asked to make one sample."),
    Column(("seconds_per_sample",), "Time / sample", "", duration, "Wall-clock time for one sample, within a batch."),
    Column(("parameters",), "Parameters", "", short, "Trained numbers in the network."),
    Column(
        ("train_seconds",),
        "Training",
        "",
        duration,
        "Time spent, with optimizer steps and examples seen (repeats counted).",
    ),
)


def comparison(content: Report) -> Html:
    """The chart, the table, the missing numbers' reasons, the legend and the cautions."""
    yardsticks = [
        ("Other real data", "judged like a system", content.floor),
        ("Noise pictures", "pixels at random", content.ceiling),
    ]
    yardsticks = [row for row in yardsticks if row[2]]
    everything = [r.scores for r in content.results] + [scores for *_, scores in yardsticks]
    columns = [c for c in COLUMNS if any(number(s, c) is not None for s in everything)]
    reasons: list[str] = []
    names = [tag("th", c.heading, tag("span", _direction(c)), scope="col") for c in columns]
    head = tag("thead", tag("tr", tag("th", "Family", tag("span", "better is"), scope="col"), names))
    bodies = [tag("tbody", [_yardstick(*row, columns) for row in yardsticks])] if yardsticks else []
    for origin, name, what in ORIGINS:
        rows = [r for r in content.results if r.origin == origin]
        if rows:
            bodies.append(_group(origin, name, what, rows, columns, reasons))
    words = _words(content, columns)
    if not bodies:
        return section("comparison", "The comparison", words)
    table = scroll("Table of scores", tag("table", head, bodies, class_="scores"))
    return section("comparison", "The comparison", words, _chart(content), table, _notes(reasons), _legend(columns))


def number(scores: Mapping[str, Any], column: Column) -> float | None:
    """The finite number in this column, if there is one."""
    for key in column.keys:
        value = scores.get(key)
        if value is not None and not isinstance(value, str) and math.isfinite(value):
            return float(value)
    return None


def is_text(samples: Any) -> bool:
    """Whether samples are texts rather than pictures."""
    return isinstance(samples, Sequence) and len(samples) > 0 and isinstance(samples[0], str)


def _words(content: Report, columns: Sequence[Column]) -> list[Html]:
    shown = {c.keys[0] for c in columns}
    words = [tag("p", content.codec_sentence)] if content.codec_sentence else []
    if shown & {"frechet", "kernel", "precision", "recall"}:
        start = f"{content.classifier_sentence or 'Features come from a network made for this data.'} Distances are "
        warning = tag("strong", "cannot be compared with published FID")
        words.append(
            tag(
                "p",
                start,
                "measured in these features, so they compare the rows of this page and ",
                warning,
                ", which uses another network and other data.",
            )
        )
    if "nats_per_dim" in shown:
        warning = tag("strong", "only within the same space")
        words.append(tag("p", "Nats per dimension can be compared ", warning, ", which is written under each number."))
    text = any(is_text(result.samples) for result in content.results)
    unmeasured = [c.heading for c in COLUMNS if c not in columns and not (text and c.of_pictures)]
    if not content.results:
        words.append(tag("p", "No family has finished yet.", class_="soft"))
    elif unmeasured:
        words.append(tag("p", f"Not measured in this run: {', '.join(unmeasured)}.", class_="soft"))
    return words


def _notes(reasons: Sequence[str]) -> Html | None:
    lines = [tag("li", tag("sup", _letter(i)), " ", reason) for i, reason in enumerate(reasons)]
    return tag("ol", lines, class_="reasons") if reasons else None


def _legend(columns: Sequence[Column]) -> Html:
    pairs = [tag("div", tag("dt", c.heading, " ", _direction(c)[-1:]), tag("dd", c.meaning)) for c in columns]
    return tag("dl", pairs, class_="legend")


def _chart(content: Report) -> Html | None:
    column = COLUMNS[0]
    rows: dict[str, list[tuple[float, str, str]]] = {}
    for result in content.results:
        value = number(result.scores, column)
        if value is not None and value > 0:
            rows.setdefault(result.title, []).append((value, style_of(result.origin), result.origin))
    if len(rows) < 2:
        return None
    bounds = [(number(s, column), name) for s, name in ((content.floor, "other real data"), (content.ceiling, "noise"))]
    key = tag("figcaption", [origin_chip(origin) for origin in dict.fromkeys(r.origin for r in content.results)], class_="key")
    drawing = dots(list(rows.items()), [(v, name) for v, name in bounds if v is not None and v > 0])
    return tag("figure", key, scroll("Chart of distances", drawing), class_="chart")


def style_of(origin: str) -> str:
    return "shipped" if origin == "shipped" else "trained"


def origin_chip(origin: str) -> Html:
    """A coloured mark with the origin in words."""
    return tag("span", origin, class_=f"chip {style_of(origin)}")


def _group(origin: str, name: str, what: str, rows: Sequence[FamilyResult], columns: Sequence[Column], reasons: list[str]) -> Html:
    best = {}
    for column in columns:
        values = [v for v in (number(r.scores, column) for r in rows) if v is not None]
        if column.better and len(values) > 1:
            best[column.heading] = min(values) if column.better == "lower" else max(values)
    title = tag(
        "tr",
        tag(
            "th",
            tag("span", name, class_=f"chip {style_of(origin)}"),
            tag("span", what, class_="soft"),
            colspan=len(columns) + 1,
            scope="colgroup",
        ),
        class_="group",
    )
    lines = [
        tag(
            "tr",
            tag("th", r.title, tag("code", r.recipe), scope="row"),
            [_cell(r.scores, c, best.get(c.heading), reasons) for c in columns],
        )
        for r in rows
    ]
    return tag("tbody", title, lines)


def _cell(scores: Mapping[str, Any], column: Column, best: float | None, reasons: list[str]) -> Html:
    value = number(scores, column)
    if value is None:
        reason = _reason(scores, column)
        if reason not in reasons:
            reasons.append(reason)
        return tag("td", tag("span", "–", title=reason), tag("sup", _letter(reasons.index(reason))))
    written = column.write(value)
    shown = tag("b", written) if best is not None and written == column.write(best) else written
    return tag("td", shown, [tag("small", line) for line in _under(scores, column)])


def _yardstick(name: str, what: str, scores: Mapping[str, Any], columns: Sequence[Column]) -> Html:
    values = [number(scores, column) for column in columns]
    cells = [tag("td", "" if v is None else c.write(v)) for v, c in zip(values, columns, strict=True)]
    return tag("tr", tag("th", name, tag("small", what), scope="row"), cells, class_="yardstick")


def _reason(scores: Mapping[str, Any], column: Column) -> str:
    for key in column.keys:
        value = scores.get(key)
        if isinstance(value, str):
            return value
        if value is not None:
            return "the value is not finite"
    return column.missing


def _under(scores: Mapping[str, Any], column: Column) -> list[str]:
    """What stands in small print under a number."""
    if column.heading == "Nats / dim":
        kind = scores.get("nats_kind")
        return [*([str(kind)] if kind else []), *([f"per {scores['nats_space']}"] if scores.get("nats_space") else [])]
    if column.heading == "Training":
        pairs = (("steps", scores.get("train_steps")), ("seen", scores.get("examples_seen")))
        return [f"{short(value)} {what}" for what, value in pairs if value is not None and not isinstance(value, str)]
    return []


def _direction(column: Column) -> str:
    if column.heading == "Nats / dim":
        return "lower ↓"
    return {"lower": "lower ↓", "higher": "higher ↑"}.get(column.better, "")


def _letter(index: int) -> str:
    return chr(ord("a") + index) if index < 26 else str(index + 1)
