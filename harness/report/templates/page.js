// Small things that everything else uses.
const find = (id) => document.getElementById(id);
const every = (selector, inside = document) => Array.from(inside.querySelectorAll(selector));
const make = (tag, properties = {}, ...inside) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...inside);
  return element;
};
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// A case's pictures and numbers stand in a <noscript>: plain reading without scripts, one piece of text with them.
const bodies = new Map();
const bodyOf = (id) => {
  if (!bodies.has(id)) {
    const source = find(id)?.querySelector("noscript");
    bodies.set(id, new DOMParser().parseFromString(source ? source.textContent : "", "text/html").body);
  }
  return bodies.get(id);
};
const sourceOf = (photo) => {
  const picture = photo?.querySelector("img");
  if (picture) return picture.getAttribute("src");
  const shared = photo?.querySelector(".shared");
  if (!shared) return "";
  const probe = make("span", { className: shared.className, hidden: true });
  document.body.append(probe);
  const address = getComputedStyle(probe).backgroundImage.slice(5, -2);
  probe.remove();
  return address;
};

// Copying without asking anybody: works from a file, where the clipboard may be out of bounds.
const copyText = (words, button) => {
  const field = make("textarea", { value: words, readOnly: true, className: "hear" });
  button.after(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  button.focus();
  button.textContent = done ? "copied" : "press Ctrl+C";
  if (!done) getSelection().selectAllChildren(button.parentElement);
  setTimeout(() => { button.textContent = "copy recipe"; }, 1600);
};
