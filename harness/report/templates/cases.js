// The rows of the matrices, and what the filters and the sorting know of each.
const rows = every("table.cases tbody tr").map((element, place) => {
  const heads = every("thead th", element.closest("table")).slice(1);
  const cells = new Map();
  heads.forEach((head, column) => {
    const cell = element.children[column + 1];
    const figure = cell.querySelector("b");
    cells.set(head.dataset.provider, {
      cell, gate: "gate" in head.dataset, verdict: cell.dataset.v || "", quality: figure ? Number(figure.textContent) : null,
    });
  });
  const link = element.querySelector("th a");
  return {
    element, place, cells, link, id: element.dataset.case, name: link.textContent,
    suite: element.closest(".suite").dataset.suite, search: element.dataset.search,
    weak: (element.dataset.weak || "").split(" "), seeds: Number(element.dataset.seeds || 1),
  };
});
const rowOf = new Map(rows.map((row) => [row.id, row]));
const shown = () => order.filter((row) => !row.element.hidden);
let order = rows;

// The cell that a verdict or a sorting is about: the chosen provider's, else the gate's.
const judged = (row) => row.cells.get(state.provider) ?? [...row.cells.values()].find((cell) => cell.gate) ?? [...row.cells.values()][0];
const behind = (row) => {
  const own = judged(row);
  const best = Math.max(...[...row.cells.values()].filter((cell) => cell !== own).map((cell) => cell.quality ?? -1));
  return best - (own?.quality ?? 0);
};
