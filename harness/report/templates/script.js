"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const cases = Array.from(document.querySelectorAll("details.case"));
  const filter = find("filter"), trouble = find("trouble"), unfold = find("unfold"), count = find("count");
  document.documentElement.classList.add("scripted");

  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of cases) {
      const fits = words.every((word) => item.dataset.search.includes(word));
      const wanted = !trouble.checked || !["pass", "skipped", "none"].includes(item.dataset.verdict);
      item.hidden = !(fits && wanted);
      shown += item.hidden ? 0 : 1;
    }
    count.textContent = shown === cases.length ? "" : shown + " of " + cases.length;
  };
  const visible = () => cases.filter((item) => !item.hidden);
  const label = () => {
    unfold.textContent = visible().every((item) => item.open) ? "fold all" : "unfold all";
  };
  const toggle = () => {
    const open = !visible().every((item) => item.open);
    for (const item of visible()) item.open = open;
    label();
  };
  const reveal = () => {
    const target = location.hash.length > 1 && find(decodeURIComponent(location.hash.slice(1)));
    if (target && target.matches("details")) {
      target.hidden = false;
      target.open = true;
      target.scrollIntoView();
    }
  };

  filter.addEventListener("input", apply);
  trouble.addEventListener("change", apply);
  unfold.addEventListener("click", toggle);
  for (const item of cases) item.addEventListener("toggle", label);
  window.addEventListener("hashchange", reveal);
  window.addEventListener("beforeprint", () => {
    for (const item of visible()) item.open = true;
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") {
      event.preventDefault();
      filter.focus();
    } else if (event.key === "e") toggle();
  });
  label();
  reveal();
})();
