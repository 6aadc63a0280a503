// Served with the page. Nothing here sends what a person typed.

// What a person chose, kept in this browser. A page within another site's frame may have no storage: then it is kept
// for as long as the page is open.
globalThis.studioLesson = (() => {
  const KEY = "fine-tuning-studio.lesson";
  let open = {}, typed = {};
  try { open = JSON.parse(localStorage.getItem(KEY)) ?? {}; } catch { open = {}; }
  const keep = (key, value) => {
    open = {...open, [key]: value};
    try { localStorage.setItem(KEY, JSON.stringify(open)); } catch { /* no storage, or it is full */ }
  };
  // Gradio tells of a text box's change later, when the cursor may have left it, and not whether a person made it. What
  // is typed before the page has asked what to restore is restored with the rest.
  document.addEventListener("input", (event) => {
    const id = event.target.closest?.('[id^="lesson-"]')?.id, key = id?.match(/^lesson-(\w+)-\d+$/)?.[1];
    if (!key) return;
    typed = {id, value: event.target.value};
    keep(key, event.target.value);
  }, {capture: true});
  // A link names what its sender had chosen (links.js); it is taken over once, and then stands in the address no more.
  const linked = (defaults, offered) => {
    const link = new URL(location.href);
    for (const [key, value] of Object.entries(defaults)) {
      const text = key === "run" ? null : link.searchParams.get(key);
      if (text === null) continue;
      link.searchParams.delete(key);
      try {
        const sent = typeof value === "string" ? text : JSON.parse(text);
        const like = Array.isArray(value)
          ? Array.isArray(sent) && sent.every((one) => typeof one?.role === "string" && typeof one.content === "string")
          : typeof sent === typeof value;
        if (like && offered(key, sent)) keep(key, sent);
      } catch { /* no value of this kind */ }
    }
    if (link.href !== location.href) history.replaceState(history.state, "", link);
  };
  let beginning = {};
  return {
    all: () => open,
    keep,
    typed: (id, value) => typed.id === id && typed.value === value,
    // What the page shows when it opens. defaults: of every key, for who chose nothing yet; choices: of a key that has
    // no other values, so that no field gets one from a link which it does not offer
    begin(defaults, choices = {}) {
      const offered = (key, value) => choices[key]?.includes(value) ?? true;
      beginning = defaults;
      linked(defaults, offered);
      return {...defaults, ...Object.fromEntries(Object.entries(open).filter(([key, value]) => offered(key, value)))};
    },
    changed: () => Object.entries(open).filter(
      ([key, value]) => key in beginning && JSON.stringify(value) !== JSON.stringify(beginning[key])),
  };
})();

// Whose vote it is: a random id that this browser keeps, so that a reload gives nobody a second one.
globalThis.studioVisitor = (() => {
  const KEY = "fine-tuning-studio.visitor";
  let id = "";
  try { id = localStorage.getItem(KEY) ?? ""; } catch { /* no storage: the id lasts as long as the page */ }
  if (!/^[0-9a-f]{32}$/.test(id)) {
    id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    try { localStorage.setItem(KEY, id); } catch { /* as above */ }
  }
  return () => id;
})();

// The address names the open tab. Gradio opens the first tab before the one that a link names; until that one is open
// the address stays as it came, or who copies it meanwhile gets a link to the first.
globalThis.studioTab = (() => {
  let awaited = new URLSearchParams(location.search).get("tab"), open = "";
  return {
    open: () => open,
    linked(keys) {
      if (!keys.includes(awaited)) awaited = null;
      return awaited;
    },
    opened(key) {
      if (awaited && key !== awaited) return;
      awaited = null;
      open = key;
      const link = new URL(location.href);
      link.searchParams.set("tab", key);
      history.replaceState(history.state, "", link);
    },
  };
})();

// Asks a handler of the page for its outputs, without Gradio's event queue: with every step of an event on the queue
// Gradio 6 walks all components of the page once for every one that was ever an event's input, and a slider then takes
// half a second to redraw.
globalThis.studioAsk = async (handler, values) => {
  const root = globalThis.gradio_config?.root ?? location.origin + location.pathname.replace(/\/$/, "");
  const answer = await fetch(`${root}/gradio_api/run/predict`, {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify({fn_index: handler, data: values, session_hash: "calculator"}),
  });
  if (!answer.ok) throw new Error(await answer.text());
  return (await answer.json()).data;
};

// The same for a calculator: of several questions to one handler only the first and the newest are sent, and none while
// its tab is not open. faults: the last output is what was wrong with the values, shared by all of the panel; it is left
// alone by who has found nothing wrong, now or before.
globalThis.studioFollow = (() => {
  const asking = new Map(), faulty = new Set();
  const same = {__type__: "update"}, nothing = (outputs) => Array(outputs).fill(same);
  return async (handler, stage, values, outputs, faults) => {
    if (studioTab.open() !== stage) return nothing(outputs);
    const before = asking.get(handler);
    if (before) {
      before.next?.(false);
      if (!await new Promise((resolve) => { before.next = resolve; })) return nothing(outputs);
    }
    const mine = {};
    asking.set(handler, mine);
    try {
      const answer = await studioAsk(handler, values);
      if (!faults) return answer;
      const wrong = answer.at(-1);
      if (!wrong && !faulty.delete(handler)) answer[answer.length - 1] = same;
      if (wrong) faulty.add(handler);
      return answer;
    } finally {
      asking.delete(handler);
      mine.next?.(true);
    }
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
