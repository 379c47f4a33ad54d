"""What a page keeps from readers who use a keyboard or a screen reader, or who see little contrast.

axe-core, where its package is installed, and a check of our own that needs nothing.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from support.browser import Page

_OWN = """
const faults = [];
const all = (selector) => [...document.querySelectorAll(selector)];
const seen = (e) => e.getClientRects().length && !e.closest("[aria-hidden=true]");
const text = (id) => document.getElementById(id)?.textContent ?? "";
const name = (e) => e.getAttribute("aria-label")
  || (e.getAttribute("aria-labelledby") ?? "").split(" ").map(text).join(" ").trim()
  || [...(e.labels ?? [])].map((label) => label.textContent).join(" ").trim()
  || e.textContent.trim() || e.title;
const say = (fault, found) => {
  for (const e of found) faults.push(`${fault}: ${e.outerHTML.slice(0, 120)}`);
};
const focusable = all("a[href], button, input, select, summary, [tabindex]").filter(seen);
say("no name", focusable.filter((e) => e.tabIndex >= 0 && !name(e)));
say("out of order", focusable.filter((e) => e.tabIndex > 0));
const ids = all("[id]").map((e) => e.id);
say("id twice", all("[id]").filter((e, place) => ids.indexOf(e.id) !== place));
for (const attribute of ["aria-controls", "aria-labelledby", "aria-describedby", "for"]) {
  const names = (e) => e.getAttribute(attribute).split(" ");
  const lost = all(`[${attribute}]`).filter((e) => !names(e).every((id) => ids.includes(id)));
  say(`${attribute} of nothing`, lost);
}
const named = (e) => ["img", "group"].includes(e.getAttribute("role")) && e.ariaLabel;
say("picture without a name", all("svg:not([aria-hidden=true])").filter((e) => !named(e)));
say("focus inside of a picture", all("[role=img] [tabindex='0']"));
for (const list of all("[role=tablist]").filter(seen)) {
  const chosen = [...list.children].filter((e) => e.ariaSelected === "true");
  const entered = [...list.children].filter((e) => e.tabIndex === 0);
  if (chosen.length !== 1 || entered.length !== 1 || chosen[0] !== entered[0]) say("tabs", [list]);
}
let level = 0;
for (const e of all("h1, h2, h3, h4, h5").filter(seen)) {
  if (Number(e.tagName[1]) > level + 1) say("level of heading left out", [e]);
  level = Number(e.tagName[1]);
}
return faults;
"""

#: Script that gives [contrast, text] of every visible text of pictures, lowest first.
PICTURE_CONTRAST = """
const light = (c) => {
  const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map((v) => {
    v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ground = light(getComputedStyle(document.body).backgroundColor);
const texts = [...document.querySelectorAll("svg.panel text")];
return texts.filter((e) => e.getClientRects().length).map((e) => {
  const [a, b] = [light(getComputedStyle(e).fill), ground].sort((x, y) => y - x);
  return [(a + 0.05) / (b + 0.05), e.textContent];
}).sort((x, y) => x[0] - y[0]);
"""

_AXE = """
const done = arguments[arguments.length - 1];
const short = (fault) => [fault.impact, fault.id,
  fault.nodes.slice(0, 3).map((node) => node.html.slice(0, 120)).join(" | ")];
const found = axe.run(document, { resultTypes: ["violations"] });
found.then((result) => done(result.violations.map(short)));
"""


def own_faults(page: Page) -> list[str]:
    """Names, roles, references, order of focus and of headings that are wrong."""
    found: list[str] = page.run(_OWN)
    return found


def axe_file() -> Path | None:
    """axe-core as ``axe-playwright-python`` ships it; None where that is not installed."""
    found = importlib.util.find_spec("axe_playwright_python")
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) / "axe.min.js" if folders else None


def axe_faults(page: Page, script: str) -> list[list[str]]:
    """(impact, rule, elements) of what axe-core finds on the page as it is."""
    page.run(f"{script}; window.axe = axe;")
    found: list[list[str]] = page.driver.execute_async_script(_AXE)
    return found
