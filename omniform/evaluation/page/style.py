"""The look of the page: paper and ink by day, the reverse by night; serif for reading, sans for figures."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark;
  --paper: #fbfaf6; --card: #ffffff; --ink: #23211d; --soft: #69645a; --rule: #e4dfd3; --faint: #f2efe6;
  --trained: #2a6496; --shipped: #ad5f14; --best: #edf3e6; --bound: #8b8577; --picture: #0000;
  --serif: Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, "Liberation Serif", serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #191816; --card: #21201d; --ink: #ebe7dd; --soft: #a39d8f; --rule: #37342e; --faint: #282622;
  --trained: #7db6e8; --shipped: #e6a45c; --best: #2c3525; --bound: #8f897b; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.55 var(--serif); }
main, header.top, footer { max-width: 1180px; margin: 0 auto; padding: 0 28px; }
header.top { padding-top: 64px; }
h1 { font-size: clamp(29px, 5vw, 44px); line-height: 1.12; font-weight: 600; letter-spacing: -.012em; margin: 0 0 18px;
  text-wrap: balance; }
h2 { font-size: 26px; line-height: 1.2; font-weight: 600; letter-spacing: -.006em; margin: 0 0 8px; }
h3 { font: 600 15px/1.35 var(--sans); margin: 0; }
p { margin: 0 0 12px; max-width: 70ch; text-wrap: pretty; }
.kicker { font: 600 12.5px/1.4 var(--sans); letter-spacing: .09em; text-transform: uppercase; color: var(--soft);
  margin: 0 0 12px; }
.lead { font-size: 19px; line-height: 1.5; }
.soft, figcaption, caption { color: var(--soft); }
nav { margin: 26px 0 0; font: 14px/1.5 var(--sans); display: flex; flex-wrap: wrap; gap: 4px 20px; }
nav a { color: var(--ink); text-underline-offset: 4px; text-decoration-color: var(--rule); padding: 4px 0; }
nav a:hover { text-decoration-color: currentColor; }
:focus-visible { outline: 2px solid var(--trained); outline-offset: 3px; }
section { border-top: 1px solid var(--rule); margin-top: 48px; padding-top: 32px; }
aside { border-left: 3px solid var(--shipped); background: var(--faint); padding: 14px 20px; margin: 26px 0 0;
  max-width: 76ch; border-radius: 0 6px 6px 0; }
aside h2 { font: 600 14px/1.4 var(--sans); margin: 0 0 4px; }
aside ul { margin: 0; padding-left: 18px; } aside li { margin: 2px 0; }
.scroll { overflow-x: auto; margin: 22px 0 8px; max-width: 100%; }
table { border-collapse: collapse; font: 14px/1.35 var(--sans); }
table.scores { width: 100%; font-variant-numeric: tabular-nums; }
.scores th, .scores td { padding: 8px 8px; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--rule); }
.scores th:first-child, .scores td:first-child { text-align: left; padding-left: 0; }
.scores thead th { font-weight: 600; font-size: 13px; vertical-align: bottom; border-bottom: 1.5px solid var(--ink); }
.scores thead th span { display: block; min-height: 1.35em; font-weight: 400; font-size: 11.5px; color: var(--soft);
  white-space: nowrap; }
.scores tbody th { font-weight: 600; white-space: nowrap; }
.scores tbody th code { display: block; font-weight: 400; color: var(--soft); }
.scores tr.group th { padding: 20px 0 6px; font-size: 13px; text-align: left; }
.scores tr.group .chip { font-size: 13px; margin-right: 10px; } .scores tr.group .soft { font-weight: 400; }
.scores small { display: block; font-size: 11.5px; color: var(--soft); }
.scores td { white-space: nowrap; }
.scores td small { white-space: normal; width: max-content; max-width: 100px; margin-left: auto; }
.scores td b { font-weight: 700; background: var(--best); border-radius: 4px; padding: 2px 6px; margin: -2px -6px; }
.scores tr.yardstick th, .scores tr.yardstick td { color: var(--soft); font-weight: 400; }
.scores sup { font-size: 10.5px; line-height: 0; color: var(--soft); margin-left: 1px; }
ol.reasons { list-style: none; padding: 0; margin: 0 0 22px; font: 13px/1.5 var(--sans); color: var(--soft); }
ol.reasons li { max-width: 100ch; }
dl.legend { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 12px 36px;
  margin: 20px 0 0; font: 14px/1.45 var(--sans); }
dl.legend dt { font-weight: 600; } dl.legend dd { margin: 0; color: var(--soft); }
.chip { font: 600 11.5px/1 var(--sans); white-space: nowrap; display: inline-flex; align-items: center; gap: 6px; }
.chip::before { content: ""; width: 9px; height: 9px; border-radius: 50%; border: 2px solid currentColor; }
.chip.trained { color: var(--trained); } .chip.shipped { color: var(--shipped); }
.chip.shipped::before { background: currentColor; } .chip.real { color: var(--soft); }
.chip.real::before { border-radius: 2px; background: currentColor; }
code { font: .88em var(--mono); }
img { image-rendering: pixelated; display: block; background: var(--picture); }
table.side td, table.side th { padding: 4px 3px; text-align: center; vertical-align: middle; }
table.side thead th { font: 600 15px/1 var(--sans); padding-bottom: 8px; }
table.side tbody th { text-align: left; padding-right: 22px; white-space: nowrap; font-weight: 600;
  position: sticky; left: 0;
  background: var(--paper); }
table.side tbody th .chip { display: flex; margin-top: 5px; }
table.side tr.first th, table.side tr.first td { border-top: 1px solid var(--rule); padding-top: 10px; }
table.side tr.last th, table.side tr.last td { padding-bottom: 10px; }
table.side img { margin: 0 auto; border-radius: 2px; } table.side img + img { margin-top: 4px; }
figure { margin: 0; }
figcaption { font: 13.5px/1.45 var(--sans); }
figcaption h3 { color: var(--ink); display: inline; margin-right: 10px; }
.panels { display: grid; gap: 30px 34px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr));
  margin-top: 24px; }
.sheets { display: grid; gap: 38px 34px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 470px), 1fr));
  margin-top: 24px; }
.sheets img { max-width: 100%; height: auto; border-radius: 3px; margin-top: 10px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 11px var(--sans); fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .name { font-size: 13px; font-weight: 600; fill: var(--ink); }
svg .mark { stroke: var(--rule); } svg .rail { stroke: var(--rule); stroke-dasharray: 1 4; }
svg .bound { stroke: var(--bound); stroke-dasharray: 4 3; }
svg polyline { fill: none; stroke-linejoin: round; }
svg .pale { stroke-width: 1; opacity: .28; } svg .bold { stroke-width: 2; }
svg .trained { stroke: var(--trained); } svg .shipped { stroke: var(--shipped); }
svg .dot { stroke-width: 2.2; fill: var(--paper); } svg .dot.shipped { fill: var(--shipped); }
.chart { max-width: 780px; margin: 26px 0 6px; } .chart svg { min-width: 540px; }
.chart .key { display: flex; gap: 18px; } .chart .scroll { margin: 10px 0 0; overflow-y: hidden; }
.film { margin-top: 30px; } .film.more { margin-top: 10px; } .film > p { margin-bottom: 8px; }
.film > p, .texts p.soft { font: 14px/1.45 var(--sans); color: var(--soft); }
.frames { display: flex; gap: 14px; overflow-x: auto; padding: 8px 0; }
.frames figure { flex: none; } .frames img { border-radius: 2px; }
.frames figcaption { font-size: 12px; margin-top: 6px; }
.frames pre { width: min(320px, 74vw); max-height: 260px; }
.texts { display: grid; gap: 24px 30px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr));
  margin-top: 22px; }
.texts p { margin: 6px 0 0; } .texts pre + p { margin-top: 16px; }
.texts article { min-width: 0; } .texts article > h3 { display: inline; margin-right: 10px; }
pre { font: 13px/1.5 var(--mono); background: var(--card); border: 1px solid var(--rule); border-radius: 6px;
  margin: 10px 0 0;
  padding: 12px 14px; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 420px; overflow-y: auto; }
footer { padding-bottom: 72px; }
dl.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 5px 24px; font: 14px/1.5 var(--sans);
  margin: 16px 0 0; }
dl.facts dt { color: var(--soft); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 640px) {
  body { font-size: 16px; } .lead { font-size: 17.5px; }
  main, header.top, footer { padding-left: 18px; padding-right: 18px; } header.top { padding-top: 36px; }
  section { margin-top: 36px; padding-top: 26px; } h2 { font-size: 23px; }
  .scores th:first-child { position: sticky; left: 0; background: var(--paper); padding-right: 12px; }
  .scores tbody th { white-space: normal; min-width: 118px; }
  table.side tbody th { padding-right: 10px; white-space: normal; font-size: 13px; }
  dl.facts { grid-template-columns: 1fr; gap: 0; } dl.facts dd { margin-bottom: 8px; } }
@media print { section { break-inside: avoid-page; } .scroll, .frames, pre { overflow: visible; max-height: none; } }
"""
