"use strict";
// The page works without this script, then without sorting, filters and search.
(() => {
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const shown = (cell) => cell.dataset.sort ?? cell.textContent.trim();
  const number = (cell) => parseFloat(shown(cell).replace(/\u2212/g, "-").replace(/[,<]/g, ""));

  const sortBy = (table, place, header) => {
    const descending = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const numeric = "numeric" in header.dataset;
    const sign = descending ? -1 : 1;
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row) => {
      row.classList.remove("break");
      const cell = row.cells[place];
      return [numeric ? number(cell) : shown(cell), row];
    });
    keyed.sort(([a], [b]) => {
      if (!numeric) return sign * a.localeCompare(b, "en", { numeric: true });
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return sign * (a - b);
    });
    body.append(...keyed.map(([, row]) => row));
  };

  const searchBox = (name, changed) => {
    const input = make("input", { type: "search", autocomplete: "off", spellcheck: false });
    input.addEventListener("input", changed);
    return [make("label", {}, name, input), () => input.value.trim().toLowerCase()];
  };

  const choice = (name, values, changed) => {
    const all = make("option", { value: "", textContent: "all" });
    const options = values.map((value) => make("option", { value, textContent: value }));
    const select = make("select", {}, all, ...options);
    select.addEventListener("change", changed);
    return [make("label", {}, name, select), () => select.value];
  };

  const equip = (grid) => {
    const table = grid.querySelector("table");
    const headers = [...table.tHead.rows[0].cells];
    const rows = [...table.tBodies[0].rows];
    if (rows.length < 2) return;
    const tests = [];
    const tools = make("div", { className: "tools" });
    const told = make("output", {});
    const apply = () => {
      const active = tests.map((test) => test()).filter(Boolean);
      let left = 0;
      for (const row of rows) {
        row.hidden = !active.every((fits) => fits(row));
        left += !row.hidden;
      }
      told.textContent = active.length ? `${left} of ${rows.length} rows` : "";
    };
    headers.forEach((header, place) => {
      if ("filter" in header.dataset) {
        const values = [...new Set(rows.map((row) => row.cells[place].textContent.trim()))];
        if (values.length > 1) {
          const [label, value] = choice(header.textContent.trim(), values.sort(), apply);
          tests.push(() => {
            const wanted = value();
            return wanted && ((row) => row.cells[place].textContent.trim() === wanted);
          });
          tools.append(label);
        }
      }
      const name = header.textContent.trim();
      const button = make("button", { type: "button", textContent: name });
      if (!name) button.setAttribute("aria-label", "sort");
      button.addEventListener("click", () => sortBy(table, place, header));
      header.replaceChildren(button);
    });
    if ("search" in grid.dataset) {
      const [label, value] = searchBox("search", apply);
      tests.push(() => {
        const wanted = value();
        return wanted && ((row) => row.textContent.toLowerCase().includes(wanted));
      });
      tools.append(label);
    }
    if (tests.length) {
      tools.append(told);
      grid.prepend(tools);
    }
  };

  const equipFlips = (list) => {
    const flips = [...list.querySelectorAll(".flip")];
    const groups = [...list.querySelectorAll(".flip-group")];
    const tools = make("div", { className: "tools" });
    const told = make("output", {});
    const texts = new Map();
    const text = (flip) => {
      if (!texts.has(flip)) texts.set(flip, flip.textContent.toLowerCase());
      return texts.get(flip);
    };
    const apply = () => {
      const words = wanted();
      const kind = { fixed: "up", broken: "down" }[direction()];
      for (const flip of flips) {
        flip.hidden =
          (kind !== undefined && !flip.classList.contains(kind)) || (words !== "" && !text(flip).includes(words));
      }
      for (const group of groups) {
        group.hidden = !group.querySelector(".flip:not([hidden])");
        if (words || kind) group.open = true;
      }
      told.textContent = `${flips.filter((flip) => !flip.hidden).length} of ${flips.length} flips`;
    };
    const [box, wanted] = searchBox("search prompts and answers", apply);
    const [select, direction] = choice("kind", ["fixed", "broken"], apply);
    tools.append(box, select, told);
    list.prepend(tools);
  };

  document.querySelectorAll(".grid").forEach(equip);
  document.querySelectorAll(".flips").forEach(equipFlips);

  const openTarget = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.localName === "details") at.open = true;
  };
  addEventListener("hashchange", openTarget);
  openTarget();
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details[data-print]")) details.open = true;
  });
})();
