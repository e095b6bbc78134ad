// All that a link should bring back stands behind the # of the address.
const DEFAULTS = {
  q: "", suite: "", provider: "", verdict: "", weak: "", sort: "", seed: "0", view: "pictures",
  at: "", case: "", left: "", right: "", mode: "side",
};
const state = { ...DEFAULTS };

const writeState = (push = false) => {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (value !== DEFAULTS[name] && (state.case || !["left", "right", "mode"].includes(name))) words.set(name, value);
  }
  const address = location.pathname + location.search + (words.size ? "#" + words : "");
  history[push ? "pushState" : "replaceState"](null, "", address);
};
const readState = () => {
  const hash = location.hash.slice(1);
  if (hash && !hash.includes("=")) {  // a plain fragment: a chapter, a recipe, or a case
    const target = find(decodeURIComponent(hash));
    if (target?.matches("article.case")) {
      state.case = target.id;
      return;
    }
    if (target?.matches("details")) target.open = true;
    state.case = "";
    return;
  }
  const words = new URLSearchParams(hash);
  for (const name of Object.keys(DEFAULTS)) state[name] = words.get(name) ?? DEFAULTS[name];
};
