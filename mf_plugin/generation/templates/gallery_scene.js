"use strict";
// What is on the page: the facts of its data block, and a canvas or an object as a drawing.
// Text from the data becomes text nodes and attribute values, never markup.

const COLOURS = ["#ff4d79", "#ffd43b", "#35c9ff", "#5fe37a", "#c792ff", "#ff9d42", "#3de0c8", "#f4f4f4"];
const SVG = "http://www.w3.org/2000/svg";
const DATA = JSON.parse(document.getElementById("data").textContent);
const CANVASES = DATA.canvases;
const OBJECTS = CANVASES.flatMap((canvas, at) => canvas.objects.map((object, place) => {
  Object.assign(object, { canvas: at, place, reason: object.reason || "" });
  const region = (DATA.layouts[canvas.layout].regions || [])[place];
  object.region = region && { top: region[0], left: region[1], height: region[2], width: region[3] };
  return object;
}));
for (const canvas of CANVASES) {
  const layout = DATA.layouts[canvas.layout];
  canvas.height = canvas.height || layout.height || 1;
  canvas.width = canvas.width || layout.width || 1;
}

const byId = (id) => document.getElementById(id);
const spoken = (name) => name.replaceAll("_", " ");
const categoryOf = (object) => DATA.categories[object.category];

function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  Object.assign(node, properties);
  node.append(...children);
  return node;
}

function shape(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const jpeg = (base64) => `data:image/jpeg;base64,${base64}`;
const colourOf = (object) => COLOURS[object.place % COLOURS.length];
// Whole canvas, or a square about one object, as [x, y, width, height].
function viewOf(canvas, object) {
  if (!object) return [0, 0, canvas.width, canvas.height];
  if (object.bbox) {
    const [x, y, width, height] = object.bbox;
    const side = 1.3 * Math.max(width, height);
    return [x + width / 2 - side / 2, y + height / 2 - side / 2, side, side];
  }
  const r = object.region;
  return r ? [r.left, r.top, r.width, r.height] : [0, 0, canvas.width, canvas.height];
}

function pictureOf(canvas, source, onMissing) {
  const whole = { x: 0, y: 0, width: canvas.width, height: canvas.height, preserveAspectRatio: "none" };
  const picture = shape("image", { ...whole, href: source });
  picture.addEventListener("error", () => {
    if (canvas.thumbnail && picture.getAttribute("href") !== jpeg(canvas.thumbnail)) {
      picture.setAttribute("href", jpeg(canvas.thumbnail));
    }
    if (onMissing) onMissing();
  });
  return picture;
}

function maskOf(object, dim) {
  const outline = { d: object.outline };
  const group = shape("g", { class: dim ? "mask dim" : "mask" },
    shape("path", { ...outline, class: "under" }), shape("path", outline));
  group.style.setProperty("--colour", colourOf(object));
  group.dataset.place = object.place;
  return group;
}

// A rejected object where it was on the canvas. Without a region there is no place to show it.
function rejectOf(object, dim) {
  const box = boxOf(object.region);
  const group = shape("g", { class: dim ? "reject dim" : "reject" }, ...rejectPicture(object),
    shape("rect", { ...box, class: "under" }), shape("rect", box));
  group.dataset.place = object.place;
  return group;
}

const boxOf = ({ left: x, top: y, width, height }) => ({ x, y, width, height });

function rejectPicture(object) {
  const box = boxOf(object.region);
  if (!object.thumbnail) return [shape("rect", { ...box, class: "ground" })];
  return [shape("image", { ...box, preserveAspectRatio: "none", href: jpeg(object.thumbnail) })];
}

/* The drawing of a canvas.
   full: the image file even where there is a thumbnail; object: only this one's surroundings;
   asked: a function that says which objects stand out, the others are dimmed. */
function draw(canvas, { full = false, object = null, asked = null, onMissing = null } = {}) {
  const view = viewOf(canvas, object);
  const names = canvas.objects.map((o) => `${spoken(categoryOf(o).name)}${o.reason ? " (rejected)" : ""}`);
  const label = object ? names[object.place] : `canvas ${canvas.index}: ${names.join(", ")}`;
  const drawing = shape("svg", {
    viewBox: view.join(" "), preserveAspectRatio: "xMidYMid meet", role: "img", "aria-label": label,
  });
  if (object && object.reason) {
    if (object.region) drawing.append(...rejectPicture(object));
    return drawing;
  }
  if (canvas.file_name) {
    const source = canvas.thumbnail && !full ? jpeg(canvas.thumbnail) : canvas.file_name;
    drawing.append(pictureOf(canvas, source, onMissing));
  }
  const shown = object ? [object] : canvas.objects;
  const dim = (o) => Boolean(asked) && !asked(o);
  for (const o of shown) if (o.reason && o.region) drawing.append(rejectOf(o, dim(o)));
  for (const o of shown) if (!o.reason) drawing.append(maskOf(o, dim(o)));
  return drawing;
}
