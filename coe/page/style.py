"""The style of the page: light and dark from one set of variables, and fit to print."""

STYLE = """
:root{color-scheme:light dark;--page:#fbfbfa;--card:#fff;--ink:#1c1d1f;--quiet:#62666d;
--rule:#e2e3e6;--line:#2563b0;--hit:#2563b0;--miss:#c2410c;--here:#c2410c;--bar:#dfe8f4}
@media (prefers-color-scheme:dark){
:root{--page:#15171a;--card:#1d2024;--ink:#e8e9eb;--quiet:#9aa0a8;
--rule:#33373d;--line:#7db1f0;--hit:#5b9be6;--miss:#f08a4b;--here:#f08a4b;--bar:#2b3a4e}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1040px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:28px;margin:0 0 12px}
h2{font-size:19px;margin:40px 0 4px}
p{margin:0 0 8px;max-width:75ch}
.lead{font-size:18px}
.quiet{color:var(--quiet);font-size:14px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(130px,1fr));gap:12px;
margin:24px 0}
.card{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px}
.value{font-size:22px;font-weight:600;white-space:nowrap;font-variant-numeric:tabular-nums}
.name{font-weight:600;font-size:14px}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(320px,100%),1fr));gap:16px}
figure{margin:12px 0 0;background:var(--card);border:1px solid var(--rule);border-radius:8px;
padding:14px;display:flex;flex-direction:column}
svg{display:block;max-width:100%;height:auto}
figure svg{width:100%;max-width:460px;margin:auto auto 0}
svg.matrix{max-width:none}
svg text{fill:var(--quiet);font-size:12px}
svg .tick{font-variant-numeric:tabular-nums}
svg .axis{font-size:13px;fill:var(--ink)}
svg .note{font-size:12px;fill:var(--ink)}
svg .note{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
svg .count{fill:var(--ink);font-size:12px}
svg .inverse{fill:var(--card);font-weight:600}
.middle{text-anchor:middle}
.end{text-anchor:end}
.grid{stroke:var(--rule);stroke-width:1}
.ideal{stroke:var(--quiet);stroke-width:1.5;stroke-dasharray:4 4;fill:none}
.line{stroke:var(--line);stroke-width:2;fill:none}
.gap{stroke:var(--miss);stroke-width:2;stroke-opacity:.5}
.dot{fill:var(--line)}
.here{fill:var(--here);stroke:var(--card);stroke-width:2}
.hit{fill:var(--hit)}
.miss{fill:var(--miss)}
.wide{overflow-x:auto;margin:10px 0}
table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;color:var(--quiet);font-weight:600}
th,td{padding:5px 12px 5px 0;border-bottom:1px solid var(--rule);vertical-align:top}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.measure{white-space:nowrap;display:inline-flex;align-items:center;gap:8px;font-variant-numeric:tabular-nums}
.bar{display:inline-block;width:70px;height:8px;border-radius:4px;background:var(--bar)}
.bar span{display:block;height:8px;border-radius:4px;background:var(--hit)}
.words{min-width:100px}
.words:has(bdi){min-width:240px}
bdi{overflow-wrap:anywhere}
summary{cursor:pointer;color:var(--line)}
@media print{details>*{display:block}body{background:#fff}.card,figure{break-inside:avoid}}
"""
