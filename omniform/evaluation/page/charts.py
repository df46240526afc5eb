"""Small SVG charts whose colours come from the page's style: loss curves, and dots on a logarithmic line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from omniform.evaluation.page.markup import Html, tag

WIDTH, HEIGHT = 340, 190  # of a loss panel; ours
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 34  # room for the labels; ours
SMOOTHING = 40  # the bold line averages about this share of the points; ours
MOST_POINTS = 400  # drawn a curve; ours
LOG_FROM = 12.0  # a ratio of losses that asks for a logarithmic axis; ours


def short(value: float) -> str:
    """A number in at most four figures: 0.0123, 12.3, 1,230, 45.6k, 7.89M."""
    size = abs(value)
    if size >= 9_999_500:
        return f"{value / 1e6:.3g}M" if size < 1e9 else f"{value:.3g}"
    if size >= 10_000:
        return f"{value / 1e3:.3g}k" if size < 999_500 else f"{value / 1e6:.3g}M"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) within [low, high]."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * m for m in (1, 2, 5, 10, 20) if span / (power * m) <= most)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten within [low, high]; powers alone when there are more than two of them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    figures = (1,) if math.log10(high / low) > 2.2 else (1, 2, 5)
    return [m * 10.0**p for p in powers for m in figures if low <= m * 10.0**p <= high]


def smoothed(values: Sequence[float]) -> list[float]:
    """A running mean; it narrows towards the steep start, but not towards the end, where one step says little."""
    reach, sums = max(1, len(values) // SMOOTHING), [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    out = []
    for i in range(len(values)):
        first, end = i - min(reach, i), min(i + min(reach, i) + 1, len(values))
        out.append((sums[end] - sums[first]) / (end - first))
    return out


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS of them, evenly spaced, the last one kept."""
    stride = -(-len(points) // MOST_POINTS)
    return [*points[:-1:stride], points[-1]]


class Panel:
    """Where steps and losses fall in a loss panel; logarithmic when the losses span more than a factor of LOG_FROM.

    losses: at least two finite ones. The range leaves out the highest 0.5%: a spike is cut, not obeyed.
    """

    def __init__(self, losses: Sequence[tuple[int, float]]):
        points = sorted(losses)
        self.steps, self.values = [p[0] for p in points], [p[1] for p in points]
        self.mean = smoothed(self.values)
        ranked = sorted(self.values)
        self.low, self.high = ranked[0], max(ranked[int(0.995 * (len(ranked) - 1))], *self.mean)
        self.log = self.low > 0 and self.high / self.low > LOG_FROM
        if not self.log:
            margin = 0.04 * (self.high - self.low) or abs(self.high) * 0.1 or 1.0
            self.low, self.high = self.low - margin, self.high + margin

    def x(self, step: float) -> float:
        first, last = self.steps[0], self.steps[-1]
        return round(LEFT + (WIDTH - RIGHT - LEFT) * (step - first) / ((last - first) or 1), 1)

    def y(self, value: float) -> float:
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(1.05, max(0.0, share))), 1)

    def line(self, values: Sequence[float], style: str) -> Html:
        drawn = thinned(list(zip(self.steps, values, strict=True)))
        return tag("polyline", points=" ".join(f"{self.x(step)},{self.y(v)}" for step, v in drawn), class_=style)

    def axes(self) -> list[Html]:
        right, bottom, axis = WIDTH - RIGHT, HEIGHT - BOTTOM + 15, "training step"
        out = []
        for value in log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high):
            y = self.y(value)
            out.append(tag("line", x1=LEFT, x2=right, y1=y, y2=y, class_="mark"))
            out.append(tag("text", short(value), x=LEFT - 6, y=y + 3.5, text_anchor="end"))
        for step in ticks(self.steps[0], self.steps[-1], most=4):
            out.append(tag("text", short(step), x=self.x(step), y=bottom, text_anchor="middle"))
        return [*out, tag("text", axis, x=(LEFT + right) / 2, y=HEIGHT - 3, text_anchor="middle", class_="axis")]

    def words(self) -> str:
        axis = ", logarithmic axis" if self.log else ""
        return f"loss {short(self.mean[0])} → {short(self.mean[-1])}{axis}"


def loss_curve(panel: Panel, *, name: str, colour: str) -> Html:
    """One panel: every loss pale, their running mean bold."""
    lines = panel.line(panel.values, f"pale {colour}"), panel.line(panel.mean, f"bold {colour}")
    label = f"{name}: {panel.words()}, steps {short(panel.steps[0])} to {short(panel.steps[-1])}"
    size = f"0 0 {WIDTH} {HEIGHT}"
    return tag("svg", panel.axes(), lines, viewBox=size, role="img", aria_label=label, class_="curve")


DOTS_WIDTH, DOTS_LEFT, DOTS_RIGHT, DOTS_ROW, DOTS_TOP = 720, 190, 30, 30, 30  # ours

Dot = tuple[float, str, str]  # a value above 0, the class of its mark, what it is


def dots(rows: Sequence[tuple[str, Sequence[Dot]]], bounds: Sequence[tuple[float, str]]) -> Html:
    """One line a row (label, dots), on a shared logarithmic axis, with named bounds as upright rules."""
    values = [value for _, row in rows for value, _, _ in row] + [value for value, _ in bounds]
    low, high = min(values) / 1.25, max(values) * 1.25
    right, bottom = DOTS_WIDTH - DOTS_RIGHT, DOTS_TOP + DOTS_ROW * len(rows)

    def x(value: float) -> float:
        return round(DOTS_LEFT + (right - DOTS_LEFT) * math.log(value / low) / math.log(high / low), 1)

    parts: list[Html] = []
    for mark in log_ticks(low, high):
        parts.append(tag("line", x1=x(mark), x2=x(mark), y1=DOTS_TOP - 4, y2=bottom, class_="mark"))
        parts.append(tag("text", short(mark), x=x(mark), y=bottom + 16, text_anchor="middle"))
    for value, label in bounds:
        anchor, place = ("start", x(value) - 3) if value * value < low * high else ("end", x(value) + 3)
        parts.append(tag("line", x1=x(value), x2=x(value), y1=DOTS_TOP - 8, y2=bottom, class_="bound"))
        parts.append(tag("text", label, x=place, y=DOTS_TOP - 14, text_anchor=anchor, class_="axis"))
    for i, (label, row) in enumerate(rows):
        y = DOTS_TOP + DOTS_ROW * (i + 0.5)
        parts.append(tag("text", label, x=DOTS_LEFT - 18, y=y + 4, text_anchor="end", class_="name"))
        parts.append(tag("line", x1=DOTS_LEFT, x2=right, y1=y, y2=y, class_="rail"))
        for value, style, what in row:
            title = tag("title", f"{label}, {what}: {short(value)}")
            parts.append(tag("g", title, tag("circle", cx=x(value), cy=y, r=5.5, class_=f"dot {style}")))
    axis, middle = "Fréchet distance, logarithmic; further left is better", (DOTS_LEFT + right) / 2
    parts.append(tag("text", axis, x=middle, y=bottom + 36, text_anchor="middle", class_="axis"))
    words = [f"{label}: " + ", ".join(f"{what} {short(v)}" for v, _, what in row) for label, row in rows]
    words += [f"{label}: {short(value)}" for value, label in bounds]
    size = f"0 0 {DOTS_WIDTH} {bottom + 42}"
    return tag("svg", parts, viewBox=size, role="img", class_="dots", aria_label="Fréchet distances. " + "; ".join(words))
