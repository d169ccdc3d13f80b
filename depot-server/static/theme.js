// Runs before the page is drawn, so that a stored choice never flashes in the wrong colours.
(() => {
  try {
    const chosen = localStorage.getItem("tapline-theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch { /* no storage: as the system has it */ }
  document.documentElement.classList.add("js");
})();
