// Two pictures: side by side, under a slider, or in turn; both zoomed and moved as one.
const stage = find("stage");
const moved = { zoom: 1, x: 0, y: 0 };
let ticking = 0;

const fillLabels = () => {
  for (const id of ["left-of", "right-of"]) {
    find(id).replaceChildren(...choices.map((choice) => new Option(nameOf(choice), choice.key)));
  }
};
const frames = Object.fromEntries(["left", "right"].map((side) => [side, make("img", { id: side, alt: "" })]));
for (const [side, frame] of Object.entries(frames)) stage.querySelector(".pane." + side).append(frame);
const showPicture = (side, choice) => {
  const picture = frames[side];
  const alt = choice ? nameOf(choice) : "no picture";
  picture.alt = alt;
  picture.src = choice ? sourceOf(choice.photo) : "data:,";
  if (!choice?.link) return;
  const whole = new Image();  // the original where it lies beside the page; the small one stays where it does not
  whole.onload = () => { if (picture.alt === alt && find(side + "-of").value === choice.key) picture.src = whole.src; };
  whole.src = choice.link;
};
const compare = (left, right) => {
  Object.assign(state, { left, right });
  writeState();
  const pair = { left: choices.find((choice) => choice.key === left), right: choices.find((choice) => choice.key === right) };
  for (const [side, choice] of Object.entries(pair)) {
    find(side + "-of").value = choice?.key ?? "";
    showPicture(side, choice);
  }
  for (const choice of choices) {
    choice.figure.classList.toggle("is-left", choice === pair.left);
    choice.figure.classList.toggle("is-right", choice === pair.right);
  }
  const original = find("original");
  original.hidden = !pair.right?.link;
  if (pair.right?.link) original.href = pair.right.link;
  find("seen").textContent = `Left ${nameOf(pair.left)}, right ${nameOf(pair.right)}`;
};
const showMode = () => {
  stage.dataset.mode = state.mode;
  for (const button of every(".modes button[data-mode]")) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === state.mode));
  }
  clearInterval(ticking);
  stage.classList.remove("flipped");
  if (state.mode === "blink" && viewer.open && !calm.matches) ticking = setInterval(() => stage.classList.toggle("flipped"), 650);
};
const setMode = (mode) => {
  state.mode = mode;
  writeState();
  showMode();
};
const flip = () => {
  clearInterval(ticking);  // whoever flips by hand wants the time to look
  stage.classList.toggle("flipped");
};
const place = () => {
  const room = 50 * (moved.zoom - 1);
  moved.x = Math.max(-room, Math.min(room, moved.x));
  moved.y = Math.max(-room, Math.min(room, moved.y));
  stage.classList.toggle("zoomed", moved.zoom > 1);
  stage.style.setProperty("--zoom", moved.zoom);
  stage.style.setProperty("--x", moved.x + "%");
  stage.style.setProperty("--y", moved.y + "%");
  find("zoom").textContent = `${Math.round(10 * moved.zoom) / 10}×`;
};
const zoom = (factor) => {
  const before = moved.zoom;
  moved.zoom = factor ? Math.max(1, Math.min(16, moved.zoom * factor)) : 1;
  moved.x *= moved.zoom / before;
  moved.y *= moved.zoom / before;
  place();
};
const swap = () => compare(state.right, state.left);
const chooseProvider = (number, side) => {
  const names = [...new Set(choices.map((choice) => choice.provider))];
  const [seed] = partsOf(state[side]);
  const choice = pick(names[number - 1], seed);
  if (choice) compare(side === "left" ? choice.key : state.left, side === "right" ? choice.key : state.right);
};
const stepPicture = (step) => {
  const now = choices.find((choice) => choice.key === state.right);
  const own = choices.filter((choice) => choice.provider === now?.provider);
  const next = own[own.indexOf(now) + step];
  if (!next) return;
  const left = choices.find((choice) => choice.key === state.left);
  const pair = left && left.provider !== "reference" ? pick(left.provider, next.seed) : left;
  compare(pair?.key ?? "", next.key);
};
const startStage = () => {
  find("slider").addEventListener("input", (event) => stage.style.setProperty("--at", event.target.value + "%"));
  for (const button of every(".modes button[data-mode]")) button.addEventListener("click", () => setMode(button.dataset.mode));
  find("left-of").addEventListener("change", (event) => compare(event.target.value, state.right));
  find("right-of").addEventListener("change", (event) => compare(state.left, event.target.value));
  find("swap").addEventListener("click", swap);
  find("zoom-in").addEventListener("click", () => zoom(1.5));
  find("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
  find("zoom-reset").addEventListener("click", () => zoom(0));
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2);
  }, { passive: false });
  const fingers = new Map();  // pointers that are down; two of them pinch
  const apart = () => Math.hypot(...["x", "y"].map((axis) => [...fingers.values()].reduce((sum, at, n) => sum + (n ? -at[axis] : at[axis]), 0)));
  stage.addEventListener("pointerdown", (event) => {
    if (event.target.id === "slider") return;
    if (state.mode === "blink" && !fingers.size) flip();
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = apart();
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 2) {
      zoom(apart() / Math.max(1, before) || 1);
      return;
    }
    const width = stage.querySelector(".pane").clientWidth || 1;
    moved.x += (100 * event.movementX) / width;
    moved.y += (100 * event.movementY) / width;
    place();
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => fingers.delete(event.pointerId));
  for (const frame of Object.values(frames)) {
    frame.addEventListener("load", () => stage.style.setProperty("--ratio", frame.naturalWidth / frame.naturalHeight || 1));
  }
};
