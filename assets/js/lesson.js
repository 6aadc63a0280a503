// The lesson on a projector: one layer over the page, moved from the keyboard. What stands at a place is asked of the
// server, past Gradio's queue; keys never wait for it. Other scripts meet it in `studioBeat` and its two events.
globalThis.studioBeat = (() => {
  const KEY = "fine-tuning-studio.place";
  const PATIENCE = {person: 500, clock: 500, room: 2000}; // milliseconds between two looks at what is being measured
  // What takes keys for itself: nothing that is typed or moved there is a command of the lesson.
  const TYPED = 'input, textarea, select, [contenteditable=""], [contenteditable="true"], .cm-editor, '
    + '[role="textbox"], [role="slider"], [role="spinbutton"], [role="combobox"], [role="listbox"], [role="option"], '
    + '[role="menuitem"], [role="radio"], [role="tab"]';
  const PRESSED = 'button, a[href], summary, label, video, audio, [role="button"], [role="checkbox"], [role="switch"]';
  const pace = Math.max(1, Number(new URLSearchParams(location.search).get("pace")) || 1);

  let setup = null; // {ask, present, stages: [[key, title]], beats: [[key, title]]}, once the page is there
  let places = [];
  let open = false, at = "", shown = null, by = "person", turn = 0, autoplay = false, dueSince = 0, before = null;
  let layer = null, poll = 0, clock = 0;
  const told = new Map(); // place -> what the server said of it
  const picked = new Map(); // stage -> the choice that was pressed here

  // ---- Kept in this browser, so that a reload goes on where it was -------------------------------------------
  let kept = {place: "", began: 0, seeds: {}};
  try { kept = {...kept, ...JSON.parse(localStorage.getItem(KEY))}; } catch { /* nothing kept, or no storage */ }
  const keep = (change) => {
    kept = {...kept, ...change};
    try { localStorage.setItem(KEY, JSON.stringify(kept)); } catch { /* it lasts as long as the page */ }
    drawPlay();
  };
  const address = (change) => {
    const link = new URL(location.href);
    for (const [name, value] of Object.entries(change)) {
      if (value) link.searchParams.set(name, value); else link.searchParams.delete(name);
    }
    history.replaceState(history.state, "", link);
  };

  // ---- What the server says ---------------------------------------------------------------------------------
  const ask = async (place, how) => {
    const stage = place.split(".")[0];
    const said = JSON.parse((await globalThis.studioAsk(setup.ask, [place, how, kept.seeds[stage] ?? 0]))[0]);
    // What was measured stays, whatever an answer that was longer on its way says.
    if (!(told.get(place)?.done && !said.done && told.get(place).seed === said.seed)) told.set(place, said);
    return told.get(place);
  };

  const look = async (mine) => {
    clearTimeout(poll);
    let said = null;
    try { said = await ask(at, "look"); } catch { /* the studio is gone for a moment: look again */ }
    if (mine !== turn || !open) return;
    if (said) paint(said);
    status(said ? "" : "The studio does not answer. It is asked again …");
    if (!said || !said.done) poll = setTimeout(look, PATIENCE[by] ?? 500, mine);
    else ahead();
  };

  const ahead = () => {
    const next = places[places.indexOf(at) + 1];
    if (next && !told.get(next)?.done) ask(next, "ahead").catch(() => {});
  };

  // ---- The layer --------------------------------------------------------------------------------------------
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const button = (act, text, title) => make("button", {type: "button", "data-act": act, title}, text);

  const build = () => {
    layer = make("div", {id: "presentation", role: "region", "aria-label": "Lesson", hidden: ""},
      make("header", {class: "lesson-top"},
        make("p", {class: "lesson-step"}),
        make("nav", {class: "lesson-beats", "aria-label": "Beats of this step"},
          ...setup.beats.map(([key, title]) => make("button", {type: "button", "data-beat": key}, title)))),
      make("main", {id: "beat", tabindex: "-1"}),
      make("p", {class: "lesson-status", role: "status"}),
      make("footer", {class: "lesson-bar"},
        make("div", {class: "lesson-progress", "aria-hidden": "true"}, make("span")),
        make("div", {class: "lesson-buttons"},
          button("back", "← Back", "← goes back"), button("next", "Next →", "Space or → goes on"),
          button("autoplay", "Autoplay", "A plays by itself, and pauses"),
          button("notes", "Notes", "N opens the speaker notes"), button("keys", "Keys", "? shows the keys"),
          button("end", "End", "Esc ends the lesson")),
        make("div", {"data-room": "bar"})),
      make("p", {class: "lesson-live", "aria-live": "polite"}),
      make("div", {class: "lesson-keys", role: "dialog", "aria-label": "Keys", hidden: ""}));
    layer.querySelector(".lesson-keys").append(make("h2", {}, "Keys"), make("dl", {}, ...[
      ["Space  →  Page Down", "go on"], ["←  Page Up", "go back"], ["1 – 8", "jump to a step"],
      ["Home  End", "the first place, the last"], ["A", "play by itself, or pause"], ["N", "speaker notes"],
      ["?", "these keys"], ["Esc", "end the lesson"],
    ].flatMap(([keys, what]) => [make("dt", {}, keys), make("dd", {}, what)])), button("keys", "Close", "Esc closes"));
    layer.addEventListener("click", pressed);
    document.body.append(layer);
  };

  const pressed = (event) => {
    const target = event.target.closest("button");
    if (!target || !layer.contains(target)) return;
    // A pointer leaves the focus with the beat, so that Space goes on and does not press the same button again.
    if (event.detail > 0 && !layer.querySelector(".lesson-keys").contains(target)) layer.querySelector("#beat").focus();
    if (target.dataset.act) acts[target.dataset.act]();
    else if (target.dataset.beat) move(`${at.split(".")[0]}.${target.dataset.beat}`, "person");
    else if (target.dataset.choice) choose(target);
    else if ("again" in target.dataset) again();
  };

  const choose = (target) => {
    picked.set(at.split(".")[0], target.dataset.choice);
    for (const other of layer.querySelectorAll("[data-choice]")) {
      other.setAttribute("aria-pressed", String(other === target));
    }
  };

  // The same experiment with the next seed.
  const again = () => {
    const stage = at.split(".")[0];
    keep({seeds: {...kept.seeds, [stage]: (kept.seeds[stage] ?? 0) + 1}});
    told.delete(at);
    dueSince = 0;
    look(turn);
  };

  const paint = (said) => {
    const beat = layer.querySelector("#beat");
    if (shown?.place !== said.place || shown?.html !== said.html) {
      beat.innerHTML = said.html;
      beat.scrollTop = 0;
      const mine = picked.get(at.split(".")[0]);
      const one = mine === undefined ? null : beat.querySelector(`[data-choice="${mine}"], [data-outcome="${mine}"]`);
      if (one?.dataset.choice) one.setAttribute("aria-pressed", "true");
    }
    const part = beat.querySelector("[data-part]");
    if (part && (shown?.place !== said.place || shown?.part !== said.part || !part.firstChild)) {
      part.innerHTML = said.part;
      const mine = picked.get(at.split(".")[0]);
      part.querySelector(`[data-outcome="${mine}"]`)?.classList.add("is-picked");
    }
    if (said.done && !shown?.done) live(said.says);
    if (said.done && !dueSince) dueSince = performance.now();
    shown = said;
    layer.dataset.done = String(Boolean(said.done));
    layer.dataset.shown = said.place;
    notes.tell();
  };

  const status = (text) => { layer.querySelector(".lesson-status").textContent = text; };
  const live = (text) => { layer.querySelector(".lesson-live").textContent = text; };

  const head = () => {
    const [stage, beat] = at.split(".");
    const number = setup.stages.findIndex(([key]) => key === stage);
    layer.dataset.place = at;
    layer.dataset.kind = beat;
    layer.querySelector(".lesson-step").replaceChildren(
      make("span", {class: "of"}, `Step ${number + 1} / ${setup.stages.length} · `), setup.stages[number][1]);
    for (const one of layer.querySelectorAll("[data-beat]")) {
      if (one.dataset.beat === beat) one.setAttribute("aria-current", "step"); else one.removeAttribute("aria-current");
    }
    layer.querySelector(".lesson-progress span").style.width = `${100 * (places.indexOf(at) + 1) / places.length}%`;
    layer.querySelector('[data-act="back"]').disabled = at === places[0];
  };

  // ---- Moving -----------------------------------------------------------------------------------------------
  const begin = () => {
    if (open) return;
    if (!layer) build();
    open = true;
    before = document.activeElement;
    layer.hidden = false;
    document.documentElement.classList.add("in-lesson");
    // Nothing beside the layer can be reached while it is open, by keyboard or by a screen reader.
    for (const other of document.body.children) {
      if (other !== layer && !other.matches("script, style, .note")) other.inert = true;
    }
    if (!kept.began) keep({began: Date.now()});
    clock = setInterval(tick, 250);
  };

  const move = (place, who) => {
    if (!setup || !places.includes(place)) return;
    begin();
    turn += 1;
    at = place;
    by = who;
    dueSince = 0;
    keep({place});
    address({beat: place});
    head();
    layer.querySelector(".lesson-keys").hidden = true;
    const [stage, beat] = place.split(".");
    const title = setup.stages.find(([key]) => key === stage)[1];
    live(`Step ${setup.stages.findIndex(([key]) => key === stage) + 1}, ${title}: `
      + setup.beats.find(([key]) => key === beat)[1]);
    shown = null;
    layer.dataset.done = "false";
    status("");
    const known = told.get(place);
    if (known) paint(known);
    else layer.querySelector("#beat").replaceChildren(make("p", {class: "beat-coming"}, "…"));
    if (!layer.contains(document.activeElement) || !layer.querySelector(":focus-visible")) {
      layer.querySelector("#beat").focus({preventScroll: true});
    }
    document.dispatchEvent(new CustomEvent("studio:beat", {detail: {place, by: who}}));
    look(turn);
  };

  const end = () => {
    if (!open) return;
    const stage = at.split(".")[0];
    open = false;
    turn += 1;
    at = "";
    shown = null;
    clearTimeout(poll);
    clearInterval(clock);
    setAutoplay(false);
    layer.hidden = true;
    document.documentElement.classList.remove("in-lesson");
    for (const other of document.body.children) other.inert = false;
    address({beat: ""});
    // By its number: its title is in the language of the browser.
    document.querySelectorAll('[role="tab"]')[setup.stages.findIndex(([key]) => key === stage)]?.click();
    (before?.isConnected && before !== document.body ? before : document.querySelector(".lesson-play"))?.focus();
    notes.tell();
    document.dispatchEvent(new CustomEvent("studio:beat-end"));
  };

  const step = (by, who = "person") => {
    const next = places.indexOf(at) + by;
    if (next >= places.length) {
      keep({place: "", began: 0});
      end();
    } else if (next >= 0) move(places[next], who);
  };

  // ---- Autoplay: the planned time of a beat begins when there is all to see ----------------------------------
  const setAutoplay = (on) => {
    autoplay = on;
    if (on && shown?.done) dueSince = performance.now();
    const toggle = layer?.querySelector('[data-act="autoplay"]');
    if (!toggle) return;
    toggle.textContent = on ? "Pause" : "Autoplay";
    toggle.setAttribute("aria-pressed", String(on));
    tick();
  };

  const left = () => (shown?.done && dueSince ? shown.seconds / pace - (performance.now() - dueSince) / 1000 : null);

  const tick = () => {
    const toggle = layer.querySelector('[data-act="autoplay"]');
    const seconds = autoplay ? left() : null;
    toggle.dataset.left = !autoplay ? "" : seconds === null ? "waits" : `${Math.max(0, Math.ceil(seconds))} s`;
    if (seconds !== null && seconds <= 0) step(1, "clock");
  };

  // ---- Keys -------------------------------------------------------------------------------------------------
  const toggleKeys = () => {
    const keys = layer.querySelector(".lesson-keys");
    keys.hidden = !keys.hidden;
    (keys.hidden ? layer.querySelector("#beat") : keys.querySelector("button")).focus();
  };
  const acts = {
    back: () => step(-1), next: () => step(1), autoplay: () => setAutoplay(!autoplay), notes: () => notes.open(),
    keys: toggleKeys, end,
  };
  const KEYS = {
    " ": acts.next, ArrowRight: acts.next, PageDown: acts.next, ArrowLeft: acts.back, PageUp: acts.back,
    Home: () => move(places[0], "person"), End: () => move(places.at(-1), "person"),
    a: acts.autoplay, A: acts.autoplay, n: acts.notes, N: acts.notes, "?": acts.keys,
  };

  const key = (event) => {
    if (!setup || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (event.shiftKey && event.key !== "?") return;
    if (event.target.closest?.(TYPED) || document.querySelector("dialog:modal")) return;
    if (!open) {
      if (event.key !== " " || event.repeat || event.target.ownerDocument !== document) return;
      if (event.target.closest?.(`${PRESSED}, [tabindex]:not([tabindex="-1"])`)) return;
      event.preventDefault();
      start(false);
      return;
    }
    if (event.key === "Escape") {
      event.preventDefault();
      const keys = layer.querySelector(".lesson-keys");
      if (keys.hidden) end(); else toggleKeys();
      return;
    }
    if (event.key === " " && event.target.closest?.(PRESSED)) return;
    const act = KEYS[event.key]
      ?? (/^[1-9]$/.test(event.key) && Number(event.key) <= setup.stages.length
        ? () => move(`${setup.stages[Number(event.key) - 1][0]}.${setup.beats[0][0]}`, "person") : null);
    if (!act) return;
    event.preventDefault();
    if (!event.repeat) act();
  };
  document.addEventListener("keydown", key);

  const inWords = (place) => {
    const [stage, beat] = place.split(".");
    return `${setup.stages.find(([one]) => one === stage)[1]}, ${setup.beats.find(([one]) => one === beat)[1]}`;
  };
  const notes = globalThis.studioNotes({
    layer: () => layer,
    key,
    act: (name) => acts[name]?.(),
    now() {
      const next = places[places.indexOf(at) + 1];
      return {
        step: at ? layer.querySelector(".lesson-step").textContent : "", next: at && next ? inWords(next) : "",
        shown, autoplay, began: kept.began, dueSince,
      };
    },
  });

  const start = (playing) => {
    move(places.includes(kept.place) ? kept.place : places[0], "person");
    setAutoplay(playing);
  };

  const drawPlay = () => {
    const play = document.querySelector(".lesson-play");
    if (play) play.textContent = places.includes(kept.place) ? "Go on with the lesson" : "Play the lesson";
  };
  document.addEventListener("click", (event) => {
    if (setup && event.target.closest?.(".lesson-play")) start(true);
  });

  return {
    at: () => (open ? at : ""),
    go: (place, who = "person") => move(place, who),
    end,
    connect(given) {
      setup = given;
      places = setup.stages.flatMap(([stage]) => setup.beats.map(([beat]) => `${stage}.${beat}`));
      drawPlay();
      const linked = new URLSearchParams(location.search).get("beat");
      if (linked && places.includes(linked)) move(linked, "person");
      else if (setup.present) start(false);
      if (open && notes.wereOpen()) notes.attach();
    },
  };
})();
