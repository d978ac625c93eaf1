"use strict";
// Whatever comes from the trace is set as text, never as markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const [SEQUENCE, AT, CAUSE_SEQUENCE, CAUSE, FROM, TO, NAME, LANE, BODY] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const LABELS = 190, AXIS = 26, LANE_HEIGHT = 36, REACH = 10, HITS = 200, SHOWN_EFFECTS = 100, BODY_CHARS = 200000;
  const messages = data.messages, lanes = data.lanes, count = messages.length;
  const stage = byId("stage"), canvas = byId("canvas"), marker = byId("marker"), details = byId("details"), search = byId("search");
  const pen = canvas.getContext("2d");

  // Time never goes back here, whatever a trace says.
  const times = new Float64Array(count), effects = Array.from({ length: count }, () => []);
  const inLane = lanes.map(() => []);
  messages.forEach((message, index) => {
    times[index] = Math.max(index > 0 ? times[index - 1] : -Infinity, message[AT]);
    inLane[message[LANE]].push(index);
    if (message[CAUSE] !== null) effects[message[CAUSE]].push(index);
  });
  const name = (message, field) => data.names[message[field]];
  const title = (index) => `#${messages[index][SEQUENCE]} ${name(messages[index], NAME)}`;
  const plural = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

  let byOrder = false, left = 0, zoom = 1, top = 0, width = 0, height = 0, chosen = -1, found = [], at = -1, hits = new Set();
  const where = (index) => byOrder ? index : times[index];
  const x = (index) => LABELS + (where(index) - left) * zoom;
  const y = (lane) => AXIS + lane * LANE_HEIGHT - top + LANE_HEIGHT / 2;
  const begin = () => count > 0 ? where(0) : 0;
  const end = () => count > 0 ? where(count - 1) : 1;
  const room = () => Math.max(50, width - LABELS - 24);

  function fit() {
    zoom = room() / Math.max(end() - begin(), byOrder ? 1 : 10);
    left = begin() - 8 / zoom;
    draw();
  }
  function zoomBy(factor, around = LABELS + room() / 2) {
    const fixed = left + (around - LABELS) / zoom;
    const least = room() / Math.max(end() - begin(), 1) / 4;
    zoom = Math.min(Math.max(zoom * factor, least), 200);
    left = fixed - (around - LABELS) / zoom;
    draw();
  }
  function move(dx, dy) {
    left -= dx / zoom;
    left = Math.min(Math.max(left, begin() - room() / zoom), end());
    top = Math.min(Math.max(top - dy, 0), Math.max(0, lanes.length * LANE_HEIGHT + AXIS - height + 10));
    draw();
  }

  // First of a lane's messages that is not left of a place.
  function firstFrom(indices, place) {
    let low = 0, high = indices.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (where(indices[middle]) < place) low = middle + 1; else high = middle;
    }
    return low;
  }
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  let colours = {};
  function readColours() {
    for (const name of ["back", "fore", "dim", "line", "band", "accent", "cause", "effect", "dot", "hit", "starting", "running", "paused", "terminating", "killing", "draining", "sweeping", "sealing", "kept"]) colours[name] = colour(name);
  }
  function span(us) {
    if (us === 0) return "0";
    const size = Math.abs(us);
    const [by, unit] = size < 1e3 ? [1, "µs"] : size < 1e6 ? [1e3, "ms"] : [1e6, "s"];
    return `${+(us / by).toFixed(3)} ${unit}`;
  }

  function draw() {
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.fillStyle = colours.back;
    pen.fillRect(0, 0, width, height);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const first = Math.max(0, Math.floor(top / LANE_HEIGHT)), last = Math.min(lanes.length, Math.ceil((top + height) / LANE_HEIGHT));
    for (let lane = first; lane < last; lane++) drawLane(lane);
    if (chosen >= 0) drawArrows();
    drawGaps();
    drawLabels(first, last);
    drawAxis();
    const seen = chosen >= 0 && x(chosen) >= LABELS && x(chosen) <= width && y(messages[chosen][LANE]) > AXIS;
    marker.hidden = !seen;
    if (seen) {
      marker.style.left = `${x(chosen)}px`;
      marker.style.top = `${y(messages[chosen][LANE]) + 3}px`;
    }
  }
  function drawLane(lane) {
    const middle = y(lane), indices = inLane[lane];
    if (lane % 2 === 1) {
      pen.fillStyle = colours.band;
      pen.fillRect(0, middle - LANE_HEIGHT / 2, width, LANE_HEIGHT);
    }
    for (const [phase, from, to] of lanes[lane].phases) {
      const a = Math.max(x(from), LABELS - 2), b = Math.min(to === null ? x(count - 1) + 6 : x(to), width + 2);
      if (b < LABELS || a > width) continue;
      pen.fillStyle = colours[phase] || colours.line;
      pen.fillRect(a, middle - 13, Math.max(b - a, 1), 26);
      if (b - a > 60) {
        pen.fillStyle = colours.dim;
        pen.fillText(phase, a + 4, middle - 7);
      }
    }
    let before = -10;
    for (let at = firstFrom(indices, left - 4 / zoom); at < indices.length; at++) {
      const place = x(indices[at]);
      if (place > width) break;
      const hit = hits.has(indices[at]);
      // Of those that would lie on each other one is drawn.
      if (place - before < 0.75 && !hit) continue;
      before = place;
      pen.fillStyle = hit ? colours.hit : messages[indices[at]][CAUSE_SEQUENCE] === null ? colours.accent : colours.dot;
      pen.beginPath();
      pen.arc(place, middle + 3, hit ? 5 : 3.2, 0, 7);
      pen.fill();
    }
  }
  function drawArrows() {
    const from = chosen;
    const arrow = (a, b, style) => {
      const [xa, ya, xb, yb] = [x(a), y(messages[a][LANE]) + 3, x(b), y(messages[b][LANE]) + 3];
      pen.strokeStyle = pen.fillStyle = style;
      pen.lineWidth = 1.4;
      pen.beginPath();
      pen.moveTo(xa, ya);
      const bow = ya === yb ? -24 : 0;
      pen.quadraticCurveTo((xa + xb) / 2, (ya + yb) / 2 + bow, xb, yb);
      pen.stroke();
      pen.beginPath();
      pen.arc(xb, yb, 4, 0, 7);
      pen.fill();
    };
    if (messages[from][CAUSE] !== null) arrow(messages[from][CAUSE], from, colours.cause);
    for (const effect of effects[from].slice(0, SHOWN_EFFECTS)) arrow(from, effect, colours.effect);
  }
  function drawGaps() {
    pen.strokeStyle = colours.cause;
    pen.setLineDash([4, 4]);
    for (const [before] of data.gaps) {
      if (count === 0) break;
      const place = x(Math.min(before, count - 1)) + (before >= count ? 6 : -3);
      if (place < LABELS || place > width) continue;
      pen.beginPath();
      pen.moveTo(place, AXIS);
      pen.lineTo(place, height);
      pen.stroke();
    }
    pen.setLineDash([]);
  }
  function clipped(text, limit) {
    if (pen.measureText(text).width <= limit) return text;
    let keep = Math.min(text.length, 60);
    while (keep > 0 && pen.measureText(text.slice(0, keep) + "…").width > limit) keep--;
    return text.slice(0, keep) + "…";
  }
  function drawLabels(first, last) {
    for (let lane = first; lane < last; lane++) {
      const middle = y(lane);
      pen.fillStyle = lane % 2 === 1 ? colours.band : colours.back;
      pen.fillRect(0, middle - LANE_HEIGHT / 2, LABELS - 8, LANE_HEIGHT);
      pen.fillStyle = colours.fore;
      pen.fillText(clipped(lanes[lane].name, LABELS - 20), 10, middle - 7);
      pen.fillStyle = colours.dim;
      pen.fillText(clipped(lanes[lane].command, LABELS - 20), 10, middle + 8);
    }
  }
  function drawAxis() {
    pen.fillStyle = colours.back;
    pen.fillRect(0, 0, width, AXIS);
    pen.strokeStyle = colours.line;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(0, AXIS - 0.5);
    pen.lineTo(width, AXIS - 0.5);
    pen.stroke();
    pen.fillStyle = colours.dim;
    let step = 10 ** Math.ceil(Math.log10(90 / zoom));
    if (step / 5 * zoom > 80) step /= 5; else if (step / 2 * zoom > 80) step /= 2;
    if (byOrder) step = Math.max(1, Math.round(step));
    for (let mark = Math.ceil(left / step) * step, drawn = 0; drawn < 200; mark += step, drawn++) {
      const place = LABELS + (mark - left) * zoom;
      if (place > width) break;
      if (place < LABELS || mark < 0) continue;
      const text = byOrder ? (messages[mark] ? `#${messages[mark][SEQUENCE]}` : "") : span(mark);
      pen.fillText(text, place + 3, AXIS / 2);
      pen.fillRect(place, AXIS - 7, 1, 7);
    }
  }

  function element(kind, text, className) {
    const made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }
  function link(index, className) {
    const item = element("li"), message = messages[index];
    const button = element("button", `${title(index)}  ${name(message, FROM)} → ${name(message, TO)}`, className);
    button.dataset.sequence = message[SEQUENCE];
    button.addEventListener("click", () => choose(index, true));
    item.append(button);
    return item;
  }
  function list(heading, className, indices) {
    details.append(element("h2", heading));
    const items = element("ol", undefined, `${className}s`);
    const show = (some) => some.forEach((index) => items.append(link(index, className)));
    show(indices.slice(0, SHOWN_EFFECTS));
    if (indices.length > SHOWN_EFFECTS) {
      const item = element("li"), more = element("button", `Show ${indices.length - SHOWN_EFFECTS} more`);
      more.addEventListener("click", () => { item.remove(); show(indices.slice(SHOWN_EFFECTS)); });
      item.append(more);
      items.append(item);
    }
    details.append(items);
  }
  function choose(index, bring) {
    chosen = index;
    details.replaceChildren();
    if (index < 0) {
      details.append(element("p", "Choose a message: click it, search for it, or press →."));
      return draw();
    }
    const message = messages[index], lane = lanes[message[LANE]];
    const heading = element("h2", title(index));
    heading.id = "chosen";
    const facts = element("dl");
    for (const [what, text] of [["when", `${span(message[AT])} after the start`], ["from", name(message, FROM)], ["to", name(message, TO)], ["lane", `${lane.name} ${lane.command}`]]) facts.append(element("dt", what), element("dd", text));
    let body = JSON.stringify(message[BODY], null, 2);
    if (body.length > BODY_CHARS) body = `${body.slice(0, BODY_CHARS)}\n… ${body.length - BODY_CHARS} more characters`;
    const fields = element("pre", body);
    fields.id = "fields";
    details.append(heading, facts, fields);
    if (message[CAUSE] !== null) list("Cause", "cause", [message[CAUSE]]);
    else details.append(element("h2", message[CAUSE_SEQUENCE] === null ? "An input: it has no cause" : `Its cause, #${message[CAUSE_SEQUENCE]}, is not in this trace`));
    if (effects[index].length > 0) list(plural(effects[index].length, "effect"), "effect", effects[index]);
    if (bring) show(index);
    draw();
  }
  // Into the middle, unless it is to be seen.
  function show(index) {
    const place = x(index), middle = y(messages[index][LANE]);
    if (place < LABELS + 20 || place > width - 20) left = where(index) - room() / 2 / zoom;
    if (middle < AXIS + LANE_HEIGHT / 2 || middle > height - LANE_HEIGHT / 2) {
      top = Math.max(0, messages[index][LANE] * LANE_HEIGHT - (height - AXIS) / 2);
    }
  }
  function near(px, py) {
    const lane = Math.floor((py - AXIS + top) / LANE_HEIGHT);
    if (py < AXIS || px < LABELS || lane < 0 || lane >= lanes.length) return -1;
    const indices = inLane[lane], place = left + (px - LABELS) / zoom;
    const close = [];
    for (let at = firstFrom(indices, place - REACH / zoom); at < indices.length; at++) {
      const distance = Math.abs(x(indices[at]) - px);
      if (x(indices[at]) - px > REACH) break;
      close.push([distance, indices[at]]);
    }
    if (close.length === 0) return -1;
    const nearest = close.reduce((best, one) => Math.min(best, one[0]), Infinity);
    // A click on those that lie on each other takes one after the other.
    const same = close.filter(([distance]) => distance < nearest + 1).map(([, index]) => index);
    return same[(same.indexOf(chosen) + 1) % same.length];
  }

  let haystack = null, lookedFor = "";
  function look() {
    lookedFor = search.value;
    const words = lookedFor.trim().toLowerCase();
    haystack ??= messages.map((message, index) => `${title(index)} ${name(message, FROM)} ${name(message, TO)} ${JSON.stringify(message[BODY])}`.toLowerCase());
    // As it stands in JSON, so that quotes and backslashes are found too.
    const inJson = JSON.stringify(words).slice(1, -1);
    found = words === "" ? [] : haystack.flatMap((text, index) => text.includes(words) || text.includes(inJson) ? [index] : []);
    hits = new Set(found);
    at = -1;
    byId("found").hidden = words === "";
    byId("count").textContent = `${plural(found.length, "message")} found${found.length > HITS ? `, the first ${HITS}:` : ""}`;
    byId("hits").replaceChildren(...found.slice(0, HITS).map((index) => link(index)));
    draw();
  }
  function nextHit(back) {
    if (found.length === 0) return;
    at = (at + (back ? -1 : 1) + found.length) % found.length;
    choose(found[at], true);
    for (const button of byId("hits").querySelectorAll("button")) button.setAttribute("aria-current", String(button.dataset.sequence === String(messages[chosen][SEQUENCE])));
  }
  let later = 0;
  search.addEventListener("input", () => { clearTimeout(later); later = setTimeout(look, 80); });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      clearTimeout(later);
      // The next key may come before what was typed was looked for.
      if (search.value !== lookedFor) look();
      nextHit(event.shiftKey);
    } else if (event.key === "Escape") { search.value = ""; look(); stage.focus(); }
    event.stopPropagation();
  });

  function step(by) {
    const lane = chosen < 0 ? inLane.findIndex((indices) => indices.length > 0) : messages[chosen][LANE];
    if (lane < 0) return;
    const indices = inLane[lane];
    const to = chosen < 0 ? 0 : indices.indexOf(chosen) + by;
    if (to >= 0 && to < indices.length) choose(indices[to], true);
  }
  function stepLane(by) {
    if (chosen < 0) return step(0);
    for (let lane = messages[chosen][LANE] + by; lane >= 0 && lane < lanes.length; lane += by) {
      const indices = inLane[lane];
      if (indices.length > 0) return choose(indices[Math.min(firstFrom(indices, where(chosen)), indices.length - 1)], true);
    }
  }
  function toggleScale() {
    byOrder = !byOrder;
    byId("scale").setAttribute("aria-pressed", String(byOrder));
    fit();
  }
  function toggleKeys() {
    byId("keys").hidden = !byId("keys").hidden;
    byId("help").setAttribute("aria-expanded", String(!byId("keys").hidden));
  }
  const keys = {
    ArrowRight: () => step(1), ArrowLeft: () => step(-1), ArrowDown: () => stepLane(1), ArrowUp: () => stepLane(-1),
    "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), "0": fit, o: toggleScale, "?": toggleKeys,
    c: () => { if (chosen >= 0 && messages[chosen][CAUSE] !== null) choose(messages[chosen][CAUSE], true); },
    e: () => { if (chosen >= 0 && effects[chosen].length > 0) choose(effects[chosen][0], true); },
    "/": () => { search.focus(); search.select(); }, Escape: () => choose(-1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  byId("in").addEventListener("click", () => zoomBy(1.5));
  byId("out").addEventListener("click", () => zoomBy(1 / 1.5));
  byId("fit").addEventListener("click", fit);
  byId("scale").addEventListener("click", toggleScale);
  byId("help").addEventListener("click", toggleKeys);
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey) move(0, -(event.deltaY || event.deltaX));
    else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) move(-event.deltaX, 0);
    else zoomBy(Math.exp(-event.deltaY / 400), Math.max(event.offsetX, LABELS));
  }, { passive: false });
  let held = null;
  stage.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX, y: event.clientY, far: 0 };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (held === null) {
      const box = stage.getBoundingClientRect();
      stage.style.cursor = near(event.clientX - box.left, event.clientY - box.top) >= 0 ? "pointer" : "";
      return;
    }
    const dx = event.clientX - held.x, dy = event.clientY - held.y;
    held = { x: event.clientX, y: event.clientY, far: held.far + Math.abs(dx) + Math.abs(dy) };
    if (held.far > 3) move(dx, dy);
  });
  stage.addEventListener("pointerup", (event) => {
    const box = stage.getBoundingClientRect();
    if (held !== null && held.far <= 3) choose(near(event.clientX - box.left, event.clientY - box.top));
    held = null;
  });
  stage.addEventListener("pointercancel", () => { held = null; });

  function resize() {
    const all = width === 0;
    width = stage.clientWidth;
    height = stage.clientHeight;
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    if (all) fit(); else draw();
  }
  const gone = [];
  if (data.missing > 0) gone.push(`${plural(data.missing, "message")} missing (dashed lines)`);
  if (data.cut > 0) gone.push("cut off at its end");
  byId("title").textContent = `Messages of host ${data.host}`;
  byId("about").textContent = [`since ${data.started}`, plural(count, "message"), plural(lanes.length - 1, "command"), ...gone].join(", ");
  document.title = `ostler: messages of host ${data.host}`;
  readColours();
  resize();
  new ResizeObserver(resize).observe(stage);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });
  document.documentElement.dataset.readyMs = String(Math.round(performance.now()));
})();
