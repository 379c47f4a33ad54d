"use strict";
// The theme that the reader chose, put on before the page is painted.
const themeButton = (() => {
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];
  let theme = "system";
  try {
    theme = localStorage.getItem("prunebench-theme") || theme;
  } catch {
    // no storage for this page: the choice lasts as long as the page
  }
  const paint = () => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  paint();

  return (button) => {
    const label = () => { button.textContent = `Theme: ${theme}`; };
    button.hidden = false;
    label();
    button.addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      try {
        localStorage.setItem("prunebench-theme", theme);
      } catch {
        // as above
      }
      paint();
      label();
    });
  };
})();
