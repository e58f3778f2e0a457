// The filter (kept in the url's hash), the grid that draws only what is in view, the detail view.

const ORDERS = {
  plan: ["as planned", null],
  stability: ["least stable", (o) => (o.measures || {}).stability],
  confidence: ["least confident", (o) => (o.judged ? o.judged[0] : undefined)],
  small: ["smallest", (o) => o.area],
  large: ["largest", (o) => (o.area === undefined ? undefined : -o.area)],
};
const DEFAULTS = {
  category: "", group: "", outcome: "", view: "canvases", sort: "plan", size: "176",
  masks: "1", rejects: "1", theme: "", report: "", canvas: "", object: "",
};
const GROUPS = { "": "all", r: "rare", c: "common", f: "frequent" };
const PORTION = 2500; // cards put on the page at a time
const AHEAD = "700px"; // how far outside the window cards are drawn
const AT_ONCE = 24; // cards drawn before the window is first measured

const grid = byId("grid");
const detail = byId("detail");
let state = readHash();
let items = []; // what the grid lists: {canvas} or {canvas, object}
let listed = ""; // the settings that `items` were listed for
let drawnLarge = false; // whether the cards were drawn from the image files
let place = -1; // of the detail view's item in `items`

// --- the url's hash ---

function readHash() {
  let pairs = {};
  try {
    pairs = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  } catch { /* a hash that is no list of settings asks for nothing */ }
  const read = {};
  for (const key of Object.keys(DEFAULTS)) read[key] = pairs[key] ?? DEFAULTS[key];
  if (!(read.sort in ORDERS)) read.sort = DEFAULTS.sort;
  if (read.view !== "objects") read.view = DEFAULTS.view;
  if (!(read.size >= 96 && read.size <= 480)) read.size = DEFAULTS.size;
  return read;
}

function set(changes, remember = false) {
  state = { ...state, ...changes };
  const changed = Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]);
  const hash = new URLSearchParams(changed).toString();
  const url = hash ? `#${hash}` : location.pathname + location.search;
  try {
    history[remember ? "pushState" : "replaceState"](null, "", url);
  } catch { /* some viewers forbid it; the page works without */ }
  show();
}

// --- what the filter leaves ---

const isReject = (outcome) => outcome !== "" && outcome !== "accepted";

function matcher() {
  const category = DATA.categories.findIndex((c) => c.name === state.category);
  const rejects = state.rejects === "1" || isReject(state.outcome);
  return (object) => {
    if (state.category && object.category !== category) return false;
    if (state.group && categoryOf(object).group !== state.group) return false;
    if (!rejects && object.reason) return false;
    if (state.outcome === "accepted") return !object.reason;
    if (state.outcome === "rejected") return Boolean(object.reason);
    return !state.outcome || object.reason === state.outcome;
  };
}

function list() {
  const matches = matcher();
  const value = ORDERS[state.sort][1];
  const lowest = (objects) => Math.min(...objects.map((o) => value(o) ?? Infinity));
  let found;
  if (state.view === "objects") {
    found = OBJECTS.filter(matches).map((object) => ({ canvas: CANVASES[object.canvas], object, objects: [object] }));
  } else {
    found = CANVASES.map((canvas) => ({ canvas, objects: canvas.objects.filter(matches) }));
    found = found.filter((item) => item.objects.length);
  }
  if (value) {
    for (const item of found) item.key = lowest(item.objects);
    found.sort((a, b) => a.key - b.key || a.canvas.index - b.canvas.index);
  }
  return found;
}

// --- the grid ---

const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) fill(entry.target);
    else entry.target.firstChild.replaceChildren();
  }
}, { rootMargin: AHEAD });
const more = new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting)) addCards();
}, { rootMargin: "2000px" });

function fill(card) {
  const picture = card.firstChild;
  if (picture.firstChild) return;
  const { canvas, object, objects } = items[Number(card.dataset.at)];
  const isFiltered = state.category || state.group || state.outcome;
  picture.append(draw(canvas, {
    object,
    full: Boolean(object) || isLarge(),
    asked: isFiltered && !object ? (o) => objects.includes(o) : null,
  }));
  card.lastChild.replaceChildren(...caption(canvas, object, objects));
}

function caption(canvas, object, objects) {
  const value = ORDERS[state.sort][1];
  const left = element("span"), right = element("span");
  if (object) {
    left.textContent = spoken(categoryOf(object).name);
    right.textContent = object.reason ? spoken(object.reason) : `#${canvas.index}`;
    right.className = object.reason ? "bad" : "";
  } else {
    const accepted = canvas.objects.filter((o) => !o.reason).length;
    left.textContent = `#${canvas.index}`;
    right.textContent = `${accepted} of ${canvas.objects.length} kept`;
    right.className = accepted ? "" : "bad";
  }
  if (value) {
    const lowest = Math.min(...objects.map((o) => value(o) ?? Infinity));
    if (state.sort === "stability" || state.sort === "confidence") {
      right.textContent = Number.isFinite(lowest) ? lowest.toFixed(2) : "not measured";
    }
  }
  return [left, right];
}

function addCards() {
  const first = grid.children.length;
  const cards = items.slice(first, first + PORTION).map((item, i) => {
    const card = element("button", { type: "button", className: "card", tabIndex: first + i ? -1 : 0 },
      element("span", { className: "picture" }), element("span", { className: "caption" }));
    const { canvas, object } = item;
    card.dataset.at = first + i;
    card.setAttribute("aria-label", object
      ? `${spoken(categoryOf(object).name)}, ${object.reason ? `rejected: ${spoken(object.reason)}` : "accepted"}, canvas ${canvas.index}`
      : `canvas ${canvas.index}: ${item.objects.map((o) => spoken(categoryOf(o).name)).join(", ")}`);
    return card;
  });
  grid.append(...cards);
  if (!first) cards.slice(0, AT_ONCE).forEach(fill);
  cards.forEach((card) => near.observe(card));
  more.disconnect();
  if (grid.lastChild && grid.children.length < items.length) more.observe(grid.lastChild);
}

const isLarge = () => Number(state.size) > 260; // a thumbnail would be blurred

function showGrid() {
  const settings = ["category", "group", "outcome", "view", "sort", "rejects"].map((key) => state[key]);
  if (listed === settings.join("\n")) {
    if (drawnLarge !== isLarge()) redraw();
    return;
  }
  listed = settings.join("\n");
  drawnLarge = isLarge();
  near.disconnect();
  items = list();
  grid.replaceChildren();
  addCards();
  if (byId("page").getBoundingClientRect().top < 0) byId("page").scrollIntoView();
  const objects = items.reduce((sum, item) => sum + item.objects.length, 0);
  const canvases = new Set(items.map((item) => item.canvas)).size;
  byId("status").textContent = items.length
    ? `${objects.toLocaleString("en")} objects on ${canvases.toLocaleString("en")} of ${CANVASES.length.toLocaleString("en")} canvases`
    : "Nothing fits this filter.";
}

function redraw() {
  drawnLarge = isLarge();
  for (const card of grid.children) {
    if (!card.firstChild.firstChild) continue;
    card.firstChild.replaceChildren();
    fill(card);
  }
}

grid.addEventListener("focusin", (event) => {
  for (const card of grid.querySelectorAll('[tabindex="0"]')) card.tabIndex = -1;
  event.target.tabIndex = 0;
});
grid.addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  if (card) openItem(Number(card.dataset.at), true);
});
grid.addEventListener("keydown", (event) => {
  const at = Number(document.activeElement.dataset.at);
  const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: grid.children.length - 1 - at }[event.key];
  const card = grid.children[at + step];
  if (step === undefined || !card) return;
  event.preventDefault();
  card.focus();
  card.scrollIntoView({ block: "nearest" });
});

// --- the detail view ---

function openItem(at, remember = false) {
  const item = items[at];
  if (item) set({ canvas: String(item.canvas.index), object: item.object ? String(item.object.place) : "" }, remember);
}

function step(by) {
  if (items.length) openItem(place < 0 ? 0 : (place + by + items.length) % items.length);
}

function showDetail() {
  const canvas = state.canvas && CANVASES.find((c) => String(c.index) === state.canvas);
  if (!canvas) {
    if (detail.open) detail.close();
    return;
  }
  place = items.findIndex((item) => item.canvas === canvas && (!item.object || String(item.object.place) === state.object));
  if (place < 0) place = items.findIndex((item) => item.canvas === canvas);
  byId("detail-title").textContent = `Canvas ${canvas.index}`;
  const note = byId("detail-note");
  note.hidden = Boolean(canvas.file_name);
  note.textContent = canvas.file_name ? "" : "No image was kept of this canvas. Shown are the pictures of its rejected objects, where there are any.";
  byId("stage").replaceChildren(draw(canvas, { full: true, onMissing: () => {
    note.hidden = false;
    note.textContent = `${canvas.file_name} is not beside this page${canvas.thumbnail ? "; the thumbnail is shown" : ""}.`;
  } }));
  byId("objects").replaceChildren(...canvas.objects.map((object) => describeObject(canvas, object)));
  byId("facts").replaceChildren(...factsOf(canvas).map(([key, value]) => element("div", {},
    element("dt", { textContent: key }), element("dd", {}, value))));
  if (!detail.open) detail.showModal();
}

function describeObject(canvas, object) {
  const category = categoryOf(object);
  const line = element("li", { className: object.reason ? "rejected" : "" });
  if (state.object === String(object.place)) line.classList.add("asked");
  if (!object.reason) line.style.setProperty("--colour", colourOf(object));
  const name = element("button", { type: "button", textContent: spoken(category.name), title: "Show all of this category" });
  name.addEventListener("click", () => set({ category: category.name, group: "", outcome: "", canvas: "", object: "" }));
  const outcome = object.reason ? `rejected: ${spoken(object.reason)}` : "accepted";
  line.append(
    element("div", { className: "name" }, name, element("span", { className: "tag", textContent: category.group }),
      element("span", { className: "outcome", textContent: outcome })),
    element("div", { className: "prompt", textContent: DATA.texts[object.text] }),
    element("div", { className: "values" }, ...valuesOf(canvas, object)),
  );
  const highlight = (on) => byId("stage").querySelectorAll("[data-place]").forEach((group) => {
    group.classList.toggle("dim", on && group.dataset.place !== String(object.place));
  });
  line.addEventListener("pointerenter", () => highlight(true));
  line.addEventListener("pointerleave", () => highlight(false));
  return line;
}

function valuesOf(canvas, object) {
  const parts = [];
  if (object.area !== undefined) {
    const share = object.region ? object.area / (object.region.width * object.region.height) : object.area / (canvas.width * canvas.height);
    parts.push([`area ${object.area.toLocaleString("en")} px (${Math.round(100 * share)} % of the ${object.region ? "region" : "image"})`, false]);
    parts.push([`box ${object.bbox.join(", ")}`, false]);
  }
  for (const [name, value] of Object.entries(object.measures || {})) {
    parts.push([`${spoken(name)} ${value.toFixed(3)}`, name === "stability" && value < DATA.unstable_below]);
  }
  if (object.judged) {
    const [confidence, named] = object.judged;
    const wrong = named !== categoryOf(object).name;
    parts.push([`judge ${confidence.toFixed(3)}${wrong ? `, takes it for ${spoken(named)}` : ""}`, wrong]);
  }
  return parts.flatMap(([text, low], i) => [i ? " · " : "", element("span", { textContent: text, className: low ? "low-value" : "" })]);
}

function factsOf(canvas) {
  const layout = DATA.layouts[canvas.layout];
  const regions = (layout.regions || []).map(([top, left, height, width]) => `${height} x ${width} at ${top}, ${left}`);
  const facts = [["outcome", canvas.file_name ? "accepted" : "rejected"]];
  if (canvas.file_name) {
    facts.push(["image", element("a", { href: canvas.file_name, target: "_blank", textContent: canvas.file_name })]);
  }
  facts.push(["size", `${canvas.height} x ${canvas.width}`], ["seed", canvas.seed]);
  if (canvas.group !== null) facts.push(["group", String(canvas.group)]);
  if (regions.length) facts.push(["regions", `height x width at top, left: ${regions.join("; ")}`]);
  for (const [key, value] of Object.entries(canvas.more || {})) {
    facts.push([spoken(key), typeof value === "string" ? value : JSON.stringify(value)]);
  }
  if (canvas.sha256) facts.push(["sha256", canvas.sha256]);
  return facts;
}

byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => detail.close());
detail.addEventListener("click", (event) => { if (event.target === detail) detail.close(); });
detail.addEventListener("close", () => {
  if (state.canvas) set({ canvas: "", object: "" });
  const card = grid.children[place];
  if (card) card.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
  if (event.key === "m") set({ masks: state.masks === "1" ? "0" : "1" });
  else if (event.key === "r") set({ rejects: state.rejects === "1" ? "0" : "1" });
  else if (detail.open && event.key === "ArrowLeft") step(-1);
  else if (detail.open && event.key === "ArrowRight") step(1);
  else return;
  event.preventDefault();
});

// --- the controls ---

const reasons = new Map();
const tallies = DATA.categories.map(() => ({ accepted: 0, objects: 0 }));
for (const object of OBJECTS) {
  tallies[object.category].objects += 1;
  if (object.reason) reasons.set(object.reason, (reasons.get(object.reason) || 0) + 1);
  else tallies[object.category].accepted += 1;
}
const categoryButtons = DATA.categories.map((category, i) => {
  const { accepted, objects } = tallies[i];
  const button = element("button", { type: "button", title: category.definition },
    element("span", { textContent: spoken(category.name) }),
    element("span", { className: "n", textContent: `${accepted} / ${objects}` }));
  button.setAttribute("aria-label", `${spoken(category.name)}: ${accepted} of ${objects} accepted`);
  button.addEventListener("click", () => set({ category: state.category === category.name ? "" : category.name }));
  return button;
});
const groupButtons = Object.entries(GROUPS)
  .filter(([key]) => !key || DATA.categories.some((c) => c.group === key))
  .map(([key, word]) => {
    const button = element("button", { type: "button", textContent: word });
    button.dataset.group = key;
    button.addEventListener("click", () => set({ group: key, category: "" }));
    return button;
  });

function showCategories() {
  const wanted = byId("search").value.trim().toLowerCase().replaceAll("_", " ");
  let shown = 0;
  categoryButtons.forEach((button, i) => {
    const { name, group } = DATA.categories[i];
    const fits = (!state.group || group === state.group) && spoken(name).toLowerCase().includes(wanted);
    button.hidden = !fits;
    button.setAttribute("aria-pressed", state.category === name);
    shown += fits;
  });
  byId("no-category").hidden = shown > 0;
  groupButtons.forEach((b) => b.setAttribute("aria-pressed", state.group === b.dataset.group));
}

function show() {
  document.documentElement.dataset.theme = state.theme;
  document.body.classList.toggle("no-masks", state.masks !== "1");
  document.body.classList.toggle("no-rejects", state.rejects !== "1" && !isReject(state.outcome));
  grid.style.setProperty("--card", `${state.size}px`);
  grid.style.setProperty("--aspect", state.view === "objects" ? "1" : aspect);
  for (const key of ["view", "outcome", "sort", "size", "theme"]) byId(key).value = state[key];
  for (const key of ["masks", "rejects"]) byId(key).checked = state[key] === "1";
  byId("report").open = state.report === "1";
  byId("reset").hidden = !(state.category || state.group || state.outcome);
  showCategories();
  showGrid();
  showDetail();
}

const total = OBJECTS.length;
const rejected = [...reasons.values()].reduce((sum, n) => sum + n, 0);
const option = (value, text) => element("option", { value, textContent: text });
byId("outcome").append(option("", `all (${total})`), option("accepted", `accepted (${total - rejected})`));
if (rejected) {
  byId("outcome").append(option("rejected", `rejected (${rejected})`),
    ...[...reasons].sort((a, b) => b[1] - a[1]).map(([reason, n]) => option(reason, `rejected: ${spoken(reason)} (${n})`)));
}
for (const [key, [text, value]] of Object.entries(ORDERS)) {
  if (!value || OBJECTS.some((object) => value(object) !== undefined)) byId("sort").append(option(key, text));
}
for (const key of ["view", "outcome", "sort", "theme"]) byId(key).addEventListener("change", (e) => set({ [key]: e.target.value }));
for (const key of ["masks", "rejects"]) byId(key).addEventListener("change", (e) => set({ [key]: e.target.checked ? "1" : "0" }));
byId("size").addEventListener("input", (e) => set({ size: e.target.value }));
byId("reset").addEventListener("click", () => set({ category: "", group: "", outcome: "" }));
byId("search").addEventListener("input", showCategories);
byId("report").addEventListener("toggle", (e) => set({ report: e.target.open ? "1" : "" }));
byId("skip").addEventListener("click", (e) => { e.preventDefault(); (grid.firstChild || grid).focus(); });
byId("categories").append(...categoryButtons);
byId("groups").append(...groupButtons);
const shapes = new Map();
for (const { width, height } of CANVASES) shapes.set(width / height, (shapes.get(width / height) || 0) + 1);
const aspect = String([...shapes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 1);
window.addEventListener("popstate", () => { state = readHash(); show(); });
window.addEventListener("hashchange", () => {
  state = readHash();
  show();
  if (!state.canvas) byId("page").scrollIntoView();
});
byId("page").hidden = false;
show();
