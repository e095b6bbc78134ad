// One key for everything that is done often.
const help = find("help");
const THEMES = { auto: "as the system has them", light: "light", dark: "dark" };
const showTheme = (theme) => {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const button = find("theme");
  button.setAttribute("aria-label", "Colours: " + THEMES[theme]);
  button.querySelector("span").textContent = theme;
};
const memory = (theme) => {  // a browser may forbid it for files
  try {
    if (theme) localStorage.setItem("report-theme", theme);
    return localStorage.getItem("report-theme");
  } catch {
    return theme;
  }
};
const turnTheme = () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % names.length];
  memory(next);
  showTheme(next);
};
const showHelp = () => { if (!help.open) help.showModal(); };

const stepRow = (step) => {
  const list = shown();
  const now = list.findIndex((row) => row.element.contains(document.activeElement));
  const row = list[Math.max(0, Math.min(list.length - 1, now < 0 ? 0 : now + step))];
  row?.link.focus({ preventScroll: true });
  row?.element.scrollIntoView({ block: "center" });
};
const EVERYWHERE = { "?": showHelp, t: turnTheme };
const INLIST = {
  "/": () => find("search").focus(), j: () => stepRow(1), k: () => stepRow(-1), g: turnView,
  "[": () => stepSeed(-1), "]": () => stepSeed(1),
};
const INCASE = {
  j: () => stepCase(1), k: () => stepCase(-1), ArrowRight: () => stepCase(1), ArrowLeft: () => stepCase(-1),
  "[": () => stepPicture(-1), "]": () => stepPicture(1), x: swap, d: () => setMode("side"), s: () => setMode("slide"),
  b: () => setMode("blink"), "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: () => zoom(0),
};
const onKey = (event) => {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (target.matches("input[type=search]")) {
    if (event.key === "Escape") {
      event.preventDefault();
      state.q = target.value = "";
      refresh();
      target.blur();
    } else if (event.key === "Enter") stepRow(0);
    return;
  }
  if (target.matches("select, input") && /^(Arrow|Home|End|.$)/.test(event.key) && event.key !== "?") return;
  const digit = /^Digit([1-9])$/.exec(event.code);
  const arrow = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  let act = EVERYWHERE[event.key] ?? (viewer.open ? INCASE : INLIST)[event.key];
  if (viewer.open && digit) act = () => chooseProvider(Number(digit[1]), event.shiftKey ? "left" : "right");
  if (viewer.open && event.key === " " && state.mode === "blink" && !target.matches("button, a, summary")) act = flip;
  if (!viewer.open && arrow && target.closest("table.cases tbody")) act = () => stepRow(arrow);
  if (!act) return;
  event.preventDefault();
  act();
};
