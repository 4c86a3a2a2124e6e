"""Style sheet of the report: light and dark mode, screen and print."""

PALETTE = """
:root {
  color-scheme: light dark;
  --paper: #fffffe; --ink: #1b1f24; --muted: #5f6872; --line: #e1e5e9; --wash: #f5f7f8;
  --model: #0072b2; --mean: #7d858e; --box: #b87503; --hull: #00805d; --points: #1b1f24;
  --carve: #b0528a; --pushed: #c4460f;
  --shade: #1b1f2438;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c; --ink: #e6e9ec; --muted: #9aa4ae; --line: #2c3238; --wash: #1c2025;
    --model: #56b4e9; --mean: #a3abb4; --box: #e8a838; --hull: #2fc493; --points: #dfe5ea;
    --carve: #e29bc3; --pushed: #ff8a55;
    --shade: #000000b3;
  }
}
"""
"""The colours, in light and dark mode."""

CSS = (
    PALETTE
    + """\
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 3.5rem 1.5rem 4rem; max-width: 49rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: break-word;
}
header .kicker { margin: 0 0 .4rem; color: var(--muted); font-size: .85rem; }
h1 { margin: 0 0 1.1rem; font-size: 1.75rem; line-height: 1.2; font-weight: 650; letter-spacing: -.012em; }
h2 { margin: 3rem 0 .6rem; font-size: 1.1rem; font-weight: 650; }
p { margin: .6rem 0; }
.result { margin: 0; font-size: 1.2rem; line-height: 1.45; }
.note, figcaption, .legend { color: var(--muted); font-size: .85rem; line-height: 1.5; }
/* Where more stands beyond an edge, the edge has a shadow; at the end paper slides over it. */
.scroll {
  overflow-x: auto;
  background:
    linear-gradient(to right, var(--paper) 35%, transparent) left / 2.4rem 100% no-repeat local,
    linear-gradient(to left, var(--paper) 35%, transparent) right / 2.4rem 100% no-repeat local,
    linear-gradient(to right, var(--shade), transparent) left / .9rem 100% no-repeat scroll,
    linear-gradient(to left, var(--shade), transparent) right / .9rem 100% no-repeat scroll;
}
table { border-collapse: collapse; width: 100%; margin: .8rem 0; font-size: .92rem; }
th, td { padding: .38rem 0 .38rem 1.1rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
td.name { white-space: normal; overflow-wrap: anywhere; min-width: 9.5rem; }
thead th { white-space: normal; vertical-align: bottom; }
/* A table with a column for each method may be wider than the text, up to the window. */
.groups { position: relative; left: 50%; transform: translateX(-50%); width: min-content; }
.groups { min-width: 100%; max-width: calc(100vw - 3rem); }
thead th { border-bottom: 1.5px solid var(--ink); font-weight: 500; color: var(--muted); }
tbody th { padding-top: .9rem; font-weight: 600; }
tbody tr { border-bottom: 1px solid var(--line); }
tbody tr:last-child { border-bottom: 1.5px solid var(--ink); }
td.best { font-weight: 700; }
td.quiet { color: var(--muted); }
.key { display: inline-block; width: .62em; height: .62em; margin-right: .55em; border-radius: 50%; }
figure { margin: 1.2rem 0 0; }
figure svg { display: block; width: 100%; height: auto; overflow: visible; font-family: inherit; }
.gallery { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1.4rem 1.2rem; margin-top: 1rem; }
.gallery figure { margin: 0; min-width: 0; }
.gallery svg { background: var(--wash); border-radius: 6px; overflow: hidden; }
.gallery figcaption { margin-top: .45rem; line-height: 1.35; overflow-wrap: anywhere; }
.gallery b { color: var(--ink); font-weight: 600; }
.dots { stroke: var(--points); stroke-width: 2.7; stroke-linecap: round; fill: none; }
.d0 { opacity: .18; } .d1 { opacity: .32; } .d2 { opacity: .55; }
.miss { stroke: var(--model); stroke-width: 1.6; fill: none; }
.truth { fill: var(--paper); stroke: var(--box); stroke-width: 2.4; }
.answer { fill: var(--model); stroke: var(--paper); stroke-width: .8; }
.ruler { stroke: var(--muted); stroke-width: 1; fill: none; }
.legend svg { width: 1.3em; height: 1em; vertical-align: -.15em; margin-right: .3em; }
.legend span { margin-right: 1.2em; white-space: nowrap; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .3rem 1.5rem; }
dl { margin: .8rem 0; font-size: .92rem; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: .86em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { margin: .8rem 0; padding: .8rem 1rem; background: var(--wash); border-radius: 6px; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin: .8rem 0; }
summary { cursor: pointer; color: var(--muted); }
footer { margin-top: 3.5rem; padding-top: .8rem; border-top: 1px solid var(--line); }
@media (max-width: 49rem) {
  .groups table { font-size: .8rem; }
  .groups :is(th, td) + :is(th, td) { padding-left: .6rem; }
  .groups td.name { min-width: 7.6rem; }
}
@media (max-width: 36rem) {
  body { padding: 2rem 1rem 3rem; }
  h1 { font-size: 1.45rem; }
  .result { font-size: 1.08rem; }
  .chart svg { min-width: 27rem; }
  .gallery { gap: 1rem .6rem; }
  .gallery figcaption { font-size: .75rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; }
  table { font-size: .76rem; }
  th, td { padding-left: .45rem; }
  td.name { min-width: 5.4rem; }
  .groups { max-width: 100%; }
  .groups td.name { min-width: 6.3rem; }
  .groups .quiet { display: none; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2 { break-after: avoid; }
  figure, tr, .gallery figure { break-inside: avoid; }
  .scroll { overflow: visible; background: none; }
  .chart svg { min-width: 0; }
}
"""
)
