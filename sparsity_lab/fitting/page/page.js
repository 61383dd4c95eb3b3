// Everything here adds to a page that can be read without it. Text from data only ever becomes text nodes.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const make = (tag, text, parent) => {
    const one = document.createElement(tag);
    if (text !== undefined) one.textContent = text;
    if (parent) parent.append(one);
    return one;
  };

  // Light and dark. A file opened from disk may have no storage; the choice then lasts as long as the page.
  const root = document.documentElement, button = document.getElementById("theme");
  const dark = () => (root.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", `Use ${dark() ? "light" : "dark"} colours`); };
  try { root.style.colorScheme = localStorage.getItem("sparsity-lab-scheme") || ""; } catch { /* no storage */ }
  button.addEventListener("click", () => {
    root.style.colorScheme = dark() ? "light" : "dark";
    try { localStorage.setItem("sparsity-lab-scheme", root.style.colorScheme); } catch { /* no storage */ }
    label();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  button.hidden = false;
  label();

  // Tables: a button in each heading sorts; empty cells stay last; the order before decides between equals.
  const words = new Intl.Collator("en", { numeric: true }).compare;
  const key = (cell) => {
    const text = cell.dataset.v ?? cell.textContent, found = /^(?:[<>]=? ?)?(-?[\d.,]+(?:e[+-]?\d+)?)(?= |$)/.exec(text);
    const number = found ? Number(found[1].replaceAll(",", "")) : NaN;
    return Number.isNaN(number) ? text : number; // a bound, or a value with its unit, sorts by the number
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return typeof a === typeof b ? words(a, b) : (typeof a === "number" ? -1 : 1);
  };
  function sort(head) {
    const body = head.closest("table").tBodies[0], down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = Array.from(body.rows, (row) => [key(row.cells[head.cellIndex]), row]);
    keyed.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      return compare(a, b) * (down ? -1 : 1);
    });
    body.append(...keyed.map(([, row]) => row));
  }
  for (const head of document.querySelectorAll("table.sortable th")) {
    // No <button>: a browser that prints repeats no table head that holds one.
    const one = make("span", head.textContent);
    one.role = "button";
    one.tabIndex = 0;
    head.replaceChildren(one);
    head.setAttribute("aria-sort", "none");
    one.addEventListener("click", () => sort(head));
    one.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort(head);
    });
  }

  // Long tables: only the rows that hold the words.
  for (const table of document.querySelectorAll("table.sortable")) {
    if (table.tBodies[0].rows.length <= 20) continue;
    const box = make("input", undefined, table.closest(".table").querySelector("figcaption"));
    Object.assign(box, { type: "search", className: "filter", placeholder: "filter rows" });
    box.setAttribute("aria-label", "Filter the rows of this table");
    box.addEventListener("input", () => {
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }

  // A record, whole, with what each key means.
  const dialog = document.getElementById("record");
  const show = (key) => {
    const list = dialog.querySelector("dl"), record = data.records[key];
    dialog.querySelector("h2").textContent = `Record ${key}`;
    list.replaceChildren();
    for (const [name, one] of Object.entries(record)) {
      make("dt", name, list);
      const cell = make("dd", typeof one === "object" && one !== null ? JSON.stringify(one) : String(one), list);
      if (data.keys[name]) make("small", data.keys[name], cell);
    }
    dialog.showModal();
  };
  for (const cell of document.querySelectorAll("td[data-record]")) {
    if (!Object.hasOwn(data.records, cell.dataset.record)) continue;
    const one = make("button");
    one.type = "button";
    one.textContent = cell.textContent;
    cell.replaceChildren(one);
    one.addEventListener("click", () => show(cell.dataset.record));
  }

  // Tokens: pointing at one, or walking there with the arrow keys, shows its layers.
  const STEPS = 9;
  const step = (x, low, high) => (high > low ? Math.min(Math.max(Math.floor((STEPS * (x - low)) / (high - low)), 0), STEPS - 1) : 0);
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const three = (x) => x.toPrecision(3);
  document.querySelectorAll(".heat").forEach((box, number) => {
    const heat = data.heats[number], tokens = [...box.querySelectorAll(".token")];
    const panel = box.querySelector(".layers"), select = box.querySelector("select");
    const all = sum(heat.sizes), mean = heat.active.map((row) => sum(row) / all);
    const ratio = (t, l) => heat.active[t][l] / heat.sizes[l];
    const top = Math.max(...heat.active.map((row, t) => Math.max(...row.map((_, l) => ratio(t, l)))));
    let current = 0;
    const bar = (share) => {
      const svg = document.createElementNS(SVG, "svg"), rect = document.createElementNS(SVG, "rect");
      svg.setAttribute("aria-hidden", "true");
      rect.setAttribute("width", `${(100 * share).toFixed(1)}%`);
      rect.setAttribute("height", "100%");
      svg.append(rect);
      return svg;
    };
    const tell = (t) => {
      panel.replaceChildren();
      const loss = heat.loss[t] === null ? "" : `, loss ${three(heat.loss[t])} nats`;
      make("p", `Token ${t}, ${JSON.stringify(heat.tokens[t])}: activation ratio ${three(mean[t])}${loss}`, panel);
      const list = make("ol", undefined, panel);
      heat.sizes.forEach((_, l) => {
        const item = make("li", undefined, list);
        make("span", `layer ${l}`, item);
        item.append(bar(top > 0 ? ratio(t, l) / top : 0));
        make("span", three(ratio(t, l)), item);
      });
      tokens[current].setAttribute("aria-selected", "false");
      tokens[current].tabIndex = -1;
      current = t;
      tokens[t].setAttribute("aria-selected", "true");
      tokens[t].tabIndex = 0;
    };
    const move = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10, Home: -Infinity, End: Infinity };
    box.addEventListener("keydown", (event) => {
      if (!(event.key in move) || !event.target.classList.contains("token")) return;
      event.preventDefault();
      tokens[Math.min(Math.max(current + move[event.key], 0), tokens.length - 1)].focus();
    });
    tokens.forEach((token, t) => {
      token.addEventListener("focus", () => tell(t));
      token.addEventListener("pointerenter", () => tell(t));
    });
    box.querySelector(".map svg").addEventListener("pointermove", (event) => {
      const area = event.currentTarget.getBoundingClientRect();
      tell(Math.min(Math.max(Math.floor((tokens.length * (event.clientX - area.left)) / area.width), 0), tokens.length - 1));
    });
    select.addEventListener("change", () => {
      const values = select.value === "all" ? mean : heat.active.map((_, t) => ratio(t, Number(select.value)));
      const low = Math.min(...values), high = Math.max(...values);
      tokens.forEach((token, t) => { token.className = `token h${step(values[t], low, high)}`; });
      box.querySelector(".low").textContent = three(low);
      box.querySelector(".high").textContent = three(high);
    });
    select.disabled = false;
  });

  // On paper everything is open.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });

  // An address with a part of the page opens what it lies in.
  const reveal = () => {
    const goal = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let one = goal; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
    if (goal) goal.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();
})();
