"""Style sheet of the report: system fonts, light and dark, colours that most eyes tell apart."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6577; --line: #e1e5ec; --page: #ffffff;
  --c1: #0b6bb5; --c2: #d1570b; --c3: #14866d; --c4: #b03a78; --c5: #7a5bc4; --c6: #9a7b00;
  --c7: #3c8fb0; --c8: #7d838f; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #2d3440; --page: #14181f;
    --c1: #5aaeea; --c2: #f0924f; --c3: #45c2a4; --c4: #e27fb2; --c5: #ae95ee; --c6: #d3b53f;
    --c7: #7cc7e3; --c8: #a5acb8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; margin: 0 0 16px; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 18px;
  margin: 0 0 20px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 0 0 24px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 5px 22px 5px 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr));
  gap: 26px 34px; }
figure { margin: 0; } figcaption { font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; color: var(--soft); font-size: 13px; }
.k { display: inline-block; width: 11px; height: 11px; margin-right: 6px; border-radius: 2px;
  background: currentColor; }
.note { color: var(--soft); font-size: 13px; margin: 2px 0 0; }
svg { display: block; width: 100%; height: auto; font-size: 11px; }
svg text { fill: var(--soft); font-variant-numeric: tabular-nums; }
.g { stroke: var(--line); } .a { stroke: var(--soft); }
.l { fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linejoin: round; }
.b { fill: currentColor; opacity: 0.16; } .f { fill: currentColor; }
.s1 { color: var(--c1); } .s2 { color: var(--c2); } .s3 { color: var(--c3); }
.s4 { color: var(--c4); }
.s5 { color: var(--c5); } .s6 { color: var(--c6); }
.s7 { color: var(--c7); } .s8 { color: var(--c8); }
details { margin-top: 22px; border-top: 1px solid var(--line); padding-top: 12px; }
summary { cursor: pointer; font-weight: 600; } details dl { margin-top: 10px; font-size: 13px; }
pre { font-size: 12.5px; overflow-x: auto; }
"""
