// What Gradio 6.31 leaves wrong for the keyboard and for screen readers, put right where it appears. Of each kind:
// where it is found, and what is done to it.
(() => {
  const REPAIRS = [
    // A code block can only be scrolled with a pointer.
    ['.cm-scroller[tabindex="-1"]', (element) => { element.tabIndex = 0; named(element, "Code"); }],
    // So can a wide <pre> of our own HTML; one that fits is no stop of the Tab key.
    ["pre:not([tabindex])", (element) => {
      if (element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight) {
        element.tabIndex = 0;
        named(element, "Text");
      }
    }],
    // An empty place is announced by a name that its element cannot have.
    [".empty[aria-label]:not([role])", (element) => { element.setAttribute("role", "note"); }],
  ];
  const named = (element, name) => {
    element.setAttribute("role", "region");
    if (!element.hasAttribute("aria-label")) element.setAttribute("aria-label", name);
  };
  const EVERY = 400; // milliseconds: answers change the page thirty times a second
  let due = false;
  const repair = () => {
    due = false;
    for (const [found, put] of REPAIRS) document.querySelectorAll(found).forEach(put);
  };
  const soon = () => {
    if (due) return;
    due = true;
    setTimeout(repair, EVERY);
  };
  const watch = () => {
    soon();
    // The editor sets its attribute anew when its text changes.
    new MutationObserver(soon)
      .observe(document.body, {childList: true, subtree: true, attributes: true, attributeFilter: ["tabindex"]});
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", watch);
  else watch();
})();
