// The drawing of a stage, fetched when its place is seen for the first time, and kept for as long as the page is open.
globalThis.studioDrawings = (() => {
  const kept = new Map();
  let handler = null;
  const waiting = new Set();

  const fill = async (place) => {
    const stage = place.dataset.drawing;
    place.setAttribute("aria-busy", "true");
    try {
      const drawn = kept.get(stage) ?? (await studioAsk(handler, [stage]))[0];
      if (drawn.startsWith("<figure")) kept.set(stage, drawn);
      place.innerHTML = drawn;
    } catch {
      const again = document.createElement("button");
      again.type = "button";
      again.textContent = "Try again";
      again.addEventListener("click", () => fill(place), {once: true});
      place.replaceChildren("The drawing did not come: the studio does not answer. ", again);
    } finally {
      place.removeAttribute("aria-busy");
    }
  };

  const seen = new IntersectionObserver((entries) => {
    for (const {isIntersecting, target} of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      fill(target);
    }
  });

  return {
    // Called by each place when Gradio has put it into the page, which it does when its tab is opened.
    place(element) {
      const place = element.querySelector(".drawing-place");
      if (handler === null) waiting.add(place); else seen.observe(place);
    },
    // Called once, with the number of the handler that draws.
    serve(number) {
      handler = number;
      for (const place of waiting) seen.observe(place);
      waiting.clear();
    },
  };
})();
