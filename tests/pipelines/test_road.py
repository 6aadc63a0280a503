"""The road from base to chat: figures with sources, and our own where they were measured."""

from __future__ import annotations

from pipelines.road import own_road, road


def test_every_stage_has_figures_and_a_source():
    stages = road()
    assert [stage.key for stage in stages] == ["base", "sft", "preferences"]
    for stage in stages:
        assert stage.chapter_data and stage.chapter_cost and stage.ability and stage.exact
        assert all(source.url.startswith("https://") for source in stage.sources) and stage.sources


def test_the_pairs_own_stages_come_from_what_its_recipe_noted():
    own = own_road(
        {
            "base": {"tokens": 12_400_000, "seconds": 1500.4},
            "sft": {"examples": 9000, "seconds": 61.0},
            "machine": "2 cores",
            "figures": {"base": {"cloze": 0.991}, "instruct": {"plain": 0.93, "stops": 1.0}},
        }
    )
    assert (own["base"].data, own["base"].cost) == ("12.4M tokens", "25 min on 2 cores")
    assert own["base"].ability == "99.1 % of sentences completed with the fact."
    assert (own["sft"].data, own["sft"].cost) == ("9,000 conversations", "61 s on 2 cores")
    assert "93.0 % of questions" in own["sft"].ability and "100.0 % stop by itself" in own["sft"].ability


def test_the_shipped_pair_has_a_row_of_its_own_at_every_stage():
    own = own_road()
    assert list(own) == [stage.key for stage in road()]
    assert " comparisons" in own["preferences"].data
    assert own["preferences"].ability.startswith("28 → 100 % of held-out pairs won")


def test_a_stage_of_preferences_says_what_it_won_and_what_it_kept():
    found = {"pairs": 384, "seconds": 43, "win_rate": [0.25, 0.975], "right": [0.96, 0.95]}
    own = own_road({"preferences": found})["preferences"]
    assert (own.data, own.cost) == ("384 comparisons", "43 s")
    assert "25 → 98 % of held-out pairs won" in own.ability and "96 → 95 % of held-out questions" in own.ability


def test_without_notes_there_is_no_row_of_our_own():
    assert own_road({}) == {}
