from __future__ import annotations

import pytest

from pipelines.teaching.beats import Beat, beats
from pipelines.teaching.places import PLACES

ALL = list(beats().values())


def test_every_place_has_its_beat_in_the_order_of_the_lesson() -> None:
    assert tuple(beats()) == PLACES


@pytest.mark.parametrize("beat", ALL, ids=lambda beat: str(beat.place))
def test_a_beat_fits_a_screen_and_says_what_to_say_and_for_how_long(beat: Beat) -> None:
    assert 0 < len(beat.say) <= 160
    assert beat.notes
    assert 10 <= beat.seconds <= 120


@pytest.mark.parametrize("beat", ALL, ids=lambda beat: str(beat.place))
def test_only_predictions_have_choices_and_only_demonstrations_titles(beat: Beat) -> None:
    assert bool(beat.choices) == (beat.place.beat == "predict")
    assert len(beat.choices) in (0, 2, 3, 4)
    assert bool(beat.title) == (beat.place.beat == "demonstration")


def test_the_whole_lesson_fits_a_lecture() -> None:
    assert 30 * 60 <= sum(beat.seconds for beat in ALL) <= 45 * 60
