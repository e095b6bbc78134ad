// The matrix as a grid of pictures: each row is filled when it comes near the window.
const fillRow = (row) => {
  const body = bodyOf(row.id);
  for (const [provider, { cell }] of row.cells) {
    const strip = every(".strip", body).find((part) => part.dataset.provider === provider);
    const figures = strip ? every("figure:not(.near)", strip) : [];
    const figure = figures[Math.min(Number(state.seed), figures.length - 1)];
    const address = sourceOf(figure?.querySelector(".photo"));
    let picture = cell.querySelector("img");
    if (!address) {
      picture?.remove();
      continue;
    }
    if (!picture) {
      picture = make("img", { alt: "", decoding: "async" });
      cell.prepend(picture);
    }
    picture.src = address;
  }
  row.filled = state.seed;
};
const near = new IntersectionObserver((entries) => {
  if (state.view !== "pictures") return;
  for (const entry of entries) {
    const row = rowOf.get(entry.target.dataset.case);
    row.near = entry.isIntersecting;
    if (row.near && row.filled !== state.seed) fillRow(row);
  }
}, { rootMargin: "600px" });
let watching = false;
const applyView = () => {
  const pictures = state.view === "pictures";
  find("cases").classList.toggle("seeing", pictures);
  find("view").setAttribute("aria-pressed", String(pictures));
  if (pictures && !watching) {
    for (const row of rows) near.observe(row.element);
    watching = true;
  } else if (pictures) {
    for (const row of rows) if (row.near && row.filled !== state.seed) fillRow(row);
  } else {
    near.disconnect();
    watching = false;
  }
};
const turnView = () => {
  state.view = state.view === "pictures" ? "numbers" : "pictures";
  refresh();
};
const stepSeed = (step) => {
  const field = find("seed");
  const last = field.options.length - 1;
  state.seed = field.value = String(Math.min(last, Math.max(0, Number(state.seed) + step)));
  refresh();
};
