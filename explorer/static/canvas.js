// The ECG on paper: drawing, pan and zoom, calipers. Python says where each lead lies (explorer/paper.py);
// `place`, `locate` and the readings below mirror its functions, and one table of cases tests both.

const COLORS = {
  paper: "#fff8f6", thin: "#f9dedb", thick: "#eeb3ae", ink: "#111111", gray: "#555555",
  caliper: "#0b5cad", active: "#b3261e", march: "#7aa7d6", warning: "rgba(245,166,35,0.30)", mark: "#1b7f3b",
  P: "rgba(27,127,59,0.20)", QRS: "rgba(11,92,173,0.20)", T: "rgba(150,60,180,0.20)",
  match: "rgba(74,47,201,0.14)",
};
const CSS_PIXELS_PER_MM = 96 / 25.4;
const EXPONENTS = { Bazett: 1 / 2, Fridericia: 1 / 3 };
const NEAR_PIXELS = 8;

export function place(paper, segment, sample, millivolts) {
  const x = segment.x + ((sample - segment.start) / paper.sampling_rate) * paper.speed;
  return [x, segment.y - segment.sign * (millivolts - segment.level) * paper.gain];
}

export function locate(paper, segment, x, y) {
  const sample = segment.start + ((x - segment.x) / paper.speed) * paper.sampling_rate;
  return [sample, segment.level + (segment.sign * (segment.y - y)) / paper.gain];
}

export function interval(first, second, samplingRate) {
  return (Math.abs(second - first) / samplingRate) * 1000;
}

export function beatsPerMinute(milliseconds) {
  return milliseconds === 0 ? Infinity : 60000 / Math.abs(milliseconds);
}

export function correctedQt(qt, rr, formula) {
  return qt / (rr / 1000) ** EXPONENTS[formula];
}

// Samples at which a time caliper is repeated over the record.
export function march(first, second, samples) {
  const step = Math.abs(second - first);
  if (step < 1) return [];
  const places = [];
  for (let at = Math.max(first, second) + step; at < samples; at += step) places.push(at);
  for (let at = Math.min(first, second) - step; at >= 0; at -= step) places.unshift(at);
  return places;
}

export function describe(caliper, calipers, data) {
  if (caliper.kind === "voltage") {
    const lead = data.paper.segments[caliper.segment].label;
    return `${lead}: ${(caliper.b - caliper.a).toFixed(3)} mV`;
  }
  const ms = interval(caliper.a, caliper.b, data.paper.sampling_rate);
  let text = `${ms.toFixed(0)} ms`;
  if (ms > 0) text += `, ${beatsPerMinute(ms).toFixed(0)} bpm`;
  if (caliper.rr) return `RR ${text}`;
  const marked = calipers.find((other) => other.rr);
  const rr = marked ? interval(marked.a, marked.b, data.paper.sampling_rate) : data.rr_ms;
  if (rr && ms > 0 && ms < rr) {
    const [bazett, fridericia] = ["Bazett", "Fridericia"].map((name) => correctedQt(ms, rr, name).toFixed(0));
    text += `; as QT with RR ${rr.toFixed(0)} ms${marked ? "" : " of the R-peaks"}: `
      + `QTc ${bazett} ms (Bazett), ${fridericia} ms (Fridericia)`;
  }
  return text;
}

function decode(text, Type) {
  return new Type(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

const HELP = [
  ["T / V", "new time / voltage caliper"],
  ["← → ↑ ↓", "move the active line by one sample / 0.01 mV (Shift: ten)"],
  ["Space", "the other line of the caliper"],
  ["N", "next caliper"],
  ["M", "march the time caliper over the record"],
  ["R", "take the time caliper as the RR interval of QTc"],
  ["L", "lock or unlock the caliper"],
  ["Delete", "remove the caliper"],
  ["+ / − / 0", "zoom in / out / whole page"],
  ["Page ↑ ↓, Home, End", "scroll"],
  ["?", "this help"],
];
const BUTTONS = [
  ["time", "Time caliper", "T"], ["voltage", "Voltage caliper", "V"], ["march", "March", "M"],
  ["rr", "As RR", "R"], ["lock", "Lock", "L"], ["remove", "Remove", "Delete"], ["in", "Zoom in", "+"],
  ["out", "Zoom out", "-"], ["fit", "Whole page", "0"], ["help", "Help", "?"],
];

class Sheet {
  constructor(root, report) {
    this.root = root;
    this.report = report;
    this.calipers = [];
    this.active = -1;
    this.handle = "b";
    this.drag = null;
    this.hover = null;
    this.canvas = root.querySelector("canvas");
    this.readout = root.querySelector(".readout");
    this.position = root.querySelector(".position");
    this.help = root.querySelector(".help");
    this.build();
    this.listen();
  }

  build() {
    const bar = this.root.querySelector(".tools");
    for (const [action, label, key] of BUTTONS) {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.action = action;
      button.textContent = label;
      button.title = `${label} (${key})`;
      button.addEventListener("click", () => { this.act(action); this.canvas.focus(); });
      bar.append(button);
    }
    for (const [keys, meaning] of HELP) {
      const row = document.createElement("div");
      const key = document.createElement("kbd");
      key.textContent = keys;
      row.append(key, ` ${meaning}`);
      this.help.append(row);
    }
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", (event) => this.release(event));
    canvas.addEventListener("pointerleave", () => { this.hover = null; this.draw(); });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoomAt(event.deltaY < 0 ? 1.15 : 1 / 1.15, ...this.toPaper(event));
      this.changed();
    }, { passive: false });
    this.observer = new ResizeObserver(() => { if (this.data) { this.resize(); this.draw(); } });
    this.observer.observe(this.root);
  }

  show(data) {
    const begun = performance.now();
    const restored = JSON.stringify(data.calipers) !== JSON.stringify(this.data?.calipers);
    const other = !this.data || data.record !== this.data.record;
    this.data = data;
    this.paper = data.paper;
    if (data.signals !== this.encoded) {
      this.encoded = data.signals;
      this.microvolts = decode(data.signals, Int32Array);
    }
    this.heat = data.heat ? decode(data.heat, Float32Array) : null;
    this.samples = this.microvolts.length / data.leads.length;
    if (other || restored) {
      this.calipers = (data.calipers || []).filter((caliper) => this.fits(caliper)).map((c) => ({ ...c }));
      this.active = this.calipers.length - 1;
    }
    this.calipers = this.calipers.filter((caliper) => this.fits(caliper));
    this.active = Math.min(this.active, this.calipers.length - 1);
    this.canvas.setAttribute("aria-label", `${data.title} ${this.paper.speed} mm/s, ${this.paper.gain} mm/mV. `
      + "Press question mark for the keys.");
    this.resize();
    if (other || this.zoom === undefined) this.view(data.view);
    this.draw();
    this.canvas.dataset.paintMs = (performance.now() - begun).toFixed(1);
  }

  fits(caliper) {
    const valid = Number.isFinite(caliper.a) && Number.isFinite(caliper.b);
    return valid && (caliper.kind === "time" || caliper.segment in this.paper.segments);
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.pixels = CSS_PIXELS_PER_MM * (this.data.calibration || 1);
    const width = Math.max(this.root.clientWidth, 200);
    const whole = width / (this.paper.width * this.pixels);
    this.smallest = Math.min(1, whole);
    const height = Math.min(Math.max(this.paper.height * this.pixels * this.smallest, 120), 1000);
    this.size = [width, height];
    this.canvas.style.height = `${height}px`;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.ratio = ratio;
    if (this.zoom !== undefined) this.clamp();
  }

  view(view) {
    this.zoom = view?.zoom ?? this.smallest;
    this.left = view?.left ?? 0;
    this.top = view?.top ?? 0;
    this.clamp();
  }

  clamp() {
    this.zoom = Math.min(Math.max(this.zoom, this.smallest), 12);
    const [width, height] = this.size.map((size) => size / (this.pixels * this.zoom));
    this.left = Math.min(Math.max(this.left, 0), Math.max(this.paper.width - width, 0));
    this.top = Math.min(Math.max(this.top, 0), Math.max(this.paper.height - height, 0));
  }

  zoomAt(factor, x, y) {
    const before = this.zoom;
    this.zoom *= factor;
    this.zoom = Math.min(Math.max(this.zoom, this.smallest), 12);
    this.left = x - ((x - this.left) * before) / this.zoom;
    this.top = y - ((y - this.top) * before) / this.zoom;
    this.clamp();
    this.draw();
  }

  scale() { return this.pixels * this.zoom; }

  toPaper(event) {
    const box = this.canvas.getBoundingClientRect();
    return [this.left + (event.clientX - box.left) / this.scale(), this.top + (event.clientY - box.top) / this.scale()];
  }

  // One scale of time for the page: columns and rhythm strips share it.
  sampleAt(x) {
    const sample = Math.round(locate(this.paper, this.origin(), x, 0)[0]);
    return Math.min(Math.max(sample, 0), this.samples - 1);
  }

  origin() { return this.paper.segments.find((segment) => segment.start === 0); }

  xOf(sample) { return place(this.paper, this.origin(), sample, 0)[0]; }

  segmentAt(x, y) {
    let best = -1, distance = Infinity;
    this.paper.segments.forEach((segment, index) => {
      const end = place(this.paper, segment, segment.stop, 0)[0];
      if (x < segment.x - 1 || x > end + 1) return;
      if (Math.abs(segment.y - y) < distance) { distance = Math.abs(segment.y - y); best = index; }
    });
    return best;
  }

  add(kind) {
    const width = this.size[0] / this.scale();
    const middle = this.hover ? this.hover[0] : this.left + width / 2;
    const y = this.hover ? this.hover[1] : this.paper.segments[0].y;
    if (kind === "time") {
      const a = this.sampleAt(middle - 5), b = this.sampleAt(middle + 5);
      this.calipers.push({ kind, a, b, locked: false, march: false, rr: false });
    } else {
      const segment = Math.max(this.segmentAt(middle, y), 0);
      const level = this.paper.segments[segment].level;
      this.calipers.push({ kind, segment, a: level, b: level + 1, locked: false });
    }
    this.active = this.calipers.length - 1;
    this.handle = "b";
  }

  act(action) {
    const caliper = this.calipers[this.active];
    if (action === "time" || action === "voltage") this.add(action);
    else if (action === "help") { this.help.hidden = !this.help.hidden; return; }
    else if (action === "fit") this.view(null);
    else if (action === "in" || action === "out") {
      const [width, height] = this.size.map((size) => size / this.scale());
      this.zoomAt(action === "in" ? 1.25 : 0.8, this.left + width / 2, this.top + height / 2);
    } else if (!caliper) return;
    else if (action === "remove") {
      this.calipers.splice(this.active, 1);
      this.active = this.calipers.length - 1;
    } else if (action === "lock") caliper.locked = !caliper.locked;
    else if (action === "march" && caliper.kind === "time") caliper.march = !caliper.march;
    else if (action === "rr" && caliper.kind === "time") {
      const rr = !caliper.rr;
      this.calipers.forEach((other) => { if (other.kind === "time") other.rr = false; });
      caliper.rr = rr;
    }
    this.draw();
    this.changed();
  }

  shift(caliper, handles, steps) {
    for (const handle of handles) {
      if (caliper.kind === "time") {
        caliper[handle] = Math.min(Math.max(caliper[handle] + steps, 0), this.samples - 1);
      } else caliper[handle] = Math.round((caliper[handle] + steps / 100) * 1000) / 1000;
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const letters = {
      t: "time", v: "voltage", m: "march", r: "rr", l: "lock", Delete: "remove", Backspace: "remove",
      "+": "in", "=": "in", "-": "out", 0: "fit", "?": "help",
    };
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const caliper = this.calipers[this.active];
    const page = this.size.map((size) => (0.8 * size) / this.scale());
    if (name in letters) this.act(letters[name]);
    else if (name === "Escape") { this.help.hidden = true; this.active = -1; this.draw(); }
    else if (name === " " && caliper) { this.handle = this.handle === "a" ? "b" : "a"; this.draw(); }
    else if (name === "n" && this.calipers.length) {
      this.active = (this.active + 1) % this.calipers.length;
      this.draw();
    } else if (name.startsWith("Arrow")) this.arrow(name, event.shiftKey ? 10 : 1, caliper);
    else if (name === "PageDown" || name === "PageUp") this.scroll(0, (name === "PageDown" ? 1 : -1) * page[1]);
    else if (name === "Home" || name === "End") this.scroll((name === "End" ? 1 : -1) * this.paper.width, 0);
    else return;
    event.preventDefault();
  }

  arrow(name, count, caliper) {
    const forward = name === "ArrowRight" || name === "ArrowUp";
    const along = name === "ArrowLeft" || name === "ArrowRight" ? "time" : "voltage";
    if (!caliper) {
      const step = (name === "ArrowLeft" || name === "ArrowUp" ? -10 : 10) / this.zoom;
      this.scroll(along === "time" ? step : 0, along === "time" ? 0 : step);
    } else if (caliper.kind === along && !caliper.locked) {
      const sign = along === "voltage" ? this.paper.segments[caliper.segment].sign : 1;
      this.shift(caliper, [this.handle], (forward ? count : -count) * sign);
      this.draw();
      this.changed();
    }
  }

  scroll(x, y) {
    this.left += x;
    this.top += y;
    this.clamp();
    this.draw();
    this.changed();
  }

  // The caliper line near a point: [index, "a" | "b" | "both"].
  hit(x, y) {
    const near = NEAR_PIXELS / this.scale();
    for (let index = this.calipers.length - 1; index >= 0; index -= 1) {
      const caliper = this.calipers[index];
      const lines = { a: this.lineOf(caliper, caliper.a), b: this.lineOf(caliper, caliper.b) };
      if (caliper.kind === "voltage") {
        const segment = this.paper.segments[caliper.segment];
        const end = place(this.paper, segment, segment.stop, 0)[0];
        if (x < segment.x || x > end) continue;
      }
      const along = caliper.kind === "time" ? x : y;
      const order = this.handle === "a" ? ["a", "b"] : ["b", "a"];
      for (const handle of order) if (Math.abs(along - lines[handle]) <= near) return [index, handle];
      const bar = caliper.kind === "time" ? Math.abs(y - this.barOf(caliper)) : Math.abs(x - this.barOf(caliper));
      if (bar <= near && along > Math.min(lines.a, lines.b) && along < Math.max(lines.a, lines.b)) {
        return [index, "both"];
      }
    }
    return null;
  }

  lineOf(caliper, value) {
    if (caliper.kind === "time") return this.xOf(value);
    return place(this.paper, this.paper.segments[caliper.segment], 0, value)[1];
  }

  // Where the bar between the two lines lies.
  barOf(caliper) {
    if (caliper.kind === "time") return this.top + 6 / this.zoom + 5 * this.calipers.indexOf(caliper) / this.zoom;
    return this.paper.segments[caliper.segment].x + 6;
  }

  press(event) {
    if (event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus();
    const [x, y] = this.toPaper(event);
    const found = this.hit(x, y);
    if (found) {
      [this.active] = found;
      if (found[1] !== "both") [, this.handle] = found;
      if (!this.calipers[this.active].locked) this.drag = { part: found[1], x, y };
    } else this.drag = { part: "page", px: event.clientX, py: event.clientY };
    this.draw();
  }

  move(event) {
    const [x, y] = this.toPaper(event);
    this.hover = [x, y];
    const drag = this.drag;
    if (drag?.part === "page") {
      this.left -= (event.clientX - drag.px) / this.scale();
      this.top -= (event.clientY - drag.py) / this.scale();
      Object.assign(drag, { px: event.clientX, py: event.clientY, moved: true });
      this.clamp();
    } else if (drag) {
      const caliper = this.calipers[this.active];
      const value = (px, py) => (caliper.kind === "time" ? this.sampleAt(px)
        : Math.round(locate(this.paper, this.paper.segments[caliper.segment], 0, py)[1] * 1000) / 1000);
      if (drag.part === "both") {
        const step = value(x, y) - value(drag.x, drag.y);
        this.shift(caliper, ["a", "b"], caliper.kind === "time" ? step : step * 100);
        Object.assign(drag, { x, y });
      } else caliper[drag.part] = value(x, y);
      drag.moved = true;
    }
    this.draw();
  }

  release(event) {
    if (this.canvas.hasPointerCapture(event.pointerId)) this.canvas.releasePointerCapture(event.pointerId);
    const moved = this.drag?.moved;
    this.drag = null;
    if (moved) this.changed();
  }

  // Python hears of a change when it is finished, not of every movement.
  changed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.report({
      calipers: this.calipers.map((caliper) => ({ ...caliper })),
      view: { zoom: this.zoom, left: this.left, top: this.top },
    }), 250);
  }

  draw() {
    const context = this.canvas.getContext("2d");
    const scale = this.scale() * this.ratio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(scale, 0, 0, scale, -this.left * scale, -this.top * scale);
    context.fillStyle = COLORS.paper;
    context.fillRect(0, 0, this.paper.width, this.paper.height);
    this.grid(context);
    this.paper.segments.forEach((segment) => this.trace(context, segment));
    this.calipers.forEach((caliper, index) => this.caliper(context, caliper, index === this.active));
    this.say();
  }

  grid(context) {
    const { width, height } = this.paper;
    for (const [step, color] of [[1, COLORS.thin], [5, COLORS.thick]]) {
      if (step === 1 && this.scale() < 2) continue; // finer than two pixels it is only a tint
      context.strokeStyle = color;
      context.lineWidth = (step === 1 ? 0.6 : 1) / this.scale();
      context.beginPath();
      for (let x = 0; x <= width; x += step) { context.moveTo(x, 0); context.lineTo(x, height); }
      for (let y = 0; y <= height; y += step) { context.moveTo(0, y); context.lineTo(width, y); }
      context.stroke();
    }
  }

  trace(context, segment) {
    const { paper, data } = this;
    const lead = data.leads.indexOf(segment.lead);
    const row = this.microvolts.subarray(lead * this.samples, (lead + 1) * this.samples);
    this.spans(context, segment);
    if (this.heat) this.ribbon(context, segment, row, lead);
    context.strokeStyle = COLORS.ink;
    context.lineWidth = Math.max(0.25, 1 / this.scale());
    context.lineJoin = "round";
    context.beginPath();
    for (let sample = segment.start; sample < segment.stop; sample += 1) {
      const [x, y] = place(paper, segment, sample, row[sample] / 1000);
      if (sample === segment.start) context.moveTo(x, y); else context.lineTo(x, y);
    }
    if (segment.start === 0) { // 1 mV for 0.2 s
      const left = segment.x - 11, width = 0.2 * paper.speed;
      const end = Math.min(left + width, segment.x - 2);
      [[left - 1.5, 0], [left, 0], [left, 1], [end, 1], [end, 0], [end + 1.5, 0]].forEach(([x, up], index) => {
        const y = segment.y - up * paper.gain;
        if (index) context.lineTo(x, y); else context.moveTo(x, y);
      });
    }
    context.stroke();
    context.fillStyle = COLORS.ink;
    context.font = "bold 4px sans-serif";
    const x = segment.start === 0 ? segment.x - 13 : segment.x + 1;
    context.fillText(segment.label, x, segment.y - (segment.start === 0 ? paper.gain + 1.5 : 8));
    context.fillStyle = COLORS.mark;
    context.font = "3px sans-serif";
    for (const mark of data.marks || []) {
      if (mark.lead && mark.lead !== segment.lead) continue;
      if (mark.sample < segment.start || mark.sample >= segment.stop) continue;
      const [at, top] = place(paper, segment, mark.sample, row[mark.sample] / 1000);
      context.fillText(mark.text, at - 1, top - 1.2);
    }
  }

  // Waves and warnings behind the trace.
  spans(context, segment) {
    for (const span of this.data.spans || []) {
      if (span.lead && span.lead !== segment.lead) continue;
      const from = Math.max(span.start, segment.start), to = Math.min(span.stop, segment.stop);
      if (to <= from) continue;
      const left = place(this.paper, segment, from, 0)[0], right = place(this.paper, segment, to, 0)[0];
      context.fillStyle = COLORS[span.kind] || COLORS.warning;
      context.fillRect(left, segment.y - 7, right - left, 14);
      if (span.text) {
        context.fillStyle = "#8a3b00";
        context.font = "2.6px sans-serif";
        context.fillText(span.text, left + 0.5, segment.y + 6.5);
      }
    }
  }

  // Importance as a ribbon along the trace: red raises the class, blue lowers it.
  ribbon(context, segment, row, lead) {
    const wide = this.paper.speed / this.paper.sampling_rate;
    for (let sample = segment.start; sample < segment.stop; sample += 1) {
      const value = this.heat[lead * this.samples + sample];
      const strength = Math.min(Math.abs(value), 1);
      if (strength < 0.02) continue;
      context.fillStyle = value > 0 ? `rgba(179,38,30,${0.75 * strength})` : `rgba(31,95,175,${0.75 * strength})`;
      const [x, y] = place(this.paper, segment, sample, row[sample] / 1000);
      context.fillRect(x - wide / 2, y - 2.2, wide * 1.05, 4.4);
    }
  }

  caliper(context, caliper, active) {
    const { paper } = this;
    const [a, b] = [this.lineOf(caliper, caliper.a), this.lineOf(caliper, caliper.b)];
    context.strokeStyle = active ? COLORS.active : COLORS.caliper;
    context.fillStyle = context.strokeStyle;
    context.lineWidth = 1.5 / this.scale();
    context.setLineDash(caliper.locked ? [2 / this.zoom, 1 / this.zoom] : []);
    const bar = this.barOf(caliper);
    const upright = caliper.kind === "time";
    const segment = upright ? null : paper.segments[caliper.segment];
    const ends = upright ? [0, paper.height] : [segment.x, place(paper, segment, segment.stop, 0)[0]];
    const line = (along, from, to) => {
      context.moveTo(...(upright ? [along, from] : [from, along]));
      context.lineTo(...(upright ? [along, to] : [to, along]));
    };
    for (const [name, at] of [["a", a], ["b", b]]) {
      context.lineWidth = (active && name === this.handle ? 2.2 : 1.2) / this.scale();
      context.beginPath();
      line(at, ...ends);
      context.stroke();
    }
    context.beginPath();
    context.moveTo(...(upright ? [a, bar] : [bar, a]));
    context.lineTo(...(upright ? [b, bar] : [bar, b]));
    context.stroke();
    context.setLineDash([]);
    context.font = `bold ${11 / this.scale()}px sans-serif`;
    const short = describe(caliper, this.calipers, this.data).split(";")[0];
    const at = upright ? [Math.max(a, b) + 1 / this.zoom, bar] : [bar + 1 / this.zoom, Math.min(a, b) - 1 / this.zoom];
    context.fillText(short, ...at);
    if (caliper.march) {
      context.strokeStyle = COLORS.march;
      context.lineWidth = 1 / this.scale();
      context.beginPath();
      for (const sample of march(caliper.a, caliper.b, this.samples)) line(this.xOf(sample), ...ends);
      context.stroke();
    }
  }

  say() {
    const lines = this.calipers.map((caliper, index) => {
      const mark = index === this.active ? "▸ " : "";
      return `${mark}${describe(caliper, this.calipers, this.data)}${caliper.locked ? " (locked)" : ""}`;
    });
    const text = lines.join("\n");
    if (this.readout.textContent !== text) this.readout.textContent = text;
    this.position.textContent = this.hover ? this.under(...this.hover) : "";
  }

  under(x, y) {
    const index = this.segmentAt(x, y);
    if (index < 0) return "";
    const segment = this.paper.segments[index];
    const sample = Math.min(Math.max(Math.round(locate(this.paper, segment, x, y)[0]), segment.start), segment.stop - 1);
    const lead = this.data.leads.indexOf(segment.lead);
    const millivolts = this.microvolts[lead * this.samples + sample] / 1000;
    const second = (this.data.begin || 0) + sample / this.paper.sampling_rate;
    return `${segment.label}  ${second.toFixed(3)} s  ${(segment.sign * millivolts).toFixed(3)} mV`;
  }
}

const sheets = new WeakMap();

export default function mount({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".ecg");
  let sheet = sheets.get(root);
  if (!sheet) {
    sheet = new Sheet(root, (state) => setStateValue("state", state));
    sheets.set(root, sheet);
  }
  sheet.report = (state) => setStateValue("state", state);
  sheet.show(data);
}
