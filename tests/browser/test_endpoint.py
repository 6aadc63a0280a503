"""The tests of Problem and Base vs Chat once more, against a studio whose pair is answered by a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Answering, end_studio, start_studio
from tests.browser.test_base_vs_chat import (  # noqa: F401
    open_tab,
    test_a_finished_run_joins_by_itself_and_can_be_merged,
    test_an_empty_prompt_is_a_sentence_and_not_a_crash,
    test_base_and_instruct_answer_side_by_side_and_the_base_is_proven,
    test_nothing_is_wider_than_the_window,
    test_two_browsers_vote_blind_and_see_one_tally,
    test_what_a_visitor_types_stays_text,
)
from tests.browser.test_problem import (  # noqa: F401
    test_a_token_is_reached_and_pressed_by_keyboard,
    test_an_empty_prompt_says_what_is_missing,
    test_both_models_answer_and_show_what_else_they_could_have_said,
    test_crossing_model_and_format_shows_four_answers,
    test_the_script_follows_the_page_and_is_saved_by_the_browser,
    test_what_is_typed_is_shown_as_it_was_typed,
)
from tests.serving import SERVERS

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module", params=list(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Name and address of a server of the pocket pair."""
    with SERVERS[request.param](tmp_path_factory.mktemp("server")) as url:
        yield request.param, url


@pytest.fixture(scope="module")
def studio_url(server: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = start_studio(tmp_path_factory.mktemp("studio"), "--endpoint", server[1])
    yield url
    assert end_studio(process) == 0


@pytest.fixture
def answering(server: tuple[str, str]) -> Answering:
    return Answering(probabilities=server[0] != "transformers serve", weights=False)


def test_the_page_says_who_answers_and_what_it_does_not_give(
    open_page: Callable[..., Page], server: tuple[str, str]
) -> None:
    page = open_page("/?tab=sft")
    host = server[1].removeprefix("http://")
    pair = page.locator(".pair").first
    expect(pair).to_contain_text(f"answered by {host}")
    expect(pair).not_to_contain_text("loading")
    expect(page.locator("#stage-sft")).to_contain_text("gives texts and no weights")
    page.get_by_role("tab", name="Problem", exact=True).click()
    page.locator("#stage-problem").get_by_role("button", name="Prove it").click()
    expect(page.get_by_text("the endpoint that answers here gives none").first).to_be_visible()
