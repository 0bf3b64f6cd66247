"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const live = document.getElementById("live");

  // Copying.
  const byHand = (text, button) => {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "vh";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    button.focus();
    return done;
  };
  const copy = async (button) => {
    const text = button.dataset.copy;
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      done = byHand(text, button);
    }
    const words = button.textContent;
    button.textContent = done ? "Copied" : "Not copied";
    live.textContent = done ? "Copied to the clipboard" : "The browser did not allow it";
    setTimeout(() => { button.textContent = words; }, 1600);
  };
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", () => { if (button.textContent === "Copy") copy(button); });
  }

  // Zooming: marks know their seconds; the window decides where they stand.
  const step = (span) => {
    const rough = span / 8;
    const power = 10 ** Math.floor(Math.log10(rough));
    return power * [1, 2, 5, 10].find((times) => times * power >= rough * 0.999999);
  };
  const node = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const setUp = (figure) => {
    const svg = figure.querySelector("svg.plot");
    const all = [Number(svg.dataset.from), Number(svg.dataset.until)];
    const left = Number(svg.dataset.left);
    const right = Number(svg.dataset.right);
    const axis = svg.querySelector(".axis");
    const [top, bottom] = [Number(axis.dataset.top), Number(axis.dataset.bottom)];
    const readout = figure.querySelector(".readout");
    let [from, until] = all;
    const x = (at) => left + (at - from) / (until - from) * (right - left);
    const draw = () => {
      for (const mark of svg.querySelectorAll("[data-a]")) {
        const a = x(Number(mark.dataset.a));
        if (mark.dataset.b === undefined) {
          mark.setAttribute("transform", `translate(${a},${mark.dataset.y})`);
        } else {
          mark.setAttribute("x", a);
          mark.setAttribute("width", Math.max(3, x(Number(mark.dataset.b)) - a));
        }
      }
      axis.replaceChildren();
      const by = step(until - from);
      const digits = Math.min(6, Math.max(0, -Math.floor(Math.log10(by))));
      for (let i = Math.ceil(from / by); i * by <= until; i += 1) {
        const at = x(i * by);
        axis.append(node("line", { x1: at, x2: at, y1: top, y2: bottom }));
        const text = node("text", { x: at, y: bottom + 16, "text-anchor": "middle" });
        text.textContent = `${(i * by).toFixed(digits)} s`;
        axis.append(text);
      }
    };
    const show = (a, b) => {
      const least = Math.max((all[1] - all[0]) / 1e5, 1e-6);
      const span = Math.min(Math.max(b - a, least), all[1] - all[0]);
      from = Math.min(Math.max(a, all[0]), all[1] - span);
      until = from + span;
      draw();
      live.textContent = `${from.toFixed(3)} to ${until.toFixed(3)} seconds`;
    };
    const around = (middle, factor) => {
      const half = (until - from) / 2 * factor;
      show(middle - half, middle + half);
    };
    const move = { in: (m) => around(m, 0.5), out: (m) => around(m, 2), back: (m, s) => show(from - s / 3, until - s / 3), on: (m, s) => show(from + s / 3, until + s / 3), all: () => show(...all) };
    for (const button of figure.querySelectorAll("button[data-zoom]")) {
      button.addEventListener("click", () => move[button.dataset.zoom]((from + until) / 2, until - from));
    }
    const at = (event) => {
      const box = svg.getBoundingClientRect();
      const units = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      return units < left || units > right ? null : from + (units - left) / (right - left) * (until - from);
    };
    svg.addEventListener("dblclick", (event) => {
      const middle = at(event);
      if (middle !== null) around(middle, event.shiftKey ? 2 : 0.5);
    });
    svg.addEventListener("pointermove", (event) => {
      const moment = at(event);
      const title = event.target.closest("g")?.querySelector(":scope > title") ?? event.target.parentNode?.parentNode?.querySelector?.(":scope > title");
      const words = title && title.parentNode !== svg ? title.textContent : "";
      readout.textContent = words || (moment === null ? "" : `${moment.toFixed(3)} s`);
    });
    svg.addEventListener("pointerleave", () => { readout.textContent = ""; });
    figure.querySelector(".tools").hidden = false;
  };
  document.querySelectorAll("figure.zoom").forEach(setUp);

  // A link to a folded session opens it; paper shows what is folded.
  const unfold = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details.print")) folded.open = true;
  });
})();
