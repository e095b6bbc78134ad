"use strict";
// Pages work without this file: it adds keys, and a slider over two pictures.

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  const button = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!button || document.documentElement.dataset.sent) return;
  event.preventDefault();
  button.click();
});

document.addEventListener("submit", () => { document.documentElement.dataset.sent = "1"; });
window.addEventListener("pageshow", () => { delete document.documentElement.dataset.sent; });

for (const duo of document.querySelectorAll(".duo")) {
  const pictures = duo.querySelectorAll(".two img");
  if (pictures.length !== 2) continue;
  const caption = duo.querySelector("figcaption");
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = "0";
  slider.max = "100";
  slider.value = "50";
  slider.setAttribute("aria-label", `Slider between ${pictures[0].alt} and ${pictures[1].alt}`);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.setAttribute("aria-pressed", "false");
  button.textContent = "slider";
  const cut = () => duo.style.setProperty("--cut", `${slider.value}%`);
  slider.addEventListener("input", cut);
  button.addEventListener("click", () => {
    const over = duo.classList.toggle("over");
    button.setAttribute("aria-pressed", String(over));
    if (over) { caption.append(slider); cut(); } else { slider.remove(); }
  });
  caption.append(" ", button);
}
