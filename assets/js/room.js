// The room: one page presents, the others follow it. Everything comes as one view of the whole room, over a stream of
// events past Gradio's queue, so that nothing is missed or done twice. What is seen of it draws room-panel.js.
// Events of the document: "studio:room" when there is something to draw, "studio:room-said" {text, kind} when there is
// something to say: "news", "wrong" (what was asked for cannot be), or "over".
globalThis.studioRoom = (() => {
  const KEY = "fine-tuning-studio.room";
  const SILENT = 15_000; // milliseconds without a sign of the studio, after which the page connects anew
  const HIDDEN = 30_000; // a member's page that nobody sees lets its connection go after so long
  const page = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  let me = null; // {code, token}; a presenter has a token
  let view = null; // the newest view of the room
  let apart = false; // a member who goes their own way
  let trouble = ""; // while the studio does not answer
  let turn = 0; // of the stream that counts
  let stream = null; // its AbortController
  let followed = ""; // the place that this page was last brought to
  let settled = 0; // the version of the room from which on this page's newest step holds
  let leaving = false; // while the room closes the lesson
  let last = ""; // the stage that the lesson was in

  const tell = (name, detail) => document.dispatchEvent(new CustomEvent(name, {detail}));
  const changed = () => tell("studio:room");
  const say = (text, kind = "news") => tell("studio:room-said", {text, kind});
  const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
  const seen = () => new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    look();
  });

  // ---- Kept in this browser and in the address, so that a reload goes on --------------------------------------
  const store = () => {
    try {
      if (me) localStorage.setItem(KEY, JSON.stringify(me)); else localStorage.removeItem(KEY);
    } catch { /* no storage: it lasts as long as the page */ }
  };
  const stored = () => {
    try { return JSON.parse(localStorage.getItem(KEY)); } catch { return null; }
  };
  // The studio takes no longer code; it says of this one that there is no such room, and the page asks no more.
  const linked = () => (new URLSearchParams(location.search).get("room") ?? "").toUpperCase().slice(0, 40);
  const link = (code) => {
    const address = new URL(location.href);
    if (code) address.searchParams.set("room", code); else address.searchParams.delete("room");
    history.replaceState(history.state, "", address);
  };

  // ---- Asking the studio ------------------------------------------------------------------------------------
  const ask = async (action, values = {}, signal = undefined) => {
    const root = globalThis.gradio_config?.root ?? location.origin + location.pathname.replace(/\/$/, "");
    const answer = await fetch(`${root}/rooms/${action}`, {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({code: me?.code ?? "", visitor: globalThis.studioVisitor(), ...values}),
      signal,
    });
    if (answer.ok && !answer.headers.get("Content-Type").startsWith("application/json")) return answer;
    let said = {};
    try { said = await answer.json(); } catch { /* a proxy's page: the studio is not there */ }
    if (answer.ok && !said.error) return said;
    const refused = "error" in said;
    throw Object.assign(new Error(said.error ?? "The studio does not answer."), {refused, gone: said.gone});
  };

  // Steps are sent one at a time, and of those that wait only the newest, or two could arrive in the wrong order.
  const moving = {now: false, next: ""};
  const announce = async (place) => {
    moving.next = place;
    if (moving.now) return;
    moving.now = true;
    while (moving.next && me?.token) {
      const to = moving.next;
      moving.next = "";
      try {
        const {version} = await ask("move", {token: me.token, place: to, page});
        settled = Math.max(settled, version);
      } catch (error) {
        if (error.refused) say(error.message, "wrong");
        else { // on its way: once more, unless the presenter has gone on
          moving.next ||= to;
          await pause(500);
        }
      }
    }
    moving.now = false;
  };

  // ---- Following --------------------------------------------------------------------------------------------
  const listen = async () => {
    const mine = ++turn;
    stream?.abort();
    let wait = 300;
    while (me && mine === turn) {
      if (!me.token && document.hidden) await seen();
      stream = new AbortController();
      const here = stream;
      let silence = 0;
      const alive = () => {
        clearTimeout(silence);
        silence = setTimeout(() => here.abort(), SILENT);
      };
      alive();
      try {
        if (!me.token) await ask("join", {}, here.signal);
        const answer = await ask("follow", {token: me.token ?? ""}, here.signal);
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        for (;;) {
          const {value, done} = await reader.read();
          if (done || mine !== turn) break;
          alive();
          wait = 300;
          text += value;
          const events = text.split("\n\n");
          text = events.pop();
          events.forEach(heard);
        }
      } catch (error) {
        if (mine !== turn) return;
        if (error.gone) return void over(error.message);
        if (error.refused) say(error.message, "wrong");
      } finally {
        clearTimeout(silence);
      }
      if (!me || mine !== turn) return;
      if (wait > 600) setTrouble("Connecting again …");
      await pause(wait * (0.7 + 0.6 * Math.random())); // a whole class does not come back in the same instant
      wait = Math.min(8000, wait * 2);
    }
  };

  const heard = (event) => {
    const data = event.split("\n").find((line) => line.startsWith("data: "));
    if (!data) return setTrouble("");
    const said = JSON.parse(data.slice(6));
    if (event.startsWith("event: over")) return over(said.error);
    trouble = "";
    if (view && said.version < view.version) return;
    const before = view;
    view = said;
    if (me.token) {
      // Another page of the presenter has moved, or this one was loaded anew. While a step of this page is on its way,
      // a view may be older than it, and would take it back.
      const newest = !moving.now && said.version >= settled;
      if (newest && said.mover !== page && said.place !== followed) goTo(said.place);
    } else if (!apart && said.place !== followed) goTo(said.place);
    if (!me.token && said.question?.open && said.question.number !== before?.question?.number) {
      say("The presenter asks the room: make a prediction.");
    }
    changed();
  };

  const setTrouble = (text) => {
    if (trouble === text) return;
    trouble = text;
    changed();
  };

  const over = (why) => {
    turn += 1;
    stream?.abort();
    const presented = Boolean(me?.token);
    me = view = null;
    apart = false;
    settled = 0;
    followed = trouble = "";
    store();
    link("");
    say(why, presented ? "news" : "over");
    changed();
  };

  // ---- Going where the presenter is ---------------------------------------------------------------------------
  const tabs = () => [...document.querySelectorAll(".stages [role=tab][data-tab-id]")];
  const here = () => globalThis.studioBeat?.at()
    || tabs().find((one) => one.getAttribute("aria-selected") === "true")?.dataset.tabId || "problem";

  // The page may still be drawing its tabs, or the lesson its first beat: asked for until it is there.
  const goTo = async (place) => {
    followed = place;
    for (let tries = 0; tries < 60 && followed === place && me && !apart; tries += 1) {
      if (arrived(place)) return;
      await pause(tries < 5 ? 60 : 400);
    }
  };
  const arrived = (place) => {
    const [stage, beat] = place.split(".");
    const lesson = globalThis.studioBeat;
    if (beat && lesson) {
      if (lesson.at() !== place) lesson.go(place, "room");
      return lesson.at() === place;
    }
    if (lesson?.at()) {
      leaving = true;
      lesson.end();
      leaving = false;
    }
    const wanted = tabs().filter((one) => one.dataset.tabId === stage);
    if (wanted.some((one) => one.getAttribute("aria-selected") === "true")) return true;
    wanted[0]?.click();
    return false;
  };

  const wentTo = (place) => {
    if (me?.token) {
      followed = place;
      announce(place);
    } else if (me) {
      apart = place !== view?.place;
      followed = apart ? "" : place;
    }
    changed();
  };
  document.addEventListener("studio:beat", ({detail}) => {
    last = detail.place.split(".")[0];
    if (detail.by !== "room") wentTo(detail.place); else changed();
  });
  document.addEventListener("studio:beat-end", () => { if (!leaving) wentTo(last); else changed(); });
  // Not Gradio's own event of a tab: on a busy machine that comes seconds later, and by itself while the page loads.
  document.addEventListener("click", (event) => {
    const tab = event.isTrusted && event.target.closest?.(".stages [role=tab][data-tab-id]");
    if (tab) wentTo(tab.dataset.tabId);
  });

  // ---- What a person asks for -----------------------------------------------------------------------------------
  const enter = (code, token) => {
    me = token ? {code, token} : {code};
    view = null;
    apart = false;
    followed = token ? here() : "";
    // A link to somebody else's room does not cost a presenter their own.
    if (token || !stored()?.token) store();
    if (!token) link(code);
    listen();
    changed();
  };

  const vote = async (choice) => {
    const question = view?.question;
    if (!me || me.token || apart || !question?.open || here() !== view.place) return;
    question.mine = choice;
    changed();
    for (;;) {
      try {
        await ask("vote", {question: question.number, choice});
        return void say(`Your vote is counted: ${question.choices[choice]}.`);
      } catch (error) {
        if (error.refused) throw error;
        await pause(500); // on its way: a vote that arrives twice is counted once
        if (view?.question?.number !== question.number || view.question.mine !== choice) return;
      }
    }
  };

  const deeds = {
    async start() {
      const {code, token} = await ask("start", {place: here(), page});
      enter(code, token);
    },
    async join(typed) { enter((await ask("join", {code: typed})).code, ""); },
    async name(typed) {
      const {name} = await ask("name", {name: typed});
      say(`The leaderboard shows you as ${name}.`);
    },
    async leave() {
      await ask("leave").catch(() => {});
      over("You have left the room.");
    },
    async end() {
      await ask("end", {token: me.token});
      over("The room has ended.");
    },
    again: () => ask("again", {token: me.token}),
    unname: (member) => ask("unname", {token: me.token, member: Number(member)}),
    invite: (address) => ask("invite", {token: me.token, address}),
    vote,
    back() {
      apart = false;
      goTo(view.place);
      changed();
    },
  };
  document.addEventListener("studio:run", ({detail}) => {
    if (me && !me.token && detail.run) ask("ran", {run: detail.run}).catch((error) => say(error.message, "wrong"));
  });

  // ---- Coming and going ---------------------------------------------------------------------------------------
  let hiding = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden && me && !me.token) hiding = setTimeout(() => stream?.abort(), HIDDEN);
  });
  addEventListener("online", () => { if (me && trouble) listen(); });

  return {
    // What was asked for, or an error of one sentence; `gone` where the room is.
    async act(deed, value) {
      try { return await deeds[deed](value); } catch (error) {
        say(error.message, "wrong");
        if (error.gone && me) over(error.message);
        return null;
      }
    },
    state: () => ({
      role: !me ? "out" : me.token ? "presenter" : "member", code: me?.code ?? "", view, apart, trouble,
      question: me && view?.question && globalThis.studioBeat?.at().split(".")[0] === view.question.stage
        ? view.question : null,
    }),
    begin() {
      const before = stored(), wanted = linked();
      if (before?.code && (!wanted || wanted === before.code)) enter(before.code, before.token);
      else if (wanted) enter(wanted, "");
      else changed();
    },
  };
})();
