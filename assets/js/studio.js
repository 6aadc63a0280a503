// Served with the page. Nothing here sends what a person typed.

// What a person chose, kept in this browser. A page within another site's frame may have no storage: then it is kept
// for as long as the page is open.
globalThis.studioLesson = (() => {
  const KEY = "fine-tuning-studio.lesson";
  let open = {};
  try { open = JSON.parse(localStorage.getItem(KEY)) ?? {}; } catch { open = {}; }
  return {
    all: () => open,
    keep(key, value) {
      open = {...open, [key]: value};
      try { localStorage.setItem(KEY, JSON.stringify(open)); } catch { /* no storage, or it is full */ }
    },
  };
})();

// The address names the open tab. Gradio opens the first tab before the one that a link names; until that one is open
// the address stays as it came, or who copies it meanwhile gets a link to the first.
globalThis.studioTab = (() => {
  let awaited = new URLSearchParams(location.search).get("tab");
  return {
    linked(keys) {
      if (!keys.includes(awaited)) awaited = null;
      return awaited;
    },
    opened(key) {
      if (awaited && key !== awaited) return;
      awaited = null;
      const link = new URL(location.href);
      link.searchParams.set("tab", key);
      history.replaceState(history.state, "", link);
    },
  };
})();

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

// One note for everything that carries `data-note`, kept inside the window, shown on hover and on focus.
const note = document.createElement("div");
note.className = "note";
note.hidden = true;
note.setAttribute("role", "tooltip");
const showNote = (event) => {
  const target = event.target.closest?.("[data-note]");
  note.hidden = !target;
  if (!target) return;
  if (!note.isConnected) document.body.append(note);
  note.textContent = target.dataset.note;
  const at = target.getClientRects()[0], own = note.getBoundingClientRect();
  const below = at.bottom + 6 + own.height <= innerHeight;
  note.style.left = Math.max(8, Math.min(at.left, innerWidth - own.width - 8)) + "px";
  note.style.top = (below ? at.bottom + 6 : at.top - own.height - 6) + "px";
};
document.addEventListener("pointerover", showNote);
document.addEventListener("focusin", showNote);
document.addEventListener("scroll", () => { note.hidden = true; }, {capture: true, passive: true});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") note.hidden = true; });
