// Served with the page. Nothing here reads or sends what a person typed.

// Arrow keys walk through tokens and spans, so that a long text is one stop of the Tab key, not hundreds.
document.addEventListener("keydown", (event) => {
  const piece = event.target.closest?.(".pieces .piece[tabindex]");
  const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
  if (!piece || !step) return;
  const all = [...piece.closest(".pieces").querySelectorAll(".piece[tabindex]")];
  const next = all[all.indexOf(piece) + step];
  if (!next) return;
  event.preventDefault();
  piece.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});
