(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, base = document) => [...base.querySelectorAll(selector)];
  const collator = new Intl.Collator("en", { numeric: true });

  function sortable(table) {
    const heads = all("thead th", table);
    const bodies = all("tbody:not(.title)", table);
    const order = new Map(all("tr", table).map((row, place) => [row, place]));
    heads.forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      const note = head.querySelector("small");
      for (const node of [...head.childNodes]) if (node !== note) button.append(node);
      button.textContent = button.textContent.trim();
      head.prepend(button);
      button.addEventListener("click", () => {
        const first = head.dataset.first || "ascending";
        const second = first === "ascending" ? "descending" : "ascending";
        const now = head.getAttribute("aria-sort");
        const next = now === first ? second : now === second ? "" : first;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (next) head.setAttribute("aria-sort", next);
        bodies.forEach((body) => body.append(...sorted(all("tr", body), place, head, next, order)));
      });
    });
  }

  function sorted(rows, place, head, direction, order) {
    const back = (a, b) => order.get(a) - order.get(b);
    if (!direction) return rows.sort(back);
    const sign = direction === "ascending" ? 1 : -1;
    const text = place === 0 || head.dataset.kind === "text";
    const value = (row) => {
      const cell = row.cells[place];
      if (place === 0) return row.dataset.name;
      if (text) return cell.dataset.v ?? (cell.textContent.trim() === "-" ? "" : cell.textContent.trim());
      return cell.dataset.v === undefined ? "" : Number(cell.dataset.v);
    };
    const compare = (a, b) => (text ? collator.compare(a, b) : a - b);
    return rows
      .map((row) => ({ row, value: value(row) }))
      .sort((a, b) => {
        if (a.value === "" || b.value === "") {
          return (a.value === "") - (b.value === "") || back(a.row, b.row);
        }
        return sign * compare(a.value, b.value) || back(a.row, b.row);
      })
      .map((item) => item.row);
  }

  // Methods and the rows beside them, each counted once however many tables it is in.
  function counted(rows) {
    const names = (some, of) => new Set(some.map(of)).size;
    const labelOf = (row) => row.dataset.name;
    const methodOf = (row) => row.dataset.method ?? row.dataset.name;
    const said = (own, of, words) => `${names(own.filter((row) => row.dataset.hit), of)} of ${names(own, of)} ${words}`;
    const methods = rows.filter((row) => row.dataset.kind === "method");
    const others = rows.filter((row) => row.dataset.kind !== "method");
    const several = names(methods, labelOf) !== names(methods, methodOf);
    return [
      methods.length ? said(methods, methodOf, "methods") + (several ? ` (${said(methods, labelOf, "rows")})` : "") : "",
      others.length ? said(others, labelOf, "other rows") : "",
    ].filter(Boolean).join(", ");
  }

  // The id that a fragment names; one that is no text names nothing.
  function named(hash) {
    try {
      return decodeURIComponent(hash.slice(1));
    } catch {
      return "";
    }
  }

  function filters(form) {
    const sections = all("main section");
    const rows = all("tbody tr[data-name]");
    const filter = form.querySelector("#filter");
    const more = form.querySelector("#more");
    const pick = { dataset: form.querySelector("#dataset"), ratio: form.querySelector("#ratio") };
    const apply = () => {
      const words = filter.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
      const off = new Set(all("[data-show]", form).filter((box) => !box.checked).map((box) => box.dataset.show));
      for (const row of rows) {
        const name = row.dataset.name.toLowerCase();
        const apart = row.parentNode.classList.contains("incomplete") ? "incomplete" : "";
        const hit = !words.length || words.some((word) => name.includes(word));
        row.dataset.hit = hit && !off.has(row.dataset.kind) && !off.has(apart) ? "yes" : "";
        // The row that differences refer to stays, for without it they cannot be read.
        row.hidden = !row.dataset.hit && !(row.hasAttribute("data-reference") && words.length);
      }
      for (const title of all("tbody.title")) {
        title.hidden = !title.nextElementSibling.querySelector("tr:not([hidden])");
      }
      for (const fold of all("main details")) fold.hidden = !fold.querySelector("[data-hit=yes]");
      const dataset = pick.dataset ? pick.dataset.value : "";
      const ratio = pick.ratio ? pick.ratio.value : "";
      const chosen = new Set(sections.filter((section) => (dataset === "" || section.dataset.dataset === dataset)
        && (ratio === "" || section.dataset.ratio === "" || section.dataset.ratio === ratio)));
      for (const section of sections) {
        const empty = section.querySelector("tr[data-name]") && !section.querySelector("[data-hit=yes]");
        section.hidden = Boolean(empty) || !chosen.has(section);
      }
      for (const box of all("[data-column]", form)) {
        root.classList.toggle(`without-${box.dataset.column}`, !box.checked);
      }
      if (more) root.classList.toggle("compact", !more.checked);
      form.querySelector("#count").textContent = counted(rows.filter((row) => row.closest("section").dataset.ratio
        && !row.closest("details") && chosen.has(row.closest("section"))));
      for (const link of all("nav a")) link.hidden = document.getElementById(link.hash.slice(1)).hidden;
      document.querySelector("#nothing").hidden = sections.some((section) => !section.hidden);
    };
    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("change", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    window.addEventListener("hashchange", () => {
      const target = document.getElementById(named(location.hash));
      if (!target || !target.hidden) return;
      for (const select of Object.values(pick)) if (select) select.value = "";
      apply();
      target.scrollIntoView();
    });
    apply();
  }

  function tooltips(tip, tips) {
    let owner = null;
    let pinned = false;
    let leaving = 0;
    const hide = () => {
      clearTimeout(leaving);
      if (owner) owner.removeAttribute("aria-describedby");
      tip.hidden = true;
      owner = null;
      pinned = false;
    };
    const place = (cell) => {
      const box = cell.getBoundingClientRect();
      const { offsetWidth: width, offsetHeight: height } = tip;
      const below = box.bottom + 4;
      const fits = below + height <= innerHeight || box.top - 4 - height < 0;
      const left = Math.max(8, Math.min(box.left, root.clientWidth - width - 8));
      const top = fits ? Math.min(below, Math.max(8, innerHeight - height - 8)) : box.top - 4 - height;
      tip.style.left = `${left}px`;
      tip.style.top = `${top}px`;
      tip.classList.toggle("above", box.top > innerHeight / 2);
    };
    const show = (cell) => {
      clearTimeout(leaving);
      if (owner === cell) return;
      hide();
      const [title, facts] = tips[Number(cell.dataset.tip)];
      const heading = document.createElement("strong");
      heading.textContent = title;
      const list = document.createElement("dl");
      for (const [term, value] of facts) {
        const dt = document.createElement("dt");
        const dd = document.createElement("dd");
        dt.textContent = term;
        dd.textContent = value;
        list.append(dt, dd);
      }
      tip.replaceChildren(heading, list);
      tip.hidden = false;
      owner = cell;
      (cell.querySelector("button") || cell).setAttribute("aria-describedby", "tip");
      place(cell);
    };
    const cellOf = (event) => (event.target instanceof Element ? event.target.closest("[data-tip]") : null);
    document.addEventListener("pointerover", (event) => {
      if (event.pointerType === "touch" || pinned) return;
      const cell = cellOf(event);
      if (cell) show(cell);
      else if (tip.contains(event.target)) clearTimeout(leaving);
      else if (owner && !owner.contains(document.activeElement)) {
        clearTimeout(leaving);
        leaving = setTimeout(hide, 200);
      }
    });
    document.addEventListener("focusin", (event) => {
      const cell = cellOf(event);
      if (cell) show(cell);
      else if (!tip.contains(event.target)) hide();
    });
    document.addEventListener("click", (event) => {
      if (tip.contains(event.target)) return;
      const cell = cellOf(event);
      if (!cell) return hide();
      if (cell.closest("thead")) return undefined;
      if (owner === cell && pinned) return hide();
      show(cell);
      pinned = true;
      return undefined;
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
    });
    window.addEventListener("scroll", (event) => {
      if (owner && !tip.contains(event.target)) place(owner);
    }, true);
    window.addEventListener("resize", hide);
  }

  function roving(table) {
    const cells = () => all("tbody tr:not([hidden]) > [data-tip]", table).filter((cell) => cell.offsetParent);
    all("tbody [data-tip]", table).forEach((cell, place) => { cell.tabIndex = place ? -1 : 0; });
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    table.addEventListener("focusin", (event) => {
      const cell = event.target.closest("tbody [data-tip]");
      if (!cell) return;
      all('tbody [tabindex="0"]', table).forEach((other) => { other.tabIndex = -1; });
      cell.tabIndex = 0;
    });
    table.addEventListener("keydown", (event) => {
      const cell = event.target.closest("tbody [data-tip]");
      const step = steps[event.key];
      if (!cell || !step || event.ctrlKey || event.metaKey || event.altKey) return;
      const row = cell.parentNode;
      const candidates = cells().filter((other) => (step[1] ? other.parentNode === row : other.cellIndex === cell.cellIndex));
      const next = candidates[candidates.indexOf(cell) + step[0] + step[1]];
      event.preventDefault();
      if (next) next.focus();
    });
    return () => {
      const current = table.querySelector('tbody [tabindex="0"]');
      if (current && current.offsetParent) return;
      const first = cells()[0];
      if (current) current.tabIndex = -1;
      if (first) first.tabIndex = 0;
    };
  }

  document.addEventListener("DOMContentLoaded", () => {
    const tables = all("main table, table.heat");
    tables.forEach(sortable);
    themeButton(document.querySelector("#theme"));
    const repair = tables.map(roving);
    const form = document.querySelector("#controls");
    filters(form);
    for (const name of ["input", "change"]) {
      form.addEventListener(name, () => repair.forEach((run) => run()));
    }
    tooltips(document.querySelector("#tip"), JSON.parse(document.querySelector("#tips").textContent));
    all("thead th[title]").forEach((head) => {
      head.querySelector("button").title = head.title;
      head.removeAttribute("title");
    });
    all(".live").forEach((item) => { item.hidden = false; });
    const narrow = matchMedia("(max-width: 40rem)");
    if (narrow.matches) document.querySelector(".legend").open = false;
    let closed = [];
    window.addEventListener("beforeprint", () => {
      closed = all("details:not([open])");
      closed.forEach((item) => { item.open = true; });
    });
    window.addEventListener("afterprint", () => closed.forEach((item) => { item.open = false; }));
  });
})();
