(() => {
  "use strict";
  const all = (selector, base = document) => [...base.querySelectorAll(selector)];
  const one = (selector, base = document) => base.querySelector(selector);

  const FEW = 40;
  const FIELDS = ["q", "dataset", "noise", "ratio", "method", "kind", "year", "clean", "hardware"];

  // A row of `rows` and `cards` in search.py, with its fields by name.
  const named = (data) => [
    ...data.rows.map((r) => ({
      board: r[0], method: r[1], label: r[2], design: r[3], dataset: data.datasets[r[4]],
      ratio: r[5], rank: r[6], mean: r[7], difference: r[8], link: r[9], kind: data.kinds[r[10]],
      clean: r[11], hardware: r[12].map((i) => data.hardware[i]),
      cells: new Map(r[13].map((c) => [data.noises[c[0]], c])),
    })),
    ...data.cards.map((r) => ({
      board: -1, method: r[0], label: "", design: "", dataset: "", ratio: "",
      kind: data.kinds[r[1]], clean: r[2], hardware: [], cells: new Map(),
    })),
  ].map((row) => {
    const [name, , year, title] = data.methods[row.method];
    const text = [data.boards[row.board] || "", name, title, row.label, row.design, row.kind,
      ...row.cells.keys()].join(" ").toLowerCase();
    return { ...row, name, year: year === null ? "" : String(year), text };
  });

  function filters(form, data) {
    const rows = named(data);
    const fields = FIELDS.map((name) => one(`#${name}`, form));
    const section = one("#results");
    const more = one("#more");
    let whole = false;

    const chosen = () => Object.fromEntries(fields.map((f) => [f.id, f.value.trim()]));
    const fits = (row, want) =>
      want.q.toLowerCase().split(/[\s,]+/).every((word) => row.text.includes(word))
      && (!want.dataset || row.dataset === want.dataset)
      && (!want.noise || row.cells.has(want.noise))
      && (!want.ratio || row.ratio === want.ratio)
      && (!want.method || row.name === want.method)
      && (!want.kind || row.kind === want.kind)
      && (!want.year || row.year === want.year)
      && (!want.clean || row.clean === Number(want.clean))
      && (!want.hardware || row.hardware.includes(want.hardware));

    const cell = (tag, content, style = "") => {
      const made = document.createElement(tag);
      if (style) made.className = style;
      if (tag === "th") made.scope = "row";
      made.append(content);
      return made;
    };
    const link = (text, href, style = "") => {
      const made = document.createElement("a");
      made.href = href;
      if (style) made.className = style;
      const name = document.createElement("bdi");
      name.textContent = text;
      made.append(name);
      return made;
    };
    const number = (text, row) => (text && text !== "-" ? link(text, row.link, "num") : "-");
    const line = (row, noise) => {
      const own = noise ? row.cells.get(noise) : null;
      const made = document.createElement("tr");
      made.append(
        cell("th", link(row.label, data.methods[row.method][1]), "name"),
        cell("td", row.design === data.boards[row.board] ? row.design
          : `${data.boards[row.board]}: ${row.design}`),
        cell("td", row.ratio, "r"), cell("td", row.rank, "r"),
        cell("td", number(own ? own[1] : row.mean, row), "r"),
        cell("td", number(own ? own[2] : row.difference, row), "r"),
        cell("td", row.kind), cell("td", row.clean ? "some" : "none"),
        cell("td", row.hardware.join(", ")),
      );
      return made;
    };

    function show() {
      const want = chosen();
      const any = Object.values(want).some(Boolean);
      const found = rows.filter((row) => fits(row, want));
      const measured = found.filter((row) => row.board >= 0);
      const boards = new Set(measured.map((row) => row.board));
      const methods = new Set(found.map((row) => row.method));
      const datasets = new Set(measured.map((row) => row.dataset));
      all("[data-board]").forEach((e) => { e.hidden = !boards.has(Number(e.dataset.board)); });
      all("[data-method]").forEach((e) => { e.hidden = !methods.has(Number(e.dataset.method)); });
      all("[data-dataset]").forEach((e) => { e.hidden = !datasets.has(e.dataset.dataset); });
      one("#boards .none").hidden = boards.size > 0;
      one("#methods .none").hidden = methods.size > 0;
      one("#methods .scroll").hidden = methods.size === 0;
      section.hidden = !any || measured.length === 0;
      const shown = whole ? measured : measured.slice(0, FEW);
      one("tbody", section).replaceChildren(...(any ? shown.map((r) => line(r, want.noise)) : []));
      one("#value").textContent = want.noise || "mean";
      more.hidden = shown.length === measured.length;
      more.textContent = `Show all ${measured.length} rows`;
      one("#count").textContent = `${measured.length} of ${data.rows.length} rows, `
        + `${boards.size} of ${data.boards.length} boards`;
      const query = new URLSearchParams(Object.entries(want).filter(([, value]) => value));
      const hash = any ? `#${query}` : "";
      if (any || location.hash.includes("=")) {
        history.replaceState(null, "", hash || location.pathname + location.search);
      }
    }

    function read() {
      if (!location.hash.includes("=")) return;
      const query = new URLSearchParams(location.hash.slice(1));
      fields.forEach((field) => { field.value = query.get(field.id) || ""; });
    }

    const changed = () => { whole = false; show(); };
    form.hidden = false;
    form.addEventListener("input", changed);
    form.addEventListener("change", changed);
    form.addEventListener("reset", () => setTimeout(changed));
    form.addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", () => { whole = true; show(); });
    window.addEventListener("hashchange", () => { read(); changed(); });
    read();
    show();
  }

  document.addEventListener("DOMContentLoaded", () => {
    const button = one("#theme");
    if (button) themeButton(button);
    const form = one("#filters");
    if (form) filters(form, JSON.parse(one("#data").textContent));
  });
})();
