from __future__ import annotations

import pytest

from pipelines.errors import InputError
from pipelines.stages import STAGES
from pipelines.teaching.places import BEATS, PLACES, Place, parse_place


def test_eight_stages_have_five_beats_each_in_the_chapters_order() -> None:
    assert [str(place) for place in PLACES] == [f"{stage.key}.{beat}" for stage in STAGES for beat in BEATS]
    assert len(PLACES) == 40


def test_a_place_is_read_as_it_is_written() -> None:
    assert all(parse_place(str(place)) == place for place in PLACES)


def test_an_unknown_place_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"beat: 'lora\.prove' is not known\. Did you mean 'lora\.proof'\?"):
        parse_place("lora.prove")


def test_the_place_after_the_last_beat_of_a_stage_is_the_next_stage() -> None:
    assert Place("problem", "remember").next == Place("sft", "analogy")
    assert PLACES[-1].next is None
