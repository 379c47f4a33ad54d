(() => {
  "use strict";
  const all = (selector, base = document) => [...base.querySelectorAll(selector)];
  const MOST = 8;
  const GAP = 13;
  const BOX = { left: 44, right: 236, top: 24 };
  const LOOK = /^(on|plain|full|[hk]\d)$/;
  const bases = new WeakMap();
  let tips = null;

  const tipOf = (mark) => {
    tips ??= JSON.parse(document.querySelector("#tips").textContent);
    const [title, facts] = tips[Number(mark.dataset.tip)];
    return facts.length ? `${title}: ${facts[0].join(" ")}` : title;
  };
  const px = (value) => Math.round(value * 10) / 10;
  const bottomOf = (svg) => Number(svg.dataset.bottom);

  // What a panel shows: pixel = k * original pixel + t, for each axis.
  const views = new WeakMap();
  const viewOf = (svg) => views.get(svg) ?? { kx: 1, tx: 0, ky: 1, ty: 0 };
  const same = (view) => view.kx === 1 && view.ky === 1 && view.tx === 0 && view.ty === 0;

  function base(mark) {
    let found = bases.get(mark);
    if (!found) {
      found = { x: Number(mark.getAttribute("x")), y: Number(mark.getAttribute("y")) };
      bases.set(mark, found);
    }
    return found;
  }

  function anchor(name) {
    let found = bases.get(name);
    if (!found) {
      const [x, y] = name.querySelector(".lead").getAttribute("d").match(/[-\d.]+/g).map(Number);
      found = { x, y };
      bases.set(name, found);
    }
    return found;
  }

  function names(svg) {
    if (!svg.dataset.x) return;
    const { kx, tx, ky, ty } = viewOf(svg);
    const bottom = bottomOf(svg);
    const into = (value, low, high) => Math.min(Math.max(value, low), high);
    const shown = all(".name.on, .name.hot", svg).map((name) => {
      const { x, y } = anchor(name);
      return { name, x: into(kx * x + tx, BOX.left, BOX.right), y: into(ky * y + ty, BOX.top, bottom) };
    }).sort((a, b) => a.y - b.y);
    let edge = BOX.top - GAP;
    for (const item of shown) edge = item.at = Math.max(item.y, edge + GAP);
    edge = bottom + GAP;
    for (const item of shown.toReversed()) edge = item.at = Math.min(item.at, edge - GAP);
    for (const { name, x, y, at } of shown) {
      name.querySelector(".lead").setAttribute("d", `M${px(x)} ${px(y)}H${BOX.right}L${BOX.right + 9} ${px(at)}`);
      name.querySelector("use").setAttribute("y", px(at));
      name.querySelector("text").setAttribute("y", px(at + 4));
    }
  }

  function ticksOf(low, high, log, most) {
    const found = [];
    if (log) {
      const steps = high / low < 6 ? [1, 1.5, 2, 3, 5, 7] : [1, 2, 5];
      for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade += 1) {
        for (const step of steps) found.push(step * 10 ** decade);
      }
      const inside = found.filter((value) => value >= low && value <= high);
      if (inside.length > 1) return inside;
      found.length = 0;
    }
    const rough = (high - low) / most;
    const decade = 10 ** Math.floor(Math.log10(rough));
    const step = decade * [1, 2, 2.5, 5, 10].find((one) => decade * one >= rough * (1 - 1e-9));
    for (let k = Math.ceil(low / step - 1e-9); k <= Math.floor(high / step + 1e-9); k += 1) found.push(k * step);
    return found;
  }

  const element = (name, attributes, text = "") => {
    const made = document.createElementNS(document.querySelector("svg").namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const plain = (value) => String(Number(value.toPrecision(6)));

  const firstTicks = new WeakMap();
  function ticks(svg) {
    const view = viewOf(svg);
    const bottom = bottomOf(svg);
    for (const axis of ["x", "y"]) {
      const group = svg.querySelector(`.ticks.${axis}`);
      if (!firstTicks.has(group)) firstTicks.set(group, [...group.childNodes]);
      const [low, high, kind] = svg.dataset[axis].split(" ");
      if (same(view) || kind === "fixed") {
        group.replaceChildren(...firstTicks.get(group));
        continue;
      }
      const log = kind === "log";
      const [a, b] = [low, high].map((value) => (log ? Math.log(Number(value)) : Number(value)));
      const ends = axis === "x" ? [BOX.left, BOX.right] : [bottom, BOX.top];
      const [k, t] = axis === "x" ? [view.kx, view.tx] : [view.ky, view.ty];
      const value = (pixel) => {
        const share = ((pixel - t) / k - ends[0]) / (ends[1] - ends[0]);
        return log ? Math.exp(a + share * (b - a)) : a + share * (b - a);
      };
      const at = (number) => {
        const share = ((log ? Math.log(number) : number) - a) / (b - a);
        return px((ends[0] + share * (ends[1] - ends[0])) * k + t);
      };
      group.replaceChildren(...ticksOf(value(ends[0]), value(ends[1]), log, axis === "x" ? 5 : 6).flatMap((number) => {
        const pixel = at(number);
        return axis === "x"
          ? [element("path", { d: `M${pixel} ${BOX.top}V${bottom}` }), element("text", { x: pixel, y: bottom + 15 }, plain(number))]
          : [element("path", { d: `M${BOX.left} ${pixel}H${BOX.right}` }), element("text", { x: BOX.left - 6, y: pixel + 4 }, plain(number))];
      }));
    }
  }

  function show(svg, view) {
    if (view && (view.kx < 0.2 || view.ky < 0.2 || view.kx > 500 || view.ky > 500)) return;
    if (view) views.set(svg, view);
    else views.delete(svg);
    const { kx, tx, ky, ty } = viewOf(svg);
    for (const group of all(".zoom", svg)) group.setAttribute("transform", `matrix(${kx} 0 0 ${ky} ${tx} ${ty})`);
    for (const mark of all(".row > use", svg)) {
      const { x, y } = base(mark);
      mark.setAttribute("x", px(kx * x + tx));
      mark.setAttribute("y", px(ky * y + ty));
    }
    ticks(svg);
    names(svg);
  }

  // The part between two corners, in pixels of the panel as it is, becomes the whole.
  function enlarge(svg, x0, y0, x1, y1) {
    const view = viewOf(svg);
    const fixed = svg.dataset.x.endsWith("fixed");
    const [fx, fy] = [fixed ? 1 : (BOX.right - BOX.left) / (x1 - x0), (bottomOf(svg) - BOX.top) / (y1 - y0)];
    show(svg, {
      kx: view.kx * fx, tx: fixed ? view.tx : fx * (view.tx - x0) + BOX.left,
      ky: view.ky * fy, ty: fy * (view.ty - y0) + BOX.top,
    });
  }

  function zoomBy(svg, factor) {
    if (!factor) {
      show(svg, null);
      return;
    }
    const bottom = bottomOf(svg);
    const [x, y] = [(BOX.left + BOX.right) / 2, (BOX.top + bottom) / 2];
    const [w, h] = [(BOX.right - BOX.left) / 2 / factor, (bottom - BOX.top) / 2 / factor];
    enlarge(svg, x - w, y - h, x + w, y + h);
  }

  function dragging(svg) {
    let start = null;
    let box = null;
    let dragged = false;
    const point = (event) => {
      const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      return [Math.min(Math.max(x, BOX.left), BOX.right), Math.min(Math.max(y, BOX.top), bottomOf(svg))];
    };
    svg.addEventListener("pointerdown", (event) => {
      dragged = false;
      if (event.pointerType !== "touch" && event.button === 0) start = point(event);
    });
    svg.addEventListener("pointermove", (event) => {
      if (!start) return;
      const [x, y] = point(event);
      if (!box && Math.hypot(x - start[0], y - start[1]) < 6) return;
      if (!box) {
        box = element("rect", { class: "selection" });
        svg.append(box);
        svg.setPointerCapture(event.pointerId);
      }
      const size = { x: Math.min(x, start[0]), y: Math.min(y, start[1]), width: Math.abs(x - start[0]), height: Math.abs(y - start[1]) };
      for (const [key, value] of Object.entries(size)) box.setAttribute(key, value);
    });
    const end = () => {
      if (box) {
        const [x, y, w, h] = ["x", "y", "width", "height"].map((key) => Number(box.getAttribute(key)));
        box.remove();
        dragged = true;
        if (w > 4 && h > 4) enlarge(svg, x, y, x + w, y + h);
      }
      start = box = null;
    };
    svg.addEventListener("pointerup", end);
    svg.addEventListener("pointercancel", end);
    svg.addEventListener("click", (event) => { if (dragged) event.stopPropagation(); });
    svg.addEventListener("dblclick", () => show(svg, null));
  }

  function keyboard(svg) {
    svg.setAttribute("role", "group");
    const inside = (mark) => {
      const [x, y] = [Number(mark.getAttribute("x")), Number(mark.getAttribute("y"))];
      return !svg.dataset.x || (x >= BOX.left - 5 && x <= BOX.right + 5 && y >= BOX.top - 5 && y <= bottomOf(svg) + 5);
    };
    const marks = () => all(".row > use[data-tip]", svg).filter(inside);
    const choose = (mark) => {
      for (const other of all('[tabindex="0"]', svg)) other.tabIndex = -1;
      mark.setAttribute("tabindex", "0");
      mark.setAttribute("role", "img");
      mark.setAttribute("aria-label", tipOf(mark));
    };
    const first = marks().at(-1);
    if (first) choose(first);
    svg.addEventListener("keydown", (event) => {
      const mark = event.target.closest("use");
      if (!mark || event.ctrlKey || event.metaKey || event.altKey) return;
      const factor = { "+": 2, "=": 2, "-": 0.5, 0: 0 }[event.key];
      if (factor !== undefined && svg.dataset.x) {
        event.preventDefault();
        zoomBy(svg, factor);
        return;
      }
      const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const at = (one) => [Number(one.getAttribute("x")), Number(one.getAttribute("y"))];
      const own = marks();
      const upright = event.key === "ArrowUp" || event.key === "ArrowDown";
      const near = own.filter((one) => (upright ? Math.abs(at(one)[0] - at(mark)[0]) < 1 : one.parentNode === mark.parentNode));
      const list = (near.length > 1 ? near : own)
        .map((one, place) => ({ one, place, value: at(one)[upright ? 1 : 0] }))
        .sort((a, b) => a.value - b.value || a.place - b.place).map((item) => item.one);
      const next = list[list.indexOf(mark) + step];
      if (next) {
        choose(next);
        next.focus();
      }
    });
    svg.addEventListener("click", (event) => {
      const mark = event.target.closest("use[data-tip]");
      if (mark) choose(mark);
    });
  }

  function rows(design) {
    const chips = all(".chip", design);
    const panels = all("svg.panel", design);
    const said = design.querySelector(".chips output");
    design.querySelector(".chips").hidden = false;
    const parts = new Map(chips.map((chip) => [chip.dataset.row, []]));
    for (const part of all("[data-row]", design)) parts.get(part.dataset.row).push(part);
    const looks = new Map();
    const now = new Map();
    for (const chip of chips) {
      if (chip.getAttribute("aria-pressed") !== "true") continue;
      const look = { classes: [...chip.classList].filter((name) => LOOK.test(name)), sign: chip.querySelector("use").getAttribute("href") };
      looks.set(chip.dataset.row, look);
      now.set(chip.dataset.row, look);
    }
    const hue = (look) => look.classes.find((name) => /^(full|[hk]\d)$/.test(name));
    const free = (row) => {
      const own = looks.get(row);
      const given = new Set([...now].filter(([other, look]) => looks.get(other) !== look).map(([, look]) => hue(look)));
      if (own && !given.has(hue(own))) return own;
      const used = new Set([...now.values()].map(hue));
      const number = [...Array(MOST).keys()].find((one) => !used.has(`h${one}`));
      return { classes: ["on", `h${number}`], sign: `#m${number}` };
    };
    const paint = (row) => {
      const look = now.get(row);
      for (const part of parts.get(row)) {
        part.classList.remove(...[...part.classList].filter((name) => LOOK.test(name)));
        if (look) part.classList.add(...look.classes);
        for (const use of all("use", part)) use.setAttribute("href", look ? look.sign : "#mp");
        if (part.matches("g.row")) {
          if (look) part.parentNode.append(part);
          else part.parentNode.insertBefore(part, part.parentNode.querySelector("g.row"));
        }
        if (part.matches(".chip")) part.setAttribute("aria-pressed", look ? "true" : "false");
      }
      panels.forEach(names);
    };
    for (const chip of chips) {
      chip.addEventListener("click", () => {
        const { row } = chip.dataset;
        said.textContent = "";
        if (now.has(row)) now.delete(row);
        else if (now.size >= MOST) said.textContent = "Eight are in colour: press one of them first.";
        else now.set(row, free(row));
        paint(row);
      });
    }
    let hot = null;
    const point = (event) => {
      const found = event.target instanceof Element ? event.target.closest("[data-row]") : null;
      const row = found ? found.dataset.row : null;
      if (row === hot) return;
      if (hot !== null) for (const part of parts.get(hot)) part.classList.remove("hot");
      hot = row;
      if (hot !== null) for (const part of parts.get(hot)) part.classList.add("hot");
      panels.forEach(names);
    };
    for (const name of ["pointerover", "focusin"]) design.addEventListener(name, point);
    for (const name of ["pointerleave", "focusout"]) design.addEventListener(name, (event) => point({ target: event.relatedTarget }));
  }

  function tabs(design) {
    const list = design.querySelector("[role=tablist]");
    const buttons = all("[role=tab]", list);
    const choose = (button) => {
      for (const other of buttons) {
        const on = other === button;
        other.setAttribute("aria-selected", on ? "true" : "false");
        other.tabIndex = on ? 0 : -1;
        document.getElementById(other.getAttribute("aria-controls")).hidden = !on;
      }
    };
    for (const button of buttons) {
      const panel = document.getElementById(button.getAttribute("aria-controls"));
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", button.id);
      button.addEventListener("click", () => {
        choose(button);
        list.scrollTo({ left: button.offsetLeft - list.clientWidth / 3 });
      });
    }
    list.addEventListener("keydown", (event) => {
      const place = buttons.indexOf(event.target);
      const to = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (place < 0 || to === undefined) return;
      event.preventDefault();
      const next = buttons[(to + buttons.length) % buttons.length];
      next.click();
      next.focus();
    });
    list.hidden = false;
    choose(buttons[0]);
  }

  function weigh(section) {
    const choices = JSON.parse(section.dataset.weigh);
    const of = section.querySelector("#weigh-of");
    const labels = all("[data-noise]", section);
    const cost = section.querySelector("#weigh-cost");
    const said = section.querySelector("#weigh-said");
    const body = section.querySelector("tbody");
    const places = (scores) => {
      const sorted = [...scores].sort((a, b) => b - a);
      return scores.map((score) => sorted.indexOf(score) + 1);
    };
    const round = (value) => Math.round(value * 1e6) / 1e6;
    const apply = () => {
      const choice = choices[of ? Number(of.value) : 0];
      const weights = choice.noises.map((noise) => {
        const label = labels.find((one) => one.dataset.noise === noise);
        return Number(label.querySelector("input").value);
      });
      for (const label of labels) label.hidden = !choice.noises.includes(label.dataset.noise);
      for (const input of all("input", section)) input.parentNode.querySelector("output").textContent = input.value;
      const price = Number(cost.value);
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      body.replaceChildren();
      if (!total) {
        said.textContent = "All settings weigh nothing: there is no order.";
        return;
      }
      const mean = (values, own, sum) => values.reduce((so, value, place) => so + value * own[place], 0) / sum;
      const kept = choice.rows.filter(([, , , share]) => !price || share !== null);
      const equal = places(kept.map(([, , values]) => round(mean(values, values.map(() => 1), values.length))));
      const rows = kept.map(([name, kind, values, share], place) => {
        const accuracy = mean(values, weights, total);
        return { name, kind, accuracy, share, before: equal[place], score: round(accuracy - price * (share ?? 0)) };
      });
      const ranks = places(rows.map((row) => row.score));
      rows.forEach((row, place) => { row.place = ranks[place]; });
      rows.sort((a, b) => a.place - b.place || a.before - b.before);
      for (const row of rows) {
        const line = body.insertRow();
        line.dataset.kind = row.kind;
        const head = document.createElement("th");
        head.scope = "row";
        head.className = "words";
        const texts = [row.place, row.name, row.accuracy.toFixed(2), row.share === null ? "-" : row.share.toFixed(1), row.score.toFixed(2), row.before];
        texts.forEach((text, place) => {
          const cell = place === 1 ? line.appendChild(head) : line.insertCell();
          cell.textContent = text;
        });
      }
      const left = choice.rows.length - kept.length;
      said.textContent = `${rows.length} rows by your weights; no test.${left ? ` ${left} of unknown cost left out.` : ""}`;
    };
    section.querySelector("#weigh-equal").addEventListener("click", () => {
      for (const label of labels) label.querySelector("input").value = 5;
      cost.value = 0;
      apply();
    });
    for (const name of ["input", "change"]) section.addEventListener(name, apply);
    section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    section.hidden = false;
    apply();
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const design of all(".design")) {
      // Names stand in tooltips from here on.
      for (const title of all("g.row > title", design)) title.remove();
      rows(design);
      tabs(design);
      for (const svg of all("svg.panel", design)) {
        keyboard(svg);
        if (svg.dataset.x) dragging(svg);
      }
      for (const bar of all(".zooms", design)) {
        bar.hidden = false;
        bar.addEventListener("click", (event) => {
          const button = event.target.closest("button");
          if (button) all("svg.panel", bar.parentNode).forEach((svg) => zoomBy(svg, Number(button.dataset.zoom)));
        });
      }
    }
    const pictured = document.querySelector("#pictured");
    if (pictured) {
      const pick = () => { for (const design of all(".design")) design.hidden = design.id !== pictured.value; };
      pictured.addEventListener("change", pick);
      pick();
    }
    const weighed = document.querySelector("#weigh");
    if (weighed) weigh(weighed);
    if (matchMedia("(max-width: 40rem)").matches) for (const fold of all(".chips")) fold.open = false;
  });
})();
