// "Copy link": the address of a tab with all that a person chose, so that whoever opens it sees the same.
{
  const LONGEST = 6000;  // characters; proxies and chat programs cut longer addresses

  const linkTo = (tab) => {
    const link = new URL(location.pathname, location.origin);
    link.searchParams.set("tab", tab);
    const run = new URLSearchParams(location.search).get("run");
    if (run) link.searchParams.set("run", run);
    for (const [key, value] of studioLesson.changed()) {
      if (key !== "run") link.searchParams.set(key, typeof value === "string" ? value : JSON.stringify(value));
    }
    if (link.href.length <= LONGEST) return {link: link.href, said: "Link copied."};
    link.searchParams.delete("messages");
    return {link: link.href, said: "Link copied, without the conversation: it is too long for an address."};
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-link]");
    if (!button) return;
    const {link, said} = linkTo(button.dataset.link), status = button.nextElementSibling;
    try {
      await navigator.clipboard.writeText(link);
      status.textContent = said;
    } catch {
      // No clipboard at an address that the browser does not take for safe: the link itself, to be copied by hand.
      const field = Object.assign(document.createElement("input"), {readOnly: true, value: link, ariaLabel: "Link"});
      status.replaceChildren(field);
      field.select();
    }
  });
}
