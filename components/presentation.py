"""The lesson on a projector: what the layer of assets/js/lesson.js is told of each place.

The layer is drawn by the browser; the page gets no component for any beat. It asks one handler, past Gradio's queue,
again and again while something is being measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from components.context import Studio
from components.errors import shows_input_errors
from components.presentation_proofs import Proofs
from components.widgets.beats import beat_html, fault_html, proof_part
from components.widgets.demonstrations import demonstration_html
from components.widgets.drawings import drawing_html
from pipelines.errors import InputError
from pipelines.experiments import experiment
from pipelines.stages import STAGES, stage
from pipelines.teaching.beats import Beat, beat_at, beats
from pipelines.teaching.places import BEATS, TITLES, Place, parse_place
from pipelines.teaching.preparing import Preparing

PLAY = '<button type="button" class="lesson-play" title="or press Space">Play the lesson</button>'


def build(studio: Studio, page: gr.Blocks) -> None:
    """The button of the masthead, and the handler behind the layer."""
    gr.HTML(PLAY, elem_classes="play")
    button = gr.Button(visible=False)
    place, how, said = (gr.Textbox(visible=False) for _ in range(3))
    seed = gr.Number(0, visible=False)
    asked = button.click(teller(studio), [place, how, seed], [said], queue=False, api_visibility="private")
    setup = {
        "ask": asked["id"],
        "present": studio.settings.present,
        "stages": [[one.key, one.title] for one in STAGES],
        "beats": [[beat, TITLES[beat]] for beat in BEATS],
    }
    page.load(None, None, None, js=f"() => {{ studioBeat.connect({json.dumps(setup)}); }}", api_visibility="private")


def teller(studio: Studio) -> Callable[..., str]:
    """The handler: what stands at a place, as JSON.

    how: "look" by somebody who stands there, or "ahead" by a page that will be there next, which starts no experiment
    seed: of the experiment
    Returns {place, title, html, part, done, says, notes, seconds, planned, seed}: `html` stands still, `part` goes into
    its `data-part` and grows until `done`; `planned` is the time to the end of this beat.
    """
    proofs = Proofs(studio.experiments)

    @shows_input_errors
    def tell(name: str, how: str = "look", seed: float = 0) -> str:
        place = parse_place(name)
        beat = beat_at(place)
        studio.preparing.ahead(place)
        claim = experiment(place.stage).claim if place.beat == "proof" else None
        part, done = _part(studio.preparing, proofs, beat, how, int(seed or 0))
        record: dict[str, Any] = {
            "place": name,
            "title": beat.title or TITLES[place.beat],
            "html": beat_html(beat, claim),
            "part": part,
            "done": done,
            "says": f"{stage(place.stage).title}. {beat.say}",
            "notes": beat.notes,
            "seconds": beat.seconds,
            "planned": planned(place),
            "seed": int(seed or 0),
        }
        return json.dumps(record, ensure_ascii=False)

    return tell


def planned(place: Place) -> float:
    """Seconds from the beginning of the lesson to the end of that place, without the experiments themselves."""
    return sum(beat.seconds for beat in list(beats().values())[: place.number + 1])


def _part(preparing: Preparing, proofs: Proofs, beat: Beat, how: str, seed: int) -> tuple[str, bool]:
    """What is measured at this place, and whether that is all of it."""
    place = beat.place
    if place.beat == "demonstration":
        shown = preparing.now(place)
        return demonstration_html(shown, beat_at(Place(place.stage, "predict")).choices), shown.done
    if place.beat == "analogy":
        drawn = preparing.drawing(place)
        return drawing_html(place.stage, drawn.figures, "lesson") if drawn.figures else "", drawn.done
    if place.beat != "proof":
        return "", True
    if how != "look":
        return "", False
    try:
        state = proofs.look(place.stage, seed)
    except InputError as error:
        return fault_html(str(error)), True
    if state.status in ("failed", "ended"):
        return fault_html(state.error or "The studio ended this experiment."), True
    return proof_part(experiment(place.stage).claim, state), state.report is not None
