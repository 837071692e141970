(function () {
  "use strict";
  const other = { before: "after", after: "before", "overlay-before": "overlay-after", "overlay-after": "overlay-before",
                  fixed: "after", checkerboard: "overlay-after" };
  // all other ways to look are compared with the fixed picture alone
  const beside = (mode) => other[mode] || "fixed";
  for (const explorer of document.querySelectorAll(".explorer")) {
    const buttons = [...explorer.querySelectorAll(".modes > button")];
    const ways = [...explorer.querySelectorAll(".ways button")];
    const paint = (way) => {
      explorer.dataset.greys = way;
      for (const button of ways) button.setAttribute("aria-pressed", String(button.value === way));
    };
    for (const button of ways) button.addEventListener("click", () => paint(button.value));
    const has = (mode) => buttons.some((button) => button.value === mode);
    const show = (mode) => {
      if (!has(mode)) return;
      explorer.dataset.mode = mode;
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.value === mode));
    };
    for (const button of buttons) button.addEventListener("click", () => show(button.value));
    for (const plane of explorer.querySelectorAll(".plane")) {
      const slices = [...plane.querySelectorAll(".slice")];
      const slider = plane.querySelector("input");
      const turn = () => {
        slices.forEach((slice, n) => { slice.hidden = n !== Number(slider.value); });
        plane.querySelector("output").textContent = slices[Number(slider.value)].dataset.position;
      };
      slider.addEventListener("input", turn);
      turn();
    }
    let held = null;
    for (const stage of explorer.querySelectorAll(".stage")) {
      stage.addEventListener("pointerdown", () => { held = explorer.dataset.mode; show(beside(held)); });
    }
    addEventListener("pointerup", () => { if (held) show(held); held = null; });
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.key === "b" || event.key === "B") show(beside(explorer.dataset.mode));
      if (event.key.toLowerCase() === "w" && ways.length) paint(ways[(Number(explorer.dataset.greys) + 1) % ways.length].value);
      const number = Number(event.key);
      if (number >= 1 && number <= buttons.length) show(buttons[number - 1].value);
    });
  }
})();
