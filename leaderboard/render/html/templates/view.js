(() => {
  "use strict";
  const all = (selector, base = document) => [...base.querySelectorAll(selector)];
  const PREFIX = "#view?";
  const fields = () => all("#controls input, #controls select, #weigh input, #weigh select, #pictured");
  const keyOf = (field) => field.id || `show-${field.dataset.show ?? field.dataset.column}`;
  const usual = (field) => {
    if (field.type === "checkbox") return field.defaultChecked ? "1" : "0";
    if (field.tagName === "SELECT") return (field.querySelector("[selected]") ?? field.options[0]).value;
    return field.defaultValue;
  };
  const valueOf = (field) => (field.type === "checkbox" ? (field.checked ? "1" : "0") : field.value);
  const pressed = (design) => all(".chip[aria-pressed=true]", design).map((chip) => chip.textContent);
  const usualRows = new Map();

  function state() {
    const found = new URLSearchParams();
    for (const field of fields()) if (valueOf(field) !== usual(field)) found.append(keyOf(field), valueOf(field));
    for (const head of all("th[aria-sort]")) {
      found.append("sort", [head.closest("table").id, head.cellIndex, head.getAttribute("aria-sort")].join(" "));
    }
    for (const design of all(".design")) {
      const tab = design.querySelector("[role=tab][aria-selected=true]");
      if (tab && tab.previousElementSibling) found.append(`picture-${design.id}`, tab.dataset.key);
      const rows = pressed(design);
      if (rows.toSorted().join("\n") !== usualRows.get(design).toSorted().join("\n")) {
        for (const row of rows.length ? rows : [""]) found.append(`row-${design.id}`, row);
      }
    }
    return found;
  }

  function set(field, value) {
    if (valueOf(field) === value) return;
    if (field.type === "checkbox") field.checked = value === "1";
    else field.value = value;
    if (field.tagName === "SELECT" && field.value !== value) field.value = usual(field);
    for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, { bubbles: true }));
  }

  function apply(wanted) {
    for (const field of fields()) set(field, wanted.get(keyOf(field)) ?? usual(field));
    const fold = document.querySelector("#weigh details");
    if (fold && [...wanted.keys()].some((key) => key.startsWith("weigh"))) fold.open = true;
    const sorts = new Map(wanted.getAll("sort").map((text) => [text.split(" ").slice(0, 2).join(" "), text.split(" ")[2]]));
    for (const head of all("thead th")) {
      const direction = sorts.get(`${head.closest("table").id} ${head.cellIndex}`) ?? null;
      const button = head.querySelector("button");
      const sorted = head.closest("tr").querySelector("[aria-sort]");
      if (!button || (!direction && sorted !== head)) continue;
      for (let click = 0; click < 3 && head.getAttribute("aria-sort") !== direction; click += 1) button.click();
    }
    for (const design of all(".design")) {
      const tabs = all("[role=tab]", design);
      const tab = tabs.find((one) => one.dataset.key === wanted.get(`picture-${design.id}`)) ?? tabs[0];
      if (tab) tab.click();
      const given = wanted.getAll(`row-${design.id}`);
      const rows = given.length ? given : usualRows.get(design);
      const chips = all(".chip", design);
      for (const on of [true, false]) {
        for (const chip of chips) {
          if ((chip.getAttribute("aria-pressed") === "true") !== on) continue;
          if (rows.includes(chip.textContent) !== on) chip.click();
        }
      }
    }
  }

  const seen = (item) => item.checkVisibility();
  const own = (cell) => [...cell.childNodes].filter((node) => !(node instanceof Element) || node.matches("b, bdi, code, button, a"))
    .map((node) => node.textContent).join("").trim();
  const PARTS = [["lead", ".lead", "sign before"], ["sup", "sup", "difference"], ["small", "small", "±"], ["sign", ".sign", "sign"]];

  const INTERVAL = /^([+-]?[\d.]+) \[([+-]?[\d.]+), ([+-]?[\d.]+)\]$/;

  function linesOf(table) {
    const heads = all("thead th", table).filter(seen);
    const rows = all("tbody tr", table).filter((row) => seen(row) && row.cells.length === table.tHead.rows[0].cells.length);
    const columns = heads.flatMap((head) => {
      const note = head.querySelector("small");
      const more = note && !note.textContent.startsWith("⚠") ? note.textContent.trim() : "";
      const name = [own(head), more].filter(Boolean).join(" ");
      const text = (cell) => (head.cellIndex === 0 && cell.parentNode.dataset.name) || own(cell);
      const parts = PARTS.filter(([, part]) => rows.some((row) => row.cells[head.cellIndex].querySelector(part)))
        .map(([kind, part, word]) => ({
          name: head.cellIndex === 0 ? `${name}: remark` : `${name}: ${word}`,
          value: (cell) => all(part, cell).map((one) => one.textContent.trim().replace(kind === "small" ? /^±/ : /^$/, "")).join(" "),
        }));
      const spans = rows.some((row) => INTERVAL.test(text(row.cells[head.cellIndex])));
      const part = (place) => (cell) => {
        const found = INTERVAL.exec(text(cell));
        return found ? found[place] : place === 1 ? text(cell) : "";
      };
      const plain = spans
        ? ["", ": low", ": high"].map((word, place) => ({ name: name + word, value: part(place + 1) }))
        : [{ name, value: text }];
      return [...plain, ...parts].map((column) => ({ ...column, place: head.cellIndex }));
    });
    return [columns.map((column) => column.name), ...rows.map((row) => columns.map((column) => column.value(row.cells[column.place])))];
  }

  function quoted(text) {
    // A text that a spreadsheet would take for a formula stays a text.
    const safe = /^[=+\-@\t\r]/.test(text) && !/^[+-]?(\d[\d.]*)?$/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }
  const csvOf = (table) => linesOf(table).map((line) => line.map(quoted).join(",")).join("\n");

  function save(name, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${text}\n`], { type: "text/csv;charset=utf-8" }));
    link.download = `${name}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  const titleOf = (table) => {
    const heading = table.closest("section, .picture, #weigh").querySelector("h2, h3, h4");
    return heading ? heading.textContent.trim() : table.id;
  };

  document.addEventListener("DOMContentLoaded", () => {
    for (const design of all(".design")) usualRows.set(design, pressed(design));
    const tables = () => all("main table[id], #weighed").filter(seen);
    const whole = document.querySelector("#csv");
    whole.addEventListener("click", () => {
      const shown = tables().filter((table) => table.id !== "weighed");
      save("leaderboard", shown.map((table) => `${quoted(titleOf(table))}\n${csvOf(table)}`).join("\n\n"));
    });
    for (const table of all("main table[id], #weighed, table.heat")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "csv";
      button.textContent = "CSV of this table";
      button.setAttribute("aria-label", `CSV of this table: ${titleOf(table)}`);
      button.addEventListener("click", () => save(table.id, csvOf(table)));
      table.closest(".scroll").after(button);
    }
    const link = document.querySelector("#permalink");
    let due = false;
    const refresh = () => {
      if (due) return;
      due = true;
      setTimeout(() => {
        due = false;
        link.href = `${PREFIX}${state()}`;
      });
    };
    for (const name of ["input", "change", "click", "keydown"]) document.addEventListener(name, refresh, true);
    const read = () => {
      if (location.hash.startsWith(PREFIX)) apply(new URLSearchParams(location.hash.slice(PREFIX.length)));
      refresh();
    };
    window.addEventListener("hashchange", read);
    read();
  });
})();
