// One case in a dialog: its pictures to compare, and below them everything that is known of it.
const viewer = find("viewer");
let choices = [];  // every picture of the open case, in the order of the page

const keyOf = (provider, seed) => `${seed}@${provider}`;
const partsOf = (key) => [key.slice(0, Math.max(0, key.indexOf("@"))), key.slice(key.indexOf("@") + 1)];
const choiceOf = (strip, figure) => {
  const photo = figure.querySelector(".photo");
  const provider = strip.dataset.provider;
  return { provider, seed: figure.dataset.seed, photo, figure, key: keyOf(provider, figure.dataset.seed), link: photo?.getAttribute("href") };
};
const pick = (provider, seed) => {
  const own = choices.filter((choice) => choice.provider === provider);
  return own.find((choice) => choice.seed === seed) ?? own[0];
};
const nameOf = (choice) => choice ? `${choice.provider} · ${choice.provider === "reference" ? "" : "seed "}${choice.seed}` : "";

const recipeText = (strip) => {
  const about = find("about");
  const lines = [`provider: ${strip.dataset.provider}`, `prompt: ${about.querySelector(".asked")?.textContent ?? ""}`];
  const negative = about.querySelector(".negative");
  if (negative) lines.push(`negative: ${negative.textContent}`);
  lines.push("seeds: " + every("figure:not(.near)", strip).map((figure) => figure.dataset.seed).join(", "));
  const shared = strip.dataset.recipe && find(strip.dataset.recipe);
  for (const line of shared ? every(".lines > div", shared) : []) {
    lines.push(`${line.children[0].textContent}: ${line.children[1].textContent}`);
  }
  return lines.join("\n") + "\n";
};
const dressStrip = (strip, place) => {
  if (place < 9) strip.querySelector(".name").after(make("kbd", { textContent: place + 1 }));
  for (const figure of every("figure", strip)) {
    const choice = choiceOf(strip, figure);
    if (!choice.photo || !sourceOf(choice.photo)) continue;
    choices.push(choice);
    choice.photo.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      compare(event.shiftKey ? choice.key : state.left, event.shiftKey ? state.right : choice.key);
    });
  }
  const more = strip.querySelector(".more");
  if (!more) return;
  more.open = strip.classList.contains("gate");
  const button = make("button", { type: "button", className: "copy", textContent: "copy recipe" });
  button.addEventListener("click", () => copyText(recipeText(strip), button));
  more.querySelector("p")?.append(" ", button);
};
const fillViewer = (id) => {
  const article = find(id);
  const title = find("viewer-title");
  title.replaceChildren(...every("h3", article)[0].cloneNode(true).childNodes);
  const body = find("viewer-body");
  body.replaceChildren(...Array.from(bodyOf(id).cloneNode(true).childNodes));
  find("about").replaceChildren(...every(":scope > p", body));
  body.scrollTop = viewer.scrollTop = 0;
  choices = [];
  every(".strip", body).forEach(dressStrip);
  fillLabels();
};
const startPair = () => {
  const gate = find("viewer-body").querySelector(".strip.gate")?.dataset.provider ?? choices.find((c) => c.provider !== "reference")?.provider;
  const first = pick(gate, "") ?? choices[0];
  const left = choices.find((choice) => choice.key === state.left) ?? pick("reference", "1") ?? first;
  const right = choices.find((choice) => choice.key === state.right) ?? pick(...partsOf(state.right).reverse()) ?? first;
  compare(left?.key ?? "", right?.key ?? "");
};
let opened = "";
const applyCase = () => {
  const row = rowOf.get(state.case);
  if (!row) {
    if (viewer.open) viewer.close();
    opened = "";
    return;
  }
  if (opened !== state.case) {
    opened = state.case;
    fillViewer(state.case);
    startPair();
  }
  if (!viewer.open) {
    viewer.showModal();
    find("viewer-title").focus();
  }
};
const openCase = (id, provider = "") => {
  state.case = id;
  if (provider) {
    const seeds = every(".strip", bodyOf(id)).find((strip) => strip.dataset.provider === provider);
    const figures = seeds ? every("figure:not(.near)", seeds) : [];
    const figure = figures[Math.min(Number(state.seed), figures.length - 1)];
    state.right = figure ? keyOf(provider, figure.dataset.seed) : "";
  }
  writeState(true);
  applyCase();
};
const closeCase = () => {
  const row = rowOf.get(state.case);
  Object.assign(state, { case: "", left: "", right: "", mode: "side" });
  writeState(true);
  applyCase();
  showMode();
  row?.link.focus({ preventScroll: true });
  row?.element.scrollIntoView({ block: "nearest" });
};
const stepCase = (step) => {
  const list = shown();
  const place = list.findIndex((row) => row.id === state.case);
  const row = list[place < 0 ? 0 : place + step];
  if (!row) return;
  Object.assign(state, { case: row.id, left: "" });  // the right picture stays with its provider and seed
  writeState();
  applyCase();
};
