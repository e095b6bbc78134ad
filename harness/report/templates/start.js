// Everything begins here: what the address says is shown, and every control is bound once.
const refresh = () => {
  writeState();
  applyFilters();
  applyView();
};
let chapter = "";  // the last that the address led to
const goTo = (id) => {
  chapter = id;
  const target = find(id);
  target?.scrollIntoView();
  target?.setAttribute("tabindex", "-1");
  target?.focus({ preventScroll: true });
};
const readAll = () => {
  readState();
  showFilters();
  applyFilters();
  applyView();
  applyCase();
  showMode();
  if (state.at && state.at !== chapter) goTo(state.at);
  chapter = state.at;
};
const printAll = () => {
  if (state.view === "pictures") for (const row of shown()) if (row.filled !== state.seed) fillRow(row);
  for (const article of every("article.case")) {
    const row = rowOf.get(article.id);
    article.hidden = Boolean(row?.element.hidden);
    if (!article.hidden && !article.querySelector(".paper")) {
      article.append(make("div", { className: "paper" }, ...Array.from(bodyOf(article.id).cloneNode(true).childNodes)));
    }
  }
  for (const fold of every("details:not([open])")) {
    fold.dataset.folded = "";
    fold.open = true;
  }
};
const unprint = () => {
  for (const fold of every("details[data-folded]")) {
    fold.open = false;
    delete fold.dataset.folded;
  }
};
document.documentElement.classList.add("scripted");
showTheme(memory() in THEMES ? memory() : "auto");
startFilters();
startStage();
find("view").addEventListener("click", turnView);
find("theme").addEventListener("click", turnTheme);
find("keys").addEventListener("click", showHelp);
find("help-close").addEventListener("click", () => help.close());
find("close").addEventListener("click", closeCase);
find("previous").addEventListener("click", () => stepCase(-1));
find("next").addEventListener("click", () => stepCase(1));
viewer.addEventListener("cancel", (event) => {
  event.preventDefault();
  closeCase();
});
find("cases").addEventListener("click", (event) => {
  const line = event.target.closest("table.cases tbody tr");
  if (!line || event.ctrlKey || event.metaKey || getSelection().toString()) return;
  const cell = event.target.closest("td");
  if (!cell && !event.target.closest("a")) return;
  event.preventDefault();
  const row = rowOf.get(line.dataset.case);
  openCase(row.id, [...row.cells].find(([, found]) => found.cell === cell)?.[0] ?? "");
});
document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a[href^="#"]');
  const target = link && find(decodeURIComponent(link.getAttribute("href").slice(1)));
  if (!target || event.defaultPrevented) return;
  if (target.matches("article.case")) {
    event.preventDefault();
    openCase(target.id);
  } else if (target.matches("details")) {
    event.preventDefault();
    if (viewer.open) closeCase();
    target.open = true;
    target.scrollIntoView();
    target.querySelector("summary").focus();
  } else if (target.matches("section, main")) {  // a chapter; what is filtered stays in the address
    event.preventDefault();
    state.at = target.id;
    writeState(true);
    goTo(target.id);
  }
});
document.addEventListener("keydown", onKey);
addEventListener("popstate", readAll);
addEventListener("hashchange", readAll);
addEventListener("beforeprint", printAll);
addEventListener("afterprint", unprint);
matchMedia("print").addEventListener("change", (event) => (event.matches ? printAll : unprint)());
readAll();
