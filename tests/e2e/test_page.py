"""The chat page in a real browser: what a person sees from the greeting to the answer, and after a reload."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.browser import LIGHTHOUSE, ServedPage, chromium, needs_chromium, new_tab
from tests.support.scripted_provider import Reply, ScriptedProvider, text

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium, pytest.mark.asyncio(loop_scope="module")]
CONCLUSION = (
    "The pod of Deployment harbour/lamp is OOMKilled: its memory limit is 64Mi. [E1] [E2]\n\n"
    "Raise the limit, then watch it.\n"
)


@pytest.fixture(scope="module")
def served(data_folder: Path, database_server: str) -> Iterator[ServedPage]:
    with ServedPage(data_folder) as server:
        yield server


class Script:
    """A model that answers as the test at hand wants it to."""

    def __init__(self) -> None:
        self.reply: Callable[[dict[str, Any]], Reply] = lambda _: text(CONCLUSION)

    def __call__(self, request: dict[str, Any]) -> Reply:
        return self.reply(request)


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def served_with_model(
    data_folder: Path, database_server: str, script: Script, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedPage]:
    """A server with a model, over the same workloads in another cluster."""
    beacon = tmp_path_factory.mktemp("snapshots") / "beacon"
    shutil.copytree(LIGHTHOUSE, beacon)
    for path in (beacon / "snapshot.json", beacon / "harbour.yaml"):
        path.write_text(path.read_text().replace("lighthouse", "beacon").replace("5555555555", "6666666666"))
    with ScriptedProvider(script) as provider:
        model = {"KUBECHAT_MODEL": "openai/scripted", "KUBECHAT_MODEL_URL": provider.url, "KUBECHAT_MODEL_KEY": "x"}
        with ServedPage(data_folder, snapshot=beacon, environment=model) as server:
            yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


async def test_the_greeting_names_the_cluster_and_offers_four_starters_of_which_one_is_about_what_is_wrong(
    browser: Browser,
    served: ServedPage,
) -> None:
    async with new_tab(browser, served.url) as tab:
        await tab.open()
        await tab.greeted()
        assert "snapshot lighthouse" in await tab.text("#kc-where")
        assert "no model" in await tab.text("#kc-where")
        assert "lamp" in await tab.text(".kc-state")
        starters = tab.page.locator("button.kc-starter")
        assert await starters.count() == 4
        assert "lamp" in await starters.first.inner_text()
        assert await tab.page.title() == "KubeChat"
        assert "Chainlit" not in await tab.page.locator("body").inner_text()


async def test_a_click_on_a_starter_asks_it_and_the_answer_comes_with_steps_cards_and_marks(
    browser: Browser, served: ServedPage
) -> None:
    async with new_tab(browser, served.url) as tab:
        await tab.open()
        await tab.greeted()
        await tab.page.locator("button.kc-starter").first.click()
        await tab.answered()
        steps = await tab.text(".kc-trail")
        assert [word for word in ("Scope", "Cluster read", "Checks", "Route") if word not in steps] == []
        card = tab.page.locator(".kc-card").first
        assert "Critical" in await card.inner_text()
        assert "Deployment harbour/lamp" in await card.inner_text()
        await card.get_by_text("What to do").click()
        assert "kubectl -n harbour" in await card.locator(".kc-command").first.inner_text()
        head = await tab.text(".kc-turn-head")
        assert "snapshot lighthouse" in head
        assert "evidence only" in head


async def test_a_mark_opens_its_excerpt_and_escape_closes_it(browser: Browser, served: ServedPage) -> None:
    async with new_tab(browser, served.url) as tab:
        await tab.open()
        await tab.greeted()
        await tab.ask("why is lamp restarting?")
        await tab.answered()
        mark = tab.page.locator(".kc-answer a[href='#E1']").first
        await mark.click()
        popover = tab.page.locator(".kc-popover")
        shown = await popover.inner_text()
        assert "Deployment harbour/lamp" in shown
        assert "resources.limits.memory" in shown
        assert "64Mi" in shown
        await tab.page.keyboard.press("Escape")
        await popover.wait_for(state="detached")
        assert not tab.page.url.endswith("#E1")


async def test_a_reload_brings_the_conversation_back_and_a_follow_up_keeps_its_context(
    browser: Browser, served: ServedPage
) -> None:
    async with new_tab(browser, served.url) as tab:
        await tab.open()
        await tab.greeted()
        await tab.ask("why is lamp restarting?")
        await tab.answered()
        before = await tab.text(".kc-answer")
        await tab.page.wait_for_url("**/thread/*")
        await tab.page.reload()
        await tab.answered()
        assert await tab.text(".kc-answer") == before
        await tab.ask("and its logs?")
        await tab.answered(2)
        assert "harbour/lamp" in await tab.text(".kc-trail")
        titles = await tab.page.locator("#thread-history").inner_text()
        assert "why is lamp restarting?" in titles
        assert "and its logs?" not in titles


async def test_a_conversation_can_be_renamed_and_deleted_in_the_sidebar(browser: Browser, served: ServedPage) -> None:
    async with new_tab(browser, served.url) as tab:
        await tab.open()
        await tab.greeted()
        await tab.ask("is the lamp service reachable?")
        await tab.answered()
        await tab.page.wait_for_url("**/thread/*")
        entry = tab.page.locator(f"#thread-{tab.page.url.rsplit('/', 1)[1]}")
        await entry.locator("button[aria-haspopup=menu], #thread-options").first.click()
        await tab.page.get_by_role("menuitem", name="Rename").click()
        await tab.page.locator("input#name").fill("Lamp, token=abcdef0123456789abcdef")
        await tab.page.get_by_role("button", name="Confirm").click()
        await tab.page.get_by_text("Conversation renamed").wait_for()
        await tab.page.reload()
        await tab.answered()
        title = await entry.inner_text()
        assert title.startswith("Lamp, token=")
        assert "abcdef0123456789" not in title
        await entry.locator("button[aria-haspopup=menu], #thread-options").first.click()
        await tab.page.get_by_role("menuitem", name="Delete").click()
        await tab.page.get_by_role("button", name="Confirm").click()
        await entry.wait_for(state="detached")


@pytest.mark.parametrize(("scheme", "bright"), [("dark", False), ("light", True)])
async def test_the_page_follows_the_system_in_dark_and_light(
    browser: Browser, served: ServedPage, scheme: Any, bright: bool
) -> None:
    async with new_tab(browser, served.url, color_scheme=scheme) as tab:
        await tab.open()
        await tab.greeted()
        body = await tab.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        red = int(re.findall(r"\d+", body)[0])
        assert (red > 200) is bright, body


async def test_nothing_is_loaded_from_elsewhere_and_the_console_stays_silent(
    browser: Browser, served: ServedPage
) -> None:
    async with new_tab(browser, served.url) as tab:
        await tab.open()
        await tab.greeted()
        await tab.ask("why is lamp restarting?")
        await tab.answered()
        await tab.page.locator("#readme-button").click()
        await tab.page.get_by_role("dialog").wait_for()
        assert tab.foreign == []
        assert tab.complaints == []


async def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Browser, served: ServedPage) -> None:
    async with new_tab(browser, served.url, width=390, height=800) as tab:
        await tab.open()
        await tab.greeted()
        await tab.ask("why is lamp restarting?")
        await tab.answered()
        for fold in await tab.page.locator(".kc-card .kc-fold-title").all():
            await fold.click()
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert await tab.page.evaluate(
            "[...document.querySelectorAll('.kc-turn, .kc-card, .kc-evidence')]"
            ".every(box => box.getBoundingClientRect().right <= 391)"
        )


async def test_an_empty_looking_or_endless_question_is_answered_by_one_clear_sentence(
    browser: Browser, served: ServedPage
) -> None:
    async with new_tab(browser, served.url) as tab:
        await tab.open()
        await tab.greeted()
        composer = tab.page.locator("#chat-input")
        await composer.fill("x" * 50_000)
        await composer.press("Enter")
        message = tab.page.get_by_text("question-too-long")
        await message.wait_for()
        await tab.ask("why is lamp restarting?")
        await tab.answered()


async def test_an_unknown_name_is_said_and_text_of_the_question_is_never_taken_for_html(
    browser: Browser, served: ServedPage
) -> None:
    async with new_tab(browser, served.url) as tab:
        await tab.open()
        await tab.greeted()
        await tab.ask("why is <img src=x onerror=alert(1)> lamp restarting? **bold**")
        await tab.answered()
        assert await tab.page.locator("img[src=x]").count() == 0
        assert tab.complaints == []


async def test_with_a_model_the_answer_streams_and_says_which_model_and_where_text_went(
    browser: Browser, served_with_model: ServedPage, script: Script
) -> None:
    script.reply = lambda _: text(CONCLUSION * 3, chunk_chars=20, chunk_delay_s=0.1)
    async with new_tab(browser, served_with_model.url) as tab:
        await tab.open()
        await tab.greeted()
        assert "openai/scripted" in await tab.text("#kc-where")
        await tab.ask("why is lamp restarting?")
        await tab.page.wait_for_selector(".kc-turn[data-status=running] .kc-answer")
        await tab.answered()
        assert "its memory limit is 64Mi" in await tab.text(".kc-answer")
        assert await tab.page.locator(".kc-answer a[href='#E1']").count() == 3
        assert "scripted" in await tab.text(".kc-usage")
        assert "127.0.0.1" in await tab.text(".kc-usage")


async def test_stop_ends_the_answer_and_the_conversation_goes_on(
    browser: Browser, served_with_model: ServedPage, script: Script
) -> None:
    script.reply = lambda _: text(CONCLUSION * 40, chunk_chars=20, chunk_delay_s=0.2)
    async with new_tab(browser, served_with_model.url) as tab:
        await tab.open()
        await tab.greeted()
        await tab.ask("why is lamp restarting?")
        await tab.page.wait_for_selector(".kc-turn[data-status=running] .kc-answer")
        await tab.page.locator("#stop-button").click()
        await tab.answered(status="cancelled")
        assert "cancelled" in await tab.text(".kc-error")
        script.reply = lambda _: text(CONCLUSION)
        await tab.ask("and its logs?")
        await tab.answered()


async def test_a_reload_in_mid_answer_goes_on_with_the_stream(
    browser: Browser, served_with_model: ServedPage, script: Script
) -> None:
    script.reply = lambda _: text(CONCLUSION * 6, chunk_chars=20, chunk_delay_s=0.08)
    async with new_tab(browser, served_with_model.url) as tab:
        await tab.open()
        await tab.greeted()
        await tab.ask("why is lamp restarting?")
        await tab.page.wait_for_selector(".kc-turn[data-status=running] .kc-answer")
        await tab.page.wait_for_url("**/thread/*")
        await tab.page.reload()
        await tab.page.wait_for_selector(".kc-turn[data-status=running] .kc-answer")
        await tab.answered()
        assert (await tab.text(".kc-answer")).count("Raise the limit") == 6
        assert await tab.page.locator(".kc-turn").count() == 1


async def test_a_conversation_about_another_cluster_asks_before_it_goes_on(
    browser: Browser, served: ServedPage, served_with_model: ServedPage, script: Script
) -> None:
    script.reply = lambda _: text(CONCLUSION)
    async with new_tab(browser, served.url) as tab:
        await tab.open()
        await tab.greeted()
        await tab.ask("why is lamp restarting?")
        await tab.answered()
        await tab.page.wait_for_url("**/thread/*")
        thread = tab.page.url.removeprefix(served.url)
    async with new_tab(browser, served_with_model.url) as tab:
        await tab.open(thread)
        await tab.answered()
        await tab.ask("and now?")
        await tab.page.get_by_text("Where shall this question go?").wait_for()
        assert await tab.page.locator(".kc-turn").count() == 1
        await tab.page.get_by_role("button", name="Ask it in a new conversation").click()
        await tab.page.wait_for_url(lambda url: "/thread/" in url and not url.endswith(thread))
        await tab.answered()
        assert await tab.page.locator(".kc-turn").count() == 1
        await tab.open(thread)
        await tab.answered()
        await tab.ask("and now?")
        await tab.page.get_by_role("button", name="Continue here").click()
        await tab.answered(2)
        assert "snapshot beacon" in await tab.text(".kc-turn-head")
