// The form: what can be asked of the model, and the body that asks for it.
"use strict";

const byId = (id) => document.getElementById(id);
const BARS = 40;
const IN_RANGE = " & in_range"; // by the selector

// A number with as many digits as its range needs.
function shown(value, span) {
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(span || 1))));
  return Number(value).toFixed(digits);
}

class PropertyField {
  // A box to ask for a property, and the ends of its range among those of training.
  constructor(about, changed) {
    this.about = about;
    this.span = about.largest - about.smallest;
    this.element = document.createElement("div");
    this.element.className = "property";
    const label = document.createElement("label");
    this.wanted = document.createElement("input");
    this.wanted.type = "checkbox";
    this.text = document.createElement("span");
    label.append(this.wanted, " ", this.text);
    this.low = this.slider("at least", 0.4);
    this.high = this.slider("at most", 0.6);
    this.picture = this.histogram();
    const ends = document.createElement("div");
    ends.className = "ends";
    ends.append(this.end(about.smallest), this.end(about.largest));
    this.element.append(label, this.picture, this.low, this.high, ends);
    this.low.oninput = () => this.move(this.low, this.high, Math.max, changed);
    this.high.oninput = () => this.move(this.high, this.low, Math.min, changed);
    this.wanted.onchange = () => { this.show(); changed(); };
    this.show();
  }

  slider(what, share) {
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", min: 0, max: 1000, value: 1000 * share });
    slider.setAttribute("aria-label", `${this.about.name} ${what}`);
    return slider;
  }

  end(value) {
    const text = document.createElement("span");
    text.textContent = shown(value, this.span);
    return text;
  }

  histogram() {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const counts = this.about.histogram || [];
    svg.setAttribute("viewBox", `0 0 ${BARS} 10`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `how often training molecules have each ${this.about.name}`);
    const most = Math.max(1, ...counts);
    this.bars = counts.map((count, place) => {
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      const height = 10 * count / most;
      const box = { x: place * BARS / counts.length, y: 10 - height, width: 0.9 * BARS / counts.length, height };
      for (const [name, value] of Object.entries(box)) bar.setAttribute(name, value);
      svg.append(bar);
      return bar;
    });
    return svg;
  }

  value(slider) { return this.about.smallest + this.span * slider.value / 1000; }

  move(moved, other, bound, changed) {
    other.value = bound(Number(moved.value), Number(other.value));
    this.wanted.checked = true;
    this.show();
    changed();
  }

  show() {
    const { name, unit } = this.about;
    const [low, high] = [this.value(this.low), this.value(this.high)].map((value) => shown(value, this.span));
    const asked = this.wanted.checked ? `${low} to ${high}` : "any";
    this.text.textContent = `${name}: ${asked}${unit && this.wanted.checked ? ` ${unit}` : ""}`;
    for (const slider of [this.low, this.high]) {
      slider.setAttribute("aria-valuetext", `${shown(this.value(slider), this.span)} ${unit}`);
    }
    this.bars.forEach((bar, place) => {
      const middle = 1000 * (place + 0.5) / this.bars.length;
      bar.classList.toggle("wanted", this.wanted.checked && middle >= this.low.value && middle <= this.high.value);
    });
  }

  get target() {
    return [this.low, this.high].map((slider) => Number(shown(this.value(slider), this.span)));
  }
}

class Form {
  constructor(model) {
    this.model = model;
    byId("model").textContent =
      `${model.name}: molecules of ${model.elements.join(", ")} with ${model.sizes.smallest} to ${model.sizes.largest} atoms`;
    for (const preset of ["", ...Object.keys(model.presets)]) {
      byId("preset").add(new Option(preset || "the model's own settings", preset, preset === "fast", preset === "fast"));
    }
    for (const end of ["smallest", "largest"]) {
      Object.assign(byId(end), { min: model.sizes.smallest, max: model.sizes.largest });
    }
    const changed = () => this.explain();
    this.properties = model.properties.filter(({ name }) => !name.startsWith("atoms_"))
      .map((about) => new PropertyField(about, changed));
    byId("properties").append(...this.properties.map(({ element }) => element));
    byId("properties").hidden = !this.properties.length;
    byId("wish").addEventListener("input", changed);
    this.explain();
  }

  // The numbers of atoms of a formula, of every element of the model; nothing if there is none.
  formula() {
    const text = byId("formula").value.trim();
    if (!text) return {};
    const counts = Object.fromEntries(this.model.elements.map((symbol) => [`atoms_${symbol}`, 0]));
    for (const [, symbol, number] of text.matchAll(/([A-Z][a-z]?)(\d*)/g)) {
      counts[`atoms_${symbol}`] = (counts[`atoms_${symbol}`] || 0) + Number(number || 1);
    }
    return counts;
  }

  get body() {
    const accept = byId("accept").value, number = Number(byId("number").value);
    const wishes = this.properties.filter(({ wanted }) => wanted.checked).map((field) => [field.about.name, field.target]);
    const body = { [accept ? "until" : "num"]: number, seed: Number(byId("seed").value) };
    if (accept) body.accept = accept + (wishes.length ? IN_RANGE : "");
    if (byId("preset").value) body.preset = byId("preset").value;
    const { smallest, largest } = this.model.sizes;
    const [fewest, most] = [byId("smallest").value, byId("largest").value];
    if (fewest || most) body.size_range = { smallest: Number(fewest || smallest), largest: Number(most || largest) };
    const targets = { ...Object.fromEntries(wishes), ...this.formula() };
    if (Object.keys(targets).length) body.targets = targets;
    return body;
  }

  // The wish of a job that was begun before.
  restore(body) {
    byId("number").value = body.until ?? body.num ?? 4;
    byId("seed").value = body.seed ?? 0;
    byId("accept").value = (body.accept ?? "").replace(IN_RANGE, "");
    byId("preset").value = body.preset ?? "";
    byId("smallest").value = body.size_range?.smallest ?? "";
    byId("largest").value = body.size_range?.largest ?? "";
    const targets = Array.isArray(body.targets) ? {} : body.targets ?? {};
    byId("formula").value = this.model.elements.filter((symbol) => targets[`atoms_${symbol}`] > 0)
      .map((symbol) => symbol + (targets[`atoms_${symbol}`] > 1 ? targets[`atoms_${symbol}`] : "")).join("");
    for (const field of this.properties) {
      const wish = targets[field.about.name];
      field.wanted.checked = wish !== undefined;
      if (wish !== undefined) {
        const [low, high] = Array.isArray(wish) ? wish : [wish, wish];
        field.low.value = 1000 * (low - field.about.smallest) / field.span;
        field.high.value = 1000 * (high - field.about.smallest) / field.span;
      }
      field.show();
    }
    this.explain();
  }

  explain() {
    const here = new URL("v1/jobs", document.baseURI).href, body = this.body;
    byId("curl").textContent =
      `curl -s ${here} -H 'Content-Type: application/json' -d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`;
    const given = Object.entries(body).map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(", ");
    byId("python").textContent = "from ead_client import Client\n\n"
      + `with Client("${new URL(".", document.baseURI).href}") as client:\n`
      + `    table = client.job(${given}).result(progress=True).frame()`;
  }
}
