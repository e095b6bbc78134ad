// Which rows are shown, and in which order.
const FILTERS = ["search", "suite", "provider", "verdict", "weak", "sort", "seed"];
const NAMES = { search: "q" };
const TROUBLE = ["fail", "inconclusive", "not_judged", "error"];
const SORTS = {
  worst: (a, b) => (judged(a)?.quality ?? 2) - (judged(b)?.quality ?? 2),
  best: (a, b) => (judged(b)?.quality ?? -1) - (judged(a)?.quality ?? -1),
  behind: (a, b) => behind(b) - behind(a),
  name: (a, b) => a.name.localeCompare(b.name),
};
const fits = (row, words) => {
  const verdict = judged(row)?.verdict;
  return words.every((word) => row.search.includes(word))
    && (!state.suite || row.suite === state.suite)
    && (!state.provider || Boolean(row.cells.get(state.provider)?.verdict))
    && (!state.verdict || (state.verdict === "trouble" ? TROUBLE.includes(verdict) : verdict === state.verdict))
    && (!state.weak || row.weak.includes(state.weak));
};
let sorted = "";
const applyFilters = () => {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) row.element.hidden = !fits(row, words);
  const wanted = state.sort + " " + state.provider;
  if (wanted.trim() !== sorted && (state.sort || sorted)) {
    order = state.sort in SORTS ? [...rows].sort((a, b) => SORTS[state.sort](a, b) || a.place - b.place) : rows;
    for (const row of order) row.element.parentElement.append(row.element);
  }
  sorted = state.sort ? wanted.trim() : "";
  for (const part of every("#cases .suite")) part.hidden = !part.querySelector("tbody tr:not([hidden])");
  const count = shown().length;
  find("count").textContent = count === rows.length ? "" : `${count} of ${rows.length}`;
  find("nothing").hidden = count > 0 || !rows.length;
  find("clear").hidden = FILTERS.every((id) => state[NAMES[id] ?? id] === DEFAULTS[NAMES[id] ?? id]);
  for (const head of every("table.cases thead th[data-provider]")) {
    head.classList.toggle("chosen", head.dataset.provider === state.provider);
  }
};
const showFilters = () => {
  for (const id of FILTERS) {
    const field = find(id);
    if (!field) continue;
    field.value = state[NAMES[id] ?? id];
    if (field.value !== state[NAMES[id] ?? id]) state[NAMES[id] ?? id] = field.value = DEFAULTS[NAMES[id] ?? id];
  }
};
const clearFilters = () => {
  for (const id of FILTERS) state[NAMES[id] ?? id] = DEFAULTS[NAMES[id] ?? id];
  showFilters();
  refresh();
};
const nth = (number) => number + (["st", "nd", "rd"][number - 1] ?? "th");
const startFilters = () => {
  const seeds = Math.max(1, ...rows.map((row) => row.seeds));
  find("seed").replaceChildren(...Array.from({ length: seeds }, (_, place) => new Option(nth(place + 1), place)));
  for (const id of FILTERS) {
    find(id)?.addEventListener(id === "search" ? "input" : "change", (event) => {
      state[NAMES[id] ?? id] = event.target.value;
      refresh();
    });
  }
  find("clear").addEventListener("click", clearFilters);
};
