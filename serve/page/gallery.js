// Molecules as they come: a picture of each, one to be turned, what was asked beside what is predicted, downloads.
"use strict";

const STYLE = { stick: { radius: 0.12 }, sphere: { scale: 0.22 } };
const SIDE = 240; // pixels of a picture

// Pictures of many molecules from one scene: a browser has few places for 3D.
class Painter {
  constructor() {
    const scene = document.createElement("div");
    Object.assign(scene.style, { position: "absolute", left: "-999rem", width: `${SIDE}px`, height: `${SIDE}px` });
    document.body.append(scene);
    try {
      this.viewer = $3Dmol.createViewer(scene, { backgroundColor: "white" });
    } catch {
      this.viewer = null;
    }
  }

  picture(sdf) {
    if (!this.viewer) return "";
    this.viewer.removeAllModels();
    this.viewer.addModel(sdf, "sdf");
    this.viewer.setStyle({}, STYLE);
    this.viewer.zoomTo();
    this.viewer.render();
    return this.viewer.pngURI();
  }
}

class Gallery {
  constructor(model) {
    this.units = Object.fromEntries(model.properties.map(({ name, unit }) => [name, unit]));
    this.spans = Object.fromEntries(model.properties.map(({ name, smallest, largest }) => [name, largest - smallest]));
    this.painter = new Painter();
    for (const id of ["sort", "filter"]) byId(id).addEventListener("input", () => this.arrange());
    byId("sdf").onclick = () => this.download("sdf", this.kept().map(({ molecule }) => molecule.sdf).join(""));
    byId("csv").onclick = () => this.download("csv", this.table());
    this.clear({});
  }

  clear(body) {
    this.cards = [];
    const targets = Array.isArray(body.targets) ? {} : body.targets ?? {};
    this.targets = Object.fromEntries(Object.entries(targets).filter(([name]) => !name.startsWith("atoms_")));
    byId("gallery").replaceChildren();
    byId("molecules").hidden = true;
    byId("sort").replaceChildren(new Option("order of making", "id"), new Option("number of atoms", "atoms"),
      new Option("network calls", "nfe"), ...Object.keys(this.targets).map((name) => new Option(name, name)));
    this.count();
  }

  add(molecules) {
    for (const molecule of molecules) this.cards.push(this.card(molecule));
    byId("molecules").hidden = !this.cards.length;
    this.arrange();
  }

  card(molecule) {
    const element = document.createElement("li"), open = document.createElement("button");
    const image = document.createElement("img"), smiles = document.createElement("span");
    const facts = document.createElement("label"), box = document.createElement("input");
    image.src = this.painter.picture(molecule.sdf);
    image.alt = `the molecule ${molecule.smiles ?? molecule.id}`;
    smiles.className = "smiles";
    smiles.textContent = molecule.smiles ?? "bonds cannot be perceived";
    open.append(image, smiles);
    open.onclick = () => this.open(molecule);
    box.type = "checkbox";
    box.oninput = () => this.count();
    box.setAttribute("aria-label", `select molecule ${molecule.id}`);
    facts.className = "facts";
    const predicted = Object.entries(molecule.predicted).map(([name, value]) => this.value(name, value));
    facts.append(box, ` ${[`${molecule.elements.length} atoms`, ...predicted].join(", ")}`);
    element.append(open, facts);
    return { molecule, element, box };
  }

  value(name, value) {
    return `${name} ${shown(value, this.spans[name])} ${this.units[name] ?? ""}`.trim();
  }

  arrange() {
    const by = byId("sort").value, part = byId("filter").value.trim();
    const key = ({ molecule }) => by === "atoms" ? molecule.elements.length : molecule.predicted[by] ?? molecule[by] ?? 0;
    const visible = this.cards.filter(({ molecule }) => !part || (molecule.smiles ?? "").includes(part));
    byId("gallery").replaceChildren(...visible.sort((one, other) => key(one) - key(other)).map(({ element }) => element));
    this.count();
  }

  // Those that are selected; all that are shown if none is.
  kept() {
    const selected = this.cards.filter(({ box }) => box.checked);
    return selected.length ? selected : this.cards.filter(({ element }) => element.isConnected);
  }

  count() {
    const selected = this.cards.filter(({ box }) => box.checked).length;
    byId("chosen").textContent = selected ? `${selected} of ${this.cards.length} selected` : `${this.cards.length} molecules`;
  }

  table() {
    const cell = (value) => /[",\n]/.test(value ?? "") ? `"${String(value).replaceAll('"', '""')}"` : value ?? "";
    const kept = this.kept().map(({ molecule }) => molecule);
    const predicted = [...new Set(kept.flatMap((molecule) => Object.keys(molecule.predicted)))];
    const heads = ["id", "smiles", "atoms", "nfe", ...predicted.map((name) => `predicted_${name}`)];
    const rows = kept.map((molecule) => [molecule.id, molecule.smiles, molecule.elements.length, molecule.nfe,
      ...predicted.map((name) => molecule.predicted[name])]);
    return [heads, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
  }

  download(kind, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = `molecules.${kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  open(molecule) {
    byId("name").textContent = molecule.smiles ?? `Molecule ${molecule.id}`;
    byId("values").replaceChildren();
    byId("source").textContent = "";
    byId("detail").showModal();
    byId("scene").replaceChildren();
    try {
      const viewer = $3Dmol.createViewer(byId("scene"), { backgroundColor: "white" });
      viewer.addModel(molecule.sdf, "sdf");
      viewer.setStyle({}, STYLE);
      viewer.zoomTo();
      viewer.render();
    } catch {
      byId("scene").textContent = "This browser cannot draw in 3D.";
    }
    this.judge(molecule);
  }

  // What a judge predicts of a molecule, with intervals, beside what was asked.
  async judge(molecule) {
    byId("source").textContent = "Predicting its properties …";
    const answer = await asked("v1/predict", { method: "POST", body: { molecules: molecule.sdf, format: "sdf" } });
    if (!answer.ok) {
      byId("source").textContent = answer.sentence;
      return;
    }
    const { predictor, units, molecules, notes } = answer.value;
    const head = document.createElement("tr");
    for (const text of ["property", "asked", "predicted", "95 %"]) {
      const cell = document.createElement("th");
      cell.textContent = text;
      head.append(cell);
    }
    const rows = Object.entries(molecules[0]?.properties ?? {}).map(([name, { value, low, high }]) => {
      const row = document.createElement("tr"), wish = this.targets[name], digits = (x) => shown(x, high - low);
      const texts = [`${name}${units[name] ? `, ${units[name]}` : ""}`, wish === undefined ? "" : [wish].flat().join(" to "),
        digits(value), `${digits(low)} to ${digits(high)}`];
      for (const text of texts) {
        const cell = document.createElement("td");
        cell.textContent = text;
        row.append(cell);
      }
      return row;
    });
    byId("values").replaceChildren(head, ...rows);
    byId("source").textContent = [`Predicted by ${predictor}.`, ...notes].join(" ");
  }
}
