#include "parapet/evaluation/report_style.h"

namespace parapet {

std::string_view report_style() {
  return R"css(
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b2330;--soft:#5d6878;--line:#dde2e9;
--accent:#1f5fbf;--good:#12784a;--goodbg:#e4f4ec;--bad:#b3261e;--badbg:#fcebea;--bar0:#9aa5b4;--bar1:#1f5fbf;
--c0:#1f5fbf;--c1:#d9730d;--c2:#12784a;--c3:#b3261e;--c4:#7a4fc9;--c5:#8a5a2b;--c6:#d1449a;--c7:#5d6878;--c8:#8b8f00;--c9:#0b8fa3}
@media (prefers-color-scheme:dark){:root{--page:#12161c;--card:#1b2129;--ink:#e6eaf0;--soft:#9aa6b6;--line:#313a46;
--accent:#79acff;--good:#5fd39b;--goodbg:#17352a;--bad:#ff8b82;--badbg:#3d211f;--bar0:#66717f;--bar1:#79acff;
--c0:#79acff;--c1:#ffa75a;--c2:#5fd39b;--c3:#ff8b82;--c4:#b79bff;--c5:#d3a274;--c6:#ff8fd0;--c7:#9aa6b6;--c8:#d4d957;--c9:#5fd0e0}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:1.65rem;line-height:1.25;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:1.15rem;margin:0 0 4px}
h3{font-size:.95rem;margin:14px 0 6px;font-weight:600}
p{margin:4px 0 10px}
.note,.sub{color:var(--soft);font-size:.9rem}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px;margin:16px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(225px,1fr));gap:12px;margin:18px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
.tile .what{color:var(--soft);font-size:.85rem;line-height:1.35;min-height:2.7em}
.tile .num{font-size:1.45rem;font-weight:650;font-variant-numeric:tabular-nums;white-space:nowrap}
.tile .num small{font-weight:400;color:var(--soft);font-size:1rem}
.scroll{overflow-x:auto;margin:8px -4px 0;padding:0 4px}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th{font-weight:600;text-align:right;vertical-align:bottom;color:var(--soft);font-size:.8rem;line-height:1.3;padding:6px;border-bottom:2px solid var(--line);min-width:72px}
td{text-align:right;padding:6px;border-bottom:1px solid var(--line);white-space:nowrap}
tr:last-child td{border-bottom:0}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--card);white-space:normal;min-width:100px;padding-left:2px}
td .ci{display:block;color:var(--soft);font-size:.75rem;line-height:1.2}
.change{display:inline-block;border-radius:6px;padding:1px 7px;font-size:.85rem;color:var(--soft)}
.better{background:var(--goodbg);color:var(--good)}.worse{background:var(--badbg);color:var(--bad)}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:10px 26px}
svg.plot{width:100%;height:auto;display:block}
svg text{font-size:12px;fill:var(--soft);font-family:inherit}
svg .grid{stroke:var(--line);stroke-width:1}svg .whisker{stroke:var(--ink);stroke-width:1.4;opacity:.65}
.legend{font-size:.82rem;color:var(--soft);margin:6px 0 0}.legend span{display:inline-block;margin-right:14px;white-space:nowrap}
.key{display:inline-block;width:12px;height:12px;border-radius:3px;vertical-align:-1px;margin-right:3px}
.pick{display:inline-block;margin:4px 14px 4px 0;font-size:.88rem}
.log{display:none}#log:checked~.plots .log{display:block}#log:checked~.plots .lin{display:none}
.grid2{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:14px;margin-top:10px}
.ex{border:1px solid var(--line);border-radius:10px;padding:12px;break-inside:avoid}
.ex p.q{margin:0 0 10px;font-size:.95rem;min-height:3em}
.ex.side{display:flex;gap:12px}.side .q{flex:0 0 96px}
.stack{flex:1;display:grid;gap:6px;align-content:start;min-width:0}
.tag{display:inline-block;font-size:.72rem;color:var(--soft);border:1px solid var(--line);border-radius:20px;padding:0 8px;margin-bottom:4px}
.side .shown p{padding:4px 7px}
.trio{display:grid;grid-template-columns:repeat(auto-fit,minmax(84px,1fr));gap:8px}
figure{margin:0;font-size:.78rem}
figcaption{color:var(--soft);margin-bottom:3px}
.shown{border:3px solid var(--line);border-radius:8px;overflow:hidden;background:var(--card)}
.shown img{display:block;width:100%;height:auto;aspect-ratio:1;object-fit:contain;image-rendering:auto}
.shown p{margin:0;padding:6px 7px;font-size:.82rem;line-height:1.35;overflow-wrap:anywhere}
.shown.safe{border-color:var(--good)}.shown.unsafe{border-color:var(--bad)}
.verdict{font-weight:600}.verdict.safe{color:var(--good)}.verdict.unsafe{color:var(--bad)}
details{margin-top:8px}summary{cursor:pointer;font-weight:600}
pre{overflow-x:auto;font-size:.78rem;line-height:1.45;background:var(--page);border-radius:8px;padding:12px}
footer{color:var(--soft);font-size:.82rem;margin-top:20px}
@media (max-width:560px){main{padding:16px 12px 40px}section{padding:14px 13px;border-radius:10px}h1{font-size:1.35rem}
.tiles{grid-template-columns:1fr 1fr;gap:8px}.tile{padding:10px 11px}.tile .num{font-size:1.1rem}.tile .num small{font-size:.85rem}
.tile .what{font-size:.78rem;min-height:4em}th,td{padding:5px 3px}th{min-width:0}th:first-child,td:first-child{min-width:84px}td .ci{font-size:.7rem}.change{padding:1px 4px}figcaption .verdict{display:block}.stack .verdict{display:inline}svg text{font-size:15px}}
@media print{:root{color-scheme:light;--page:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--accent:#1f5fbf;--good:#12784a;--goodbg:#fff;--bad:#b3261e;--badbg:#fff;--bar0:#9aa5b4;--bar1:#1f5fbf}
body{font-size:11px}main{max-width:none;padding:0}section{border:0;padding:6px 0;margin:8px 0}section>h2{break-after:avoid}
.tile,.ex,tr,svg{break-inside:avoid}.pick,#lin,#log{display:none}.scroll{overflow:visible}th:first-child,td:first-child{position:static}
.bar,.shown,.key,rect{print-color-adjust:exact;-webkit-print-color-adjust:exact}table{font-size:10px}td{white-space:normal}th{min-width:0}
.grid2{grid-template-columns:1fr 1fr 1fr}}
)css";
}

}  // namespace parapet
