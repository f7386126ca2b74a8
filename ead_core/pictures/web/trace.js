// Plays one trace. A frame is the molecule after a network call; every list of frames has the same length.
"use strict";

const trace = JSON.parse(document.getElementById("trace").textContent);
const byId = (id) => document.getElementById(id);
const [slider, map] = [byId("slider"), byId("map")];
const atoms = trace.elements[0].length;
const last = trace.calls.length - 1;
const behind = trace.levels.map((levels) => levels.map((level) => level - Math.min(...levels)));
const farthest = Math.max(1, ...behind.map((frame) => Math.max(...frame)));
const AXIS = { left: 56, right: 16, bottom: 34 }; // pixels of the map that labels take
let [frame, playing, marked, owed, before] = [0, false, null, 0, null];

// Colours

const mode = () => byId("colour").value;

function shade(value, top) {
  const place = Math.min(value / top, 1) * (trace.palette.length - 1);
  return trace.palette[Math.round(place)];
}

function colourOf(index, atom) {
  if (mode() === "element") return trace.kinds[trace.elements[index][atom]].colour;
  return mode() === "level" ? shade(trace.levels[index][atom], trace.top) : shade(behind[index][atom], farthest);
}

function legend() {
  const box = byId("legend");
  const word = (text) => box.append(Object.assign(document.createElement("span"), { textContent: text }));
  box.replaceChildren();
  if (mode() === "element") {
    for (const { symbol, colour } of Object.values(trace.kinds)) {
      const dot = document.createElement("i");
      dot.style.background = colour;
      box.append(dot);
      word(symbol);
    }
    return;
  }
  word(mode() === "level" ? "0 (clean)" : "0 (ahead)");
  const bar = Object.assign(document.createElement("div"), { id: "bar" });
  bar.style.background = `linear-gradient(to right, ${trace.palette.join(",")})`;
  box.append(bar);
  const above = trace.levels[0][0] > trace.top ? " and above" : "";
  word(mode() === "level" ? `${trace.top}${above}` : `${farthest} levels behind`);
}

// The molecule

function openViewer() {
  try {
    const drawable = document.createElement("canvas").getContext("webgl");
    return drawable && $3Dmol.createViewer(byId("scene"), { backgroundColor: "white" });
  } catch {
    return null;
  }
}

const viewer = openViewer();

function atomsOf(index) {
  const found = trace.elements[index].map((number, atom) => {
    const kind = trace.kinds[number];
    const color = colourOf(index, atom);
    const [x, y, z] = trace.positions[index].slice(3 * atom, 3 * atom + 3).map((v) => v / trace.scale);
    const style = { sphere: { radius: kind.radius, color }, stick: { radius: 0.1, color } };
    return { elem: kind.symbol, x, y, z, bonds: [], bondOrder: [], style };
  });
  const bonds = trace.bonds[index];
  for (let k = 0; k < bonds.length; k += 3) {
    for (const [from, to] of [[bonds[k], bonds[k + 1]], [bonds[k + 1], bonds[k]]]) {
      found[from].bonds.push(to);
      found[from].bondOrder.push(bonds[k + 2]);
    }
  }
  return found;
}

function drawMolecule() {
  if (!viewer) return;
  const now = atomsOf(frame);
  viewer.removeAllLabels();
  viewer.removeAllModels();
  viewer.addModel().addAtoms(now);
  if (marked !== null) {
    const { x, y, z } = now[marked];
    const look = { backgroundColor: "black", backgroundOpacity: 0.75, fontSize: 13, inFront: true };
    viewer.addLabel(nameOf(marked), { position: { x, y, z }, alignment: "bottomCenter", ...look });
  }
  viewer.render();
}

// The map of levels: a row per atom, a column per call from where levels part

const MEANINGS = {
  level: "Noise level of each atom",
  behind: "How many levels each atom is behind the one ahead",
  element: "Element decoded from each atom's features",
};
const nameOf = (atom) => `${trace.kinds[trace.elements[last][atom]].symbol} ${atom + 1}`;
const plot = () => ({ width: map.clientWidth - AXIS.left - AXIS.right, height: map.clientHeight - AXIS.bottom });
const firstCall = trace.calls[trace.start];
const spanned = trace.calls[last] - firstCall + 1;
const across = (call) => AXIS.left + ((call - firstCall) / spanned) * plot().width;

function penFor(id) {
  const canvas = byId(id);
  const ratio = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [map.clientWidth * ratio, map.clientHeight * ratio];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return pen;
}

function drawMap() {
  const [pen, { width, height }] = [penFor("cells"), plot()];
  const row = height / atoms;
  for (let index = trace.start; index <= last; index++) {
    const from = Math.floor(across(trace.calls[index])); // whole pixels, so that no seams shine through
    const to = index < last ? Math.ceil(across(trace.calls[index + 1])) : across(firstCall + spanned);
    trace.order.forEach((atom, place) => {
      pen.fillStyle = colourOf(index, atom);
      pen.fillRect(from, Math.floor(place * row), to - from, Math.ceil(row));
    });
  }
  pen.clearRect(AXIS.left, height, width, AXIS.bottom);
  if (mode() === "level") drawPassages(pen, row);
  drawAxes(pen, width, height, row);
  byId("caption").textContent = `${MEANINGS[mode()]}; first to settle on top`;
}

// White lines where atoms pass three quarters, a half, a quarter, and the last of the levels
function drawPassages(pen, row) {
  pen.strokeStyle = "white";
  for (const share of [0.75, 0.5, 0.25, 0]) {
    pen.beginPath();
    trace.order.forEach((atom, place) => {
      const passed = trace.levels.findIndex((levels) => levels[atom] <= Math.round(share * trace.top));
      const x = across(trace.calls[passed]);
      pen.lineTo(x, place * row);
      pen.lineTo(x, (place + 1) * row);
    });
    pen.stroke();
  }
}

// The present call, with a mark on every atom that paused in it
function drawCursor() {
  const [pen, { height }] = [penFor("cursor"), plot()];
  if (frame < trace.start) return;
  const [x, row] = [across(trace.calls[frame] + 0.5), height / atoms];
  pen.fillStyle = pen.strokeStyle = "#ff3d8b"; // none of the other colours
  pen.fillRect(x - 1, 0, 2, height);
  trace.order.forEach((atom, place) => {
    if (trace.paused[frame].includes(atom)) pen.fillRect(x - 5, (place + 0.5) * row - 5, 10, Math.min(10, row));
    if (atom === marked) pen.strokeRect(AXIS.left + 1, place * row + 1, plot().width - 2, row - 2);
  });
}

function drawAxes(pen, width, height, row) {
  pen.font = `${Math.min(12, row)}px system-ui, sans-serif`;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  const named = row < 6 ? [] : trace.order; // names too small to read are left out: point at a row instead
  named.forEach((atom, place) => {
    pen.fillStyle = trace.elements[last][atom] === 1 ? "#8a939b" : "#1c2126";
    pen.fillText(nameOf(atom), AXIS.left - 8, (place + 0.5) * row);
  });
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = "#667079";
  pen.textBaseline = "top";
  pen.textAlign = "center";
  const stride = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000].find((s) => spanned / s <= 8) ?? spanned;
  for (let call = Math.ceil(firstCall / stride) * stride; call < firstCall + spanned; call += stride) {
    pen.fillRect(across(call + 0.5), height, 1, 4);
    pen.fillText(call, across(call + 0.5), height + 6);
  }
  pen.textAlign = "right";
  pen.fillText("network calls", AXIS.left + width, height + 20);
}

// Time

function show(index) {
  frame = Math.max(0, Math.min(last, index));
  slider.value = frame;
  const [call, levels, paused] = [trace.calls[frame], trace.levels[frame], trace.paused[frame]];
  const said = [`Network call ${call} of ${trace.calls[last]}`];
  const [low, high] = [Math.min(...levels), Math.max(...levels)];
  said.push(low === high ? `all atoms at level ${low}` : `levels ${low} to ${high}`);
  said.push(`${levels.filter((level) => !level).length} of ${atoms} atoms clean`, `${paused.length} paused (pink marks)`);
  if (marked !== null) {
    const wait = paused.includes(marked) ? ", paused" : "";
    said.push(`${nameOf(marked)}: level ${levels[marked]}, ${behind[frame][marked]} behind${wait}`);
  }
  byId("now").textContent = said.join("  ·  ");
  drawCursor();
  drawMolecule();
}

function play(on) {
  if (on && frame === last) frame = 0;
  [playing, before, owed] = [on, null, 0];
  byId("play").textContent = on ? "Pause" : "Play";
  if (on) requestAnimationFrame(tick);
}

function tick(time) {
  if (!playing) return;
  owed += before === null ? 0 : ((time - before) / 1000) * byId("speed").value;
  before = time;
  if (owed >= 1) {
    show(frame + Math.floor(owed));
    owed %= 1;
  }
  if (frame === last) play(false);
  else requestAnimationFrame(tick);
}

// What a person does

byId("play").onclick = () => play(!playing);
slider.oninput = () => { play(false); show(Number(slider.value)); };
byId("colour").onchange = () => { legend(); drawMap(); show(frame); };
window.onresize = () => { drawMap(); show(frame); if (viewer) viewer.resize(); };

function point(event) {
  const box = map.getBoundingClientRect();
  const place = Math.floor(((event.clientY - box.top) / plot().height) * atoms);
  marked = trace.order[place] ?? null;
  if (event.buttons) {
    const call = firstCall + ((event.clientX - box.left - AXIS.left) / plot().width) * spanned;
    const after = trace.calls.findIndex((known) => known > call);
    play(false);
    frame = Math.max(trace.start, (after < 0 ? last + 1 : after) - 1);
  }
  show(frame);
}
map.onpointerdown = map.onpointermove = point;
map.onpointerleave = () => { marked = null; show(frame); };

// A link may name a call: trace-0.html#1100
function jump() {
  const wanted = parseInt(location.hash.slice(1), 10);
  const after = trace.calls.findIndex((call) => call >= wanted);
  show(Number.isNaN(wanted) ? 0 : after < 0 ? last : after);
}
window.onhashchange = jump;

byId("heading").textContent = `Molecule ${trace.id}, ${trace.formula}`;
byId("title").textContent = trace.title;
document.title = `EAD trace of molecule ${trace.id}`;
slider.max = last;
if (viewer) {
  viewer.addModel().addAtoms(atomsOf(last)); // the view is that of the finished molecule
  viewer.zoomTo();
  viewer.zoom(1.1);
} else {
  byId("scene").innerHTML = "<p>This browser offers no WebGL, so the molecule cannot be drawn.</p>";
}
legend();
drawMap();
jump();
