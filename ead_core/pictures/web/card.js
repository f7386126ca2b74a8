// Draws the best and the worst molecules of a card.
"use strict";

const molecules = JSON.parse(document.getElementById("molecules").textContent);

for (const [kind, list] of Object.entries(molecules)) {
  const row = document.getElementById(kind);
  if (!list.length) row.textContent = "None were measured.";
  for (const { caption, block } of list) {
    const figure = document.createElement("figure");
    const scene = document.createElement("div");
    const text = document.createElement("figcaption");
    scene.className = "scene";
    text.textContent = caption;
    figure.append(scene, text);
    row.append(figure);
    draw(scene, block);
  }
}

function draw(scene, block) {
  try {
    const viewer = $3Dmol.createViewer(scene, { backgroundColor: "white" });
    viewer.addModel(block, "sdf");
    viewer.setStyle({}, { stick: { radius: 0.12 }, sphere: { scale: 0.22 } });
    viewer.zoomTo();
    viewer.render();
  } catch (error) {
    scene.textContent = "This browser cannot draw in 3D.";
  }
}
