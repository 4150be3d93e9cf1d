#include "parapet/serving/page.h"

#include <string_view>

#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/serving/routes.h"

namespace parapet::serving {
namespace {

constexpr std::string_view kStyle = R"css(
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--red:#c0392b;--amber:#b9770e;--green:#1e8449}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:68rem;padding:1.5rem 1rem}
h1{font-size:1.3rem;margin:0}h2{font-size:1rem;margin:1.5rem 0 .4rem}
p{margin:.3rem 0}.quiet{opacity:.7;font-size:.9rem}
form{display:grid;gap:.8rem;grid-template-columns:1fr 1fr;margin-top:1rem}
@media(max-width:44rem){form{grid-template-columns:1fr}}
textarea,#drop{width:100%;min-height:9rem;border:1px solid var(--line);border-radius:.5rem;
padding:.7rem;font:inherit;background:transparent;color:inherit}
#drop{border-style:dashed;display:flex;flex-wrap:wrap;gap:.5rem;align-items:center;
justify-content:center;cursor:pointer}
#drop.over{background:var(--soft)}#drop img{max-height:7rem;max-width:100%;border-radius:.3rem}
.row{grid-column:1/-1;display:flex;flex-wrap:wrap;gap:1rem;align-items:center}
button{font:inherit;padding:.5rem 1.4rem;border-radius:.5rem;border:0;background:#2457a6;color:#fff;
cursor:pointer}button:disabled{opacity:.5}button.plain{background:var(--soft);color:inherit}
input,select{font:inherit;padding:.2rem .4rem}
#verdict{border-left:.4rem solid var(--green);padding:.4rem .9rem;background:var(--soft);
border-radius:.3rem}
#verdict.block,#verdict.error{border-color:var(--red)}
#verdict.flag,#verdict.modify,#verdict.review{border-color:var(--amber)}
#verdict b{font-size:1.2rem;margin-right:.6rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}
td,th{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);
vertical-align:top}
.bar{position:relative;height:.8rem;min-width:8rem;background:var(--soft);border-radius:.2rem}
.bar i{position:absolute;inset:0 auto 0 0;background:#2457a6;border-radius:.2rem}
.bar u{position:absolute;top:-.15rem;bottom:-.15rem;width:2px;background:var(--amber)}
.bar u.block{background:var(--red)}
figure{display:inline-block;margin:.4rem 1rem .4rem 0}figure img{max-width:20rem;max-height:16rem}
pre{overflow:auto;max-height:24rem;background:var(--soft);padding:.7rem;font-size:.8rem}
)css";

constexpr std::string_view kBody = R"html(
<header><h1>Parapet guard</h1>
<p class="quiet" id="state">asking the server …</p></header>
<form id="form">
<textarea id="text" aria-label="Text" placeholder="Text to check"></textarea>
<div id="drop" tabindex="0" role="button" aria-label="Images">Drop images here, paste, or click</div>
<input type="file" id="file" accept="image/*" multiple hidden>
<div class="row"><button id="check">Check</button>
<button type="button" class="plain" id="clear">Clear</button>
<label>as <select id="side"><option value="input">input of a model</option>
<option value="output">output of a model</option></select></label>
<label>profile <input id="profile" size="10" placeholder="default"></label>
<label><input type="checkbox" id="explain" checked> explain</label>
<label id="keybox" hidden>API key <input type="password" id="key" autocomplete="off"></label>
</div></form>
<main id="result" aria-live="polite"></main>
)html";

constexpr std::string_view kScript = R"js('use strict';
const $ = id => document.getElementById(id);
const images = [];
function make(tag, text, cls) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (cls) node.className = cls;
  return node;
}
function readFile(file) {
  return new Promise((good, bad) => {
    const reader = new FileReader();
    reader.onload = () => good(reader.result);
    reader.onerror = () => bad(reader.error);
    reader.readAsDataURL(file);
  });
}
function drawImages() {
  const drop = $('drop');
  drop.replaceChildren();
  if (!images.length) drop.textContent = 'Drop images here, paste, or click';
  for (const image of images) {
    const node = make('img');
    node.src = image.url;
    node.alt = image.name;
    node.title = image.name;
    drop.append(node);
  }
}
async function addFiles(files) {
  for (const file of files)
    images.push({name: file.name || 'pasted image', url: await readFile(file)});
  drawImages();
}
function table(heads, rows) {
  const box = make('div', null, 'wide'), node = make('table'), top = make('tr');
  heads.forEach(head => top.append(make('th', head)));
  node.append(top);
  for (const cells of rows) {
    const row = make('tr');
    cells.forEach(cell => {
      const td = make('td');
      td.append(cell instanceof Node ? cell : String(cell));
      row.append(td);
    });
    node.append(row);
  }
  box.append(node);
  return box;
}
function bar(category) {
  const box = make('div', null, 'bar'), fill = make('i');
  fill.style.width = 100 * category.score + '%';
  box.append(fill);
  const mark = (at, cls, from) => {
    if (at === null) return;
    const line = make('u', null, cls);
    line.style.left = 100 * at + '%';
    line.title = cls + ' at ' + (from ? from + ', ' : '') + at;
    box.append(line);
  };
  mark(category.flag_at, 'flag', category.flag_from);
  mark(category.block_at, 'block', category.block_from);
  return box;
}
function section(title, node) {
  const out = $('result');
  out.append(make('h2', title));
  if (node) out.append(node);
}
function figure(source, caption) {
  const box = make('figure'), image = make('img');
  image.src = source;
  image.alt = caption;
  box.append(image, make('figcaption', caption, 'quiet'));
  return box;
}
function showVerdict(decision) {
  const state = decision.action === 'allow' && (decision.review || !decision.complete)
    ? 'review' : decision.action;
  const box = make('div', null, state);
  box.id = 'verdict';
  box.append(make('b', decision.action), ' ', decision.reason);
  const notes = [];
  if (decision.review) notes.push('undecided: for a person to look at');
  if (!decision.complete) notes.push('not everything could be scanned');
  if (decision.shadow_action !== decision.action)
    notes.push('with shadow rules enforced: ' + decision.shadow_action);
  if (notes.length) box.append(make('p', notes.join('; '), 'quiet'));
  $('result').append(box);
}
function showDetails(d) {
  section('Categories', table(
    ['category', 'score and thresholds', '', 'by', 'severity', 'action'],
    d.categories.map(c => [c.category, bar(c), c.score.toFixed(3),
      Object.entries(c.scores).map(([m, v]) => m + ' ' + v.toFixed(2)).join(', '),
      c.severity_name, c.action + (c.review ? ' (undecided)' : '')])));
  if (d.rules.length) section('Rules that matched', table(
    ['rule', 'kind', 'category', 'where', 'action'],
    d.rules.map(r => [r.rule, r.kind, r.category,
      r.label + (r.begin === undefined ? '' : ' ' + r.begin + '–' + r.end), r.action])));
  if (d.not_scanned.length) section('Not scanned', table(['part', 'level', 'reason', 'detail'],
    d.not_scanned.map(f => [f.label, f.level, f.reason, f.detail])));
  section('Parts', table(['part', 'state', 'looked at by', 'bytes'],
    d.parts.map(p => [p.label, p.state, p.scanned_by.join(', '), p.bytes])));
  for (const m of d.modified) {
    if (m.base64) section('Changed: ' + m.label + ' (' + m.how + ')',
      figure('data:' + m.media_type + ';base64,' + m.base64, m.detail || m.how));
    else if (m.text !== undefined) section('Changed: ' + m.label + ' (' + m.how + ')', make('p', m.text));
  }
  for (const e of d.explanations || [])
    section('Why ' + e.category + ': ' + e.label,
      e.png_base64 ? figure('data:image/png;base64,' + e.png_base64, e.kind) : null);
  section('Time', table(d.timings.map(t => t.level).concat('all'),
    [d.timings.map(t => t.milliseconds.toFixed(1) + ' ms').concat(d.milliseconds.toFixed(1) + ' ms')]));
  section('Versions', make('p', 'policy ' + d.policy.name + ' ' + d.policy.version + ' (' +
    d.policy.hash + '); ' + d.models.map(m => m.name + ' ' + m.version.slice(0, 16)).join(', '), 'quiet'));
  const all = make('details');
  all.append(make('summary', 'The whole decision as JSON'), make('pre', JSON.stringify(d, null, 2)));
  $('result').append(all);
}
function showError(message) {
  const box = make('div', null, 'error');
  box.id = 'verdict';
  box.append(make('b', 'error'), ' ', message);
  $('result').replaceChildren(box);
}
async function check() {
  const parts = images.map(i => ({type: 'image_url', image_url: {url: i.url}, label: i.name}));
  if ($('text').value) parts.unshift({type: 'text', text: $('text').value, label: 'text'});
  if (!parts.length) return showError('give a text or an image');
  const body = {parts, side: $('side').value, explain: $('explain').checked};
  if ($('profile').value) body.profile = $('profile').value;
  const headers = {'Content-Type': 'application/json'};
  if ($('key').value) headers.Authorization = 'Bearer ' + $('key').value;
  $('check').disabled = true;
  try {
    const reply = await fetch('/v1/guard', {method: 'POST', headers, body: JSON.stringify(body)});
    const value = await reply.json();
    if (reply.status === 401) $('keybox').hidden = false;
    if (!reply.ok) return showError(value.error.message);
    $('result').replaceChildren();
    showVerdict(value);
    showDetails(value);
  } catch (problem) {
    showError('the server did not answer: ' + problem.message);
  } finally {
    $('check').disabled = false;
  }
}
async function showState() {
  try {
    const reply = await fetch('/readyz');
    const value = await reply.json();
    $('state').textContent = value.ready ? 'ready' : 'not ready: ' + value.problems.join('; ');
    if (!value.ready) setTimeout(showState, 1000);
  } catch (problem) {
    $('state').textContent = 'the server does not answer';
  }
}
const drop = $('drop');
drop.onclick = () => $('file').click();
drop.onkeydown = e => { if (e.key === 'Enter' || e.key === ' ') $('file').click(); };
drop.ondragover = e => { e.preventDefault(); drop.classList.add('over'); };
drop.ondragleave = () => drop.classList.remove('over');
drop.ondrop = e => { e.preventDefault(); drop.classList.remove('over'); addFiles(e.dataTransfer.files); };
$('file').onchange = e => addFiles(e.target.files);
document.onpaste = e => { if (e.clipboardData.files.length) addFiles(e.clipboardData.files); };
$('clear').onclick = () => { images.length = 0; $('text').value = ''; drawImages(); $('result').replaceChildren(); };
$('form').onsubmit = e => { e.preventDefault(); check(); };
showState();
)js";

std::string hash_source(std::string_view text) {
  const std::string hex = sha256_hex(text);
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return "'sha256-" + base64_encode(bytes) + "'";
}

std::string assemble() {
  std::string page =
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>Parapet guard</title><link "
      "rel=\"icon\" href=\"data:,\"><style>";
  page += kStyle;
  page += "</style></head><body>";
  page += kBody;
  page += "<script>";
  page += kScript;
  return page + "</script></body></html>\n";
}

}  // namespace

const std::string& page_html() {
  static const std::string page = assemble();
  return page;
}

const std::string& page_security_policy() {
  // Bars are drawn by element.style, which 'unsafe-inline' is not needed for.
  static const std::string policy =
      "default-src 'none'; connect-src 'self'; img-src data: blob:; "
      "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
      "style-src " +
      hash_source(kStyle) + "; script-src " + hash_source(kScript);
  return policy;
}

HttpReply get_page(const Call& /*call*/) {
  HttpReply reply;
  reply.content_type = "text/html; charset=utf-8";
  reply.body = page_html();
  reply.headers.emplace_back("Content-Security-Policy", page_security_policy());
  reply.headers.emplace_back("Referrer-Policy", "no-referrer");
  return reply;
}

}  // namespace parapet::serving
