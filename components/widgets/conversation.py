"""A conversation that a person edits: one row per message, with its role, its text and a way to remove it."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

ROLES = ("system", "user", "assistant", "tool")

# Text reaches the page through `.value` and `.textContent` only, so nothing typed becomes markup. `paint`
# leaves the rows alone for a change that came from them, or the caret would jump while somebody types.
_SCRIPT = """
const rows = element.querySelector(".turns");
const roles = %s;
let own = null;
const read = () => [...rows.children].map((row) => ({
  ...JSON.parse(row.dataset.extra || "{}"),
  role: row.querySelector("select").value, content: row.querySelector("textarea").value}));
const tell = () => {
  own = JSON.stringify(read());
  props.value = read();
  trigger("input");
  trigger("change");
};
// All at once: reading a height after writing another makes the browser lay the page out again for each.
const fit = (areas) => {
  for (const area of areas) area.style.height = "auto";
  const heights = areas.map((area) => Math.max(area.scrollHeight, 38));
  areas.forEach((area, at) => { area.style.height = heights[at] + "px"; });
};
const fitAll = () => fit([...rows.querySelectorAll("textarea")]);
const make = (message) => {
  const {role, content, ...extra} = message;
  const row = document.createElement("div");
  row.className = "turn role-" + role;
  row.dataset.extra = JSON.stringify(extra);
  const pick = document.createElement("select");
  pick.setAttribute("aria-label", "Role");
  for (const name of new Set([...roles, role])) {
    const option = document.createElement("option");
    option.value = option.textContent = name;
    pick.append(option);
  }
  pick.value = role;
  pick.addEventListener("change", () => { row.className = "turn role-" + pick.value; tell(); });
  const area = document.createElement("textarea");
  area.rows = 1;
  area.value = content ?? "";
  area.setAttribute("aria-label", "Message");
  let waiting;
  area.addEventListener("input", () => {
    fit([area]);
    clearTimeout(waiting);
    waiting = setTimeout(tell, 250);
  });
  area.addEventListener("blur", () => { if (own !== JSON.stringify(read())) tell(); });
  const remove = document.createElement("button");
  remove.type = "button";
  remove.textContent = "×";
  remove.setAttribute("aria-label", "Remove this message");
  remove.addEventListener("click", () => {
    const next = row.nextElementSibling || row.previousElementSibling;
    row.remove(); tell(); next?.querySelector("textarea").focus();
  });
  row.append(pick, area, remove);
  return row;
};
const paint = () => {
  const value = Array.isArray(props.value) ? props.value : [];
  if (own === JSON.stringify(value)) return;
  own = JSON.stringify(value);
  rows.replaceChildren(...value.map(make));
  fitAll();
};
element.querySelector(".turn-add").addEventListener("click", () => {
  const last = rows.lastElementChild?.querySelector("select").value;
  rows.append(make({role: last === "user" ? "assistant" : "user", content: ""}));
  tell();
  rows.lastElementChild.querySelector("textarea").focus();
});
// Its height changes by the fitting itself; only another width asks for it.
let width = 0;
new ResizeObserver(() => {
  if (element.clientWidth === width) return;
  width = element.clientWidth;
  fitAll();
}).observe(element);
paint();
watch("value", paint);
"""

# Gradio's own label of an HTML component lies over its content.
_TEMPLATE = """
<p class="field-label">%s</p>
<div class="turns"></div>
<button type="button" class="turn-add">Add message</button>
"""


def conversation_editor(
    value: list[dict[str, Any]], label: str = "Conversation", elem_id: str | None = None
) -> gr.HTML:
    """A component whose value is a list of `{"role", "content"}`; hear it with `.change` or `.input`.

    Handlers receive that list; keys of a message that the editor does not show are kept.
    """
    return gr.HTML(
        value,  # type: ignore[arg-type]
        label=label,
        html_template=_TEMPLATE % escape(label),
        js_on_load=_SCRIPT % list(ROLES),
        elem_classes="conversation-editor",
        elem_id=elem_id,
    )
