// Speaker notes: a window of their own, so that the projector never shows them. lesson.js makes them, and says what
// stands where: `now()` gives {step, next, shown, autoplay, began, dueSince}, `next` in words.
globalThis.studioNotes = ({layer, now, act, key}) => {
  const NAME = "fine-tuning-studio-notes", KEPT = `${NAME}.open`;
  let own = null; // the window

  const panel = () => layer().querySelector(".lesson-notes");

  const open = () => {
    if (own && !own.closed) own.focus();
    else if (!attach()) {
      const place = panel() ?? layer().appendChild(
        Object.assign(document.createElement("aside"), {className: "lesson-notes", hidden: true}));
      place.hidden = !place.hidden;
      fill(place, "This browser allows no second window, so the notes stand here, for everybody to see.");
    }
  };

  // A window that an earlier load of this page has opened is found again by its name.
  const attach = () => {
    own = globalThis.open("", NAME, "popup,width=620,height=760");
    if (!own) return false;
    const page = own.document;
    page.open(); // with it go the listeners of that earlier load
    page.write('<!doctype html><html lang="en"><title>Speaker notes</title><body></body></html>');
    page.close();
    page.head.append(...[...document.querySelectorAll("style")].map((sheet) => sheet.cloneNode(true)));
    page.body.className = document.body.classList.contains("dark") ? "dark lesson-notes" : "lesson-notes";
    page.addEventListener("keydown", key);
    page.addEventListener("click", (event) => act(event.target.closest("button")?.dataset.act));
    try { sessionStorage.setItem(KEPT, "open"); } catch { /* then a reload does not find it again */ }
    tell();
    return true;
  };

  const fill = (place, warning = "") => {
    const page = place.ownerDocument, {step, next, shown, autoplay} = now();
    const put = (tag, name, text) => Object.assign(page.createElement(tag), {className: name, textContent: text});
    const list = put("div", "notes-list", "");
    for (const line of shown?.notes ?? []) list.append(put("p", "", line));
    const buttons = put("div", "lesson-buttons", "");
    for (const [name, text] of [["back", "← Back"], ["next", "Next →"], ["autoplay", autoplay ? "Pause" : "Autoplay"]]) {
      const one = put("button", "", text);
      one.type = "button";
      one.dataset.act = name;
      buttons.append(one);
    }
    place.replaceChildren(
      ...(warning ? [put("p", "notes-warning", warning)] : []), put("h1", "", step || "The lesson has ended"),
      put("p", "notes-say", shown?.title ?? ""), put("p", "notes-timer", timer()), list,
      put("p", "notes-next", `Next: ${next || "the end"}`), buttons);
  };

  const timer = () => {
    const {shown, began, dueSince} = now();
    const spell = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
    const here = dueSince ? (performance.now() - dueSince) / 1000 : 0;
    const whole = began ? (Date.now() - began) / 1000 : 0;
    return `This beat ${spell(here)} of ${spell(shown?.seconds ?? 0)} planned · lesson ${spell(whole)}`
      + ` of ${spell(shown?.planned ?? 0)} planned to here`;
  };

  const tell = () => {
    if (own && !own.closed) fill(own.document.body);
    const place = layer() && panel();
    if (place && !place.hidden) fill(place, place.querySelector(".notes-warning")?.textContent);
  };

  setInterval(() => {
    for (const page of [document, own && !own.closed ? own.document : null]) {
      const line = page?.querySelector(".lesson-notes .notes-timer");
      if (line) line.textContent = timer();
    }
  }, 1000);

  // Whether this browser's window of notes was open before the page was read anew.
  const wereOpen = () => {
    try { return sessionStorage.getItem(KEPT) === "open"; } catch { return false; }
  };
  return {open, attach, tell, wereOpen};
};
