// What is seen of a room: the panel behind its button, the bar of who follows, and what the lesson leaves to it. All
// drawn from `studioRoom.state()`, whenever that has changed.
(() => {
  let invited = ""; // the code that the QR code was drawn for
  let farewell = ""; // why the room is over, until it was read

  // ---- Small things -----------------------------------------------------------------------------------------
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const deed = (name, text, attributes = {}) => make("button", {type: "button", "data-room-do": name, ...attributes}, text);
  const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;
  const bar = (share) => {
    const track = make("span", {class: "room-track"}, make("span"));
    track.firstChild.style.width = `${100 * share}%`;
    return track;
  };
  // Replaced only where it differs: what stands keeps the focus.
  const put = (element, children) => {
    const now = make(element.tagName);
    now.append(...children);
    if (element.innerHTML !== now.innerHTML) element.replaceChildren(...now.childNodes);
  };
  const filled = (name) => document.querySelectorAll(`[data-room-fill="${name}"]`);
  const fill = (name, text) => {
    for (const one of filled(name)) if (one.textContent !== text) one.textContent = text;
  };
  const panel = () => document.querySelector("dialog.room-panel");
  const stepOf = (place) => {
    const keys = [...document.querySelectorAll(".stages [role=tab][data-tab-id]")].map((one) => one.dataset.tabId);
    return [...new Set(keys)].indexOf(place.split(".")[0]) + 1;
  };

  // ---- The panel ----------------------------------------------------------------------------------------------
  const open = () => {
    const dialog = panel();
    if (!dialog || dialog.open) return;
    fill("said", "");
    const end = dialog.querySelector('[data-room-do="end"]');
    delete end.dataset.sure;
    end.textContent = "End the room";
    dialog.showModal();
    paint();
    dialog.querySelector(studioRoom.state().role === "out" ? "#room-code" : ".room-close").focus();
  };

  const invite = async (code) => {
    if (!panel()?.open || invited === code) return;
    invited = code;
    const address = new URL(location.pathname, location.origin);
    address.searchParams.set("room", code);
    const said = await studioRoom.act("invite", address.href);
    if (!said) return void (invited = "");
    fill("address", said.address.replace(/^http:\/\//, ""));
    const [before, command, after] = said.advice.split("`");
    for (const one of filled("advice")) put(one, command ? [before, make("code", {}, command), after] : [before]);
    for (const one of filled("qr")) one.innerHTML = said.qr; // the studio's own drawing, its text escaped
  };

  const acts = {
    panel: open,
    close: () => panel().close(),
    async join(form) {
      await studioRoom.act("join", form.elements.code.value);
      if (studioRoom.state().role === "out") return;
      form.reset();
      panel().close();
    },
    name: (form) => studioRoom.act("name", form.elements.name.value),
    async leave() {
      await studioRoom.act("leave");
      panel().close();
    },
    end(button) {
      if ("sure" in button.dataset) return studioRoom.act("end");
      button.dataset.sure = "";
      button.textContent = "End it for everybody?";
    },
    unname: (button) => studioRoom.act("unname", button.value),
    farewell() {
      farewell = "";
      paint();
    },
  };
  const does = (name, element) => {
    fill("said", "");
    (acts[name] ?? (() => studioRoom.act(name)))(element);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[data-room-do]");
    if (button) return does(button.dataset.roomDo, button);
    if (event.target === panel()) return panel().close(); // beside it
    const choice = event.target.closest?.("[data-choice]");
    if (choice) studioRoom.act("vote", Number(choice.dataset.choice));
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.dataset?.roomDo) return;
    event.preventDefault();
    does(event.target.dataset.roomDo, event.target);
  });
  // What is typed or pressed in the panel is no command of the lesson.
  document.addEventListener("keydown", (event) => {
    if (event.target.closest?.("dialog.room-panel")) event.stopPropagation();
  }, true);
  document.addEventListener("studio:room-said", ({detail}) => {
    if (detail.kind === "over") farewell = detail.text;
    if (detail.kind === "wrong") fill("said", detail.text);
    if (detail.kind !== "wrong" || !panel()?.open) fill("live", detail.text);
  });

  // ---- Predictions --------------------------------------------------------------------------------------------
  const tally = (question) => make("ol", {class: "room-tally"}, ...question.choices.map((choice, at) => {
    const right = question.outcome === at, mine = question.mine === at;
    const notes = [...right ? ["✓ came true"] : [], ...mine ? ["your prediction"] : []];
    return make("li", {class: `${right ? "is-right" : ""} ${mine ? "is-mine" : ""}`},
      make("span", {class: "room-choice"}, choice, " ", make("small", {}, notes.join(", "))),
      bar(question.counts[at] / Math.max(1, ...question.counts)), make("b", {}, String(question.counts[at])));
  }));

  const verdict = (question) => {
    const all = plural(question.voted, "vote", "votes");
    if (question.right === null || !question.voted) return `${all}.`;
    const predicted = `${question.right} of ${question.voted} predicted it.`;
    if (question.mine === null) return predicted;
    return `${question.mine === question.outcome ? "You were right." : "You expected something else."} ${predicted}`;
  };

  const predict = (question, {role, view}) => {
    if (!question.open) {
      const again = role === "presenter" ? [deed("again", "Ask again")] : [];
      return [make("p", {class: "room-count"}, `The vote is closed: ${plural(question.voted, "vote", "votes")}.`),
        tally(question), ...again];
    }
    if (role === "presenter") {
      const all = Math.max(view.here, question.voted);
      return [make("p", {class: "room-count"}, make("b", {}, String(question.voted)), ` of ${all} have voted`),
        bar(all && question.voted / all)];
    }
    const mine = question.mine === null ? "Press what you expect." : `Your vote: ${question.choices[question.mine]}.`;
    return [make("p", {class: "room-count"}, `${mine} You may change it until the presenter goes on.`)];
  };

  const paintBeat = () => {
    const state = studioRoom.state(), question = state.question;
    for (const one of document.querySelectorAll('[data-room="predict"]')) put(one, question ? predict(question, state) : []);
    for (const one of document.querySelectorAll('[data-room="outcome"]')) {
      put(one, question && !question.open && question.voted
        ? [tally(question), make("p", {class: "room-count"}, verdict(question))] : []);
    }
    if (!question || state.role !== "member") return;
    for (const one of document.querySelectorAll("#beat button[data-choice]")) {
      const pressed = String(Number(one.dataset.choice) === question.mine);
      if (one.getAttribute("aria-pressed") !== pressed) one.setAttribute("aria-pressed", pressed);
      one.disabled = !question.open;
    }
  };

  // ---- The leaderboard ----------------------------------------------------------------------------------------
  const board = ({role, view}) => {
    const row = (one) => {
      const mine = one.member === view.member;
      const who = make("th", {scope: "row"}, one.name, mine ? make("small", {}, " you") : "");
      if (role === "presenter" && one.name !== `Someone ${one.member}`) {
        const name = `Remove the name ${one.name}`;
        who.append(" ", deed("unname", "×", {class: "room-unname", value: one.member, "aria-label": name, title: name}));
      }
      return make("tr", mine ? {class: "is-mine"} : {}, make("td", {}, String(one.place)), who,
        make("td", {}, bar(one.accuracy)), make("td", {}, make("b", {}, `${(100 * one.accuracy).toFixed(1)} %`)),
        make("td", {class: "room-how"}, `${one.what}, ${plural(one.step, "step", "steps")}${one.training ? " so far" : ""}`));
    };
    const waiting = view.training ? ` ${plural(view.training, "run waits or trains.", "runs wait or train.")}` : "";
    const heads = ["", "Who", "", "Held-out", "How"].map((name) => make("th", {scope: "col"}, name));
    return [make("h3", {}, "Teach it something yourself"),
      make("p", {class: "room-hint"}, `Best run of each, by held-out questions answered rightly.${waiting}`),
      ...view.board.length ? [make("table", {}, make("thead", {}, make("tr", {}, ...heads)),
        make("tbody", {}, ...view.board.map(row)))] : []];
  };

  // ---- Drawing ------------------------------------------------------------------------------------------------
  const inBar = ({role, code, view, apart, trouble}) => {
    if (role === "presenter") return [make("b", {}, code), make("span", {}, trouble || `${view?.here ?? 0} here`)];
    if (trouble || !apart) return [make("span", {}, `Room ${code}`), make("span", {}, trouble || "following the presenter")];
    const step = stepOf(view?.place ?? "");
    const waits = view?.question?.open && view.question.mine === null;
    return [make("span", {}, waits ? "The presenter asks the room" : "On your own"),
      deed("back", `Back to the presenter${step ? ` · step ${step}` : ""}`, {class: "room-primary"})];
  };

  const paint = () => {
    const state = studioRoom.state(), {role, code, view} = state;
    const dialog = panel(), button = document.querySelector(".room-open");
    if (!dialog || !button) return;
    dialog.dataset.role = role;
    for (const one of document.querySelectorAll("[data-room-when]")) one.hidden = one.dataset.roomWhen !== role;
    button.textContent = role === "out" ? "Room" : `Room ${code}${role === "presenter" && view ? ` · ${view.here}` : ""}`;
    document.documentElement.classList.toggle("in-room", role === "member");
    const inLesson = Boolean(globalThis.studioBeat?.at());
    for (const strip of document.querySelectorAll('[data-room="bar"]')) put(strip, role === "out" ? [] : inBar(state));
    let own = document.querySelector(".room-bar");
    const says = farewell && role === "out" ? [make("span", {}, farewell), deed("farewell", "OK")]
      : role === "member" && !inLesson ? inBar(state) : [];
    if (says.length) {
      own ??= document.body.appendChild(make("aside", {class: "room-bar", "aria-label": "Room"}));
      own.inert = false;
      put(own, says);
    } else own?.remove();
    fill("code", code);
    if (view) {
      fill("here", String(view.here ?? 0));
      fill("people", view.here === 1 ? "person is here" : "people are here");
      fill("name", view.name || `Someone ${view.member}`);
    }
    for (const one of filled("board")) {
      one.hidden = !view || !(view.board.length || view.training);
      put(one, one.hidden ? [] : board(state));
    }
    if (role === "presenter") invite(code);
    watch();
    paintBeat();
  };
  document.addEventListener("studio:room", paint);

  // What the lesson draws leaves room for ours; what stands beside its layer it makes inert, and ours must not be.
  const watched = {beat: null, vote: null};
  let shown = ""; // the blind vote that a phone was brought to
  const watch = () => {
    for (const one of document.querySelectorAll(".room-panel, .room-live")) one.inert = false;
    const beat = document.querySelector("#presentation #beat"), vote = document.querySelector("#blind-question");
    if (beat && beat !== watched.beat) {
      watched.beat = beat;
      new MutationObserver(paintBeat).observe(beat, {childList: true, subtree: true});
    }
    if (vote && vote !== watched.vote) {
      watched.vote = vote;
      new MutationObserver(bringToVote).observe(vote, {childList: true, subtree: true});
    }
  };
  const bringToVote = () => {
    const {role, view, apart} = studioRoom.state();
    const vote = document.querySelector("#blind-question"), round = vote.querySelector("[data-vote]")?.dataset.round;
    if (!round || shown === round || role !== "member" || apart || view?.place !== "base-vs-chat") return;
    shown = round;
    vote.scrollIntoView({block: "start"});
    fill("live", "The presenter asks for a blind vote.");
  };

  const ready = () => {
    if (!document.querySelector(".room-open")) return void setTimeout(ready, 100);
    document.body.append(document.querySelector(".room-live"), panel());
    studioRoom.begin();
    paint();
  };
  ready();
})();
