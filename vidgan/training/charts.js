// What the pages of a run share: figures in words, and charts over the images seen.
const find = (id) => document.getElementById(id);
const short = (n) => (n >= 1e6 ? (n / 1e6).toFixed(2) + " M" : n >= 1e4 ? Math.round(n / 1e3) + " k" : String(Math.round(n)));
const figure = (v) => (Math.abs(v) >= 100 ? v.toFixed(0) : v.toPrecision(3));

// Line charts. lines: [name, colour, [[x, y], ...]]; level: a dashed line with a name; marks: [x, words, class] of what happened.
function chart(id, title, note, lines, { top, level, marks = [] } = {}) {
  const W = 560, H = 250, left = 48, right = 12, bottom = 26, above = 10;
  lines = lines.filter((line) => line[2].length);
  const points = lines.flatMap((line) => line[2]);
  const section = find(id);
  if (section.dataset.title !== title) section.innerHTML = `<h2>${title}</h2><p>${note}</p><div class="chart"></div>`;
  section.dataset.title = title;
  const below = section.querySelector(".chart");
  if (!points.length) return void (below.innerHTML = "<p>Nothing measured yet.</p>");
  const sorted = points.map((p) => p[1]).sort((a, b) => a - b);
  const high = top ?? Math.max(sorted[Math.floor(0.99 * (sorted.length - 1))] * 1.08, level ? level[1] * 1.2 : 0, 1e-9);
  const low = Math.min(0, sorted[0]);
  const far = Math.max(...points.map((p) => p[0]), 1);
  const x = (v) => left + (v / far) * (W - left - right);
  const y = (v) => H - bottom - ((Math.min(v, high) - low) / (high - low)) * (H - bottom - above);
  const ticks = (from, to) => {
    const raw = (to - from) / 4, unit = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((f) => f * unit).find((s) => s >= raw);
    return Array.from({ length: 9 }, (_, i) => Math.ceil(from / step) * step + i * step).filter((t) => t <= to * 1.0001);
  };
  let svg = "";
  for (const t of ticks(low, high)) svg += `<line class="grid" x1="${left}" x2="${W - right}" y1="${y(t)}" y2="${y(t)}"/><text x="${left - 6}" y="${y(t) + 4}" text-anchor="end">${+t.toPrecision(3)}</text>`;
  for (const t of ticks(0, far)) svg += `<text x="${x(t)}" y="${H - 6}" text-anchor="middle">${t ? short(t) : 0}</text>`;
  if (level) svg += `<line x1="${left}" x2="${W - right}" y1="${y(level[1])}" y2="${y(level[1])}" stroke="var(--c)" stroke-width="2" stroke-dasharray="5 5"/>`;
  for (const [, colour, line] of lines) {
    svg += `<path stroke="var(${colour})" d="M${line.map((p) => x(p[0]).toFixed(1) + " " + y(p[1]).toFixed(1)).join("L")}"/>`;
    if (line.length < 40) for (const p of line) svg += `<circle r="3.5" fill="var(${colour})" cx="${x(p[0])}" cy="${y(p[1])}"/>`;
  }
  svg += `<line class="grid" id="${id}-at" y1="${above}" y2="${H - bottom}" x1="-9" x2="-9"/>`;
  for (const [at, , kind] of marks) {
    const place = x(Math.min(at, far));
    svg += `<g class="${kind}"><line x1="${place}" x2="${place}" y1="${above}" y2="${H - bottom}"/><circle r="5" cx="${place}" cy="${above}"><title></title></circle></g>`;
  }
  below.innerHTML = `<svg viewBox="0 0 ${W} ${H}" role="img" aria-label="${title}">${svg}</svg><div class="key"></div>`;
  below.querySelectorAll("title").forEach((title, i) => (title.textContent = `${marks[i][1]}, at ${short(marks[i][0])} images`));
  const picture = section.querySelector("svg"), key = section.querySelector(".key");
  const show = (at) => {
    const near = (line) => line.reduce((best, p) => (Math.abs(p[0] - at) < Math.abs(best[0] - at) ? p : best));
    const spot = near(points)[0];
    find(`${id}-at`).setAttribute("x1", x(spot));
    find(`${id}-at`).setAttribute("x2", x(spot));
    const entries = lines.map(([name, colour, line]) => `<span><i style="background:var(${colour})"></i>${name} ${figure(near(line)[1])}</span>`);
    if (level) entries.push(`<span><i style="background:var(--c)"></i>${level[0]} ${figure(level[1])}</span>`);
    key.innerHTML = entries.join("") + `<span>at ${short(spot)} images</span>`;
  };
  picture.onpointermove = (event) => {
    const box = picture.getBoundingClientRect();
    show(((((event.clientX - box.left) / box.width) * W - left) / (W - left - right)) * far);
  };
  picture.onpointerleave = () => show(far);
  show(far);
}
