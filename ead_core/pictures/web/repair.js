// Draws repairs: each molecule before, with its freed atoms, and after; the three are turned together.
"use strict";

const repairs = JSON.parse(document.getElementById("repairs").textContent);

for (const repair of repairs) {
  const figure = document.createElement("figure");
  const scene = document.createElement("div");
  const text = document.createElement("figcaption");
  scene.className = "scene";
  text.textContent = repair.caption;
  figure.append(scene, text);
  document.getElementById("list").append(figure);
  draw(scene, repair);
}

function draw(scene, { before, after, freed }) {
  try {
    const grid = { rows: 1, cols: 3, control_all: true };
    const [viewers] = $3Dmol.createViewerGrid(scene, grid, { backgroundColor: "white" });
    [before, before, after].forEach((block, place) => {
      const viewer = viewers[place];
      viewer.addModel(block, "sdf");
      viewer.setStyle({}, { stick: { radius: 0.12 }, sphere: { scale: 0.22 } });
      if (place) {
        for (const atom of viewer.selectedAtoms({ index: freed })) {
          viewer.addSphere({ center: { x: atom.x, y: atom.y, z: atom.z }, radius: 0.6, color: "#ffc84a", alpha: 0.5 });
        }
        viewer.setView(viewers[0].getView());
      } else {
        viewer.zoomTo();
      }
      viewer.render();
    });
  } catch (error) {
    scene.textContent = "This browser cannot draw in 3D.";
  }
}
