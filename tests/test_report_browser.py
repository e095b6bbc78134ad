"""The real page in a real browser: every control, every key, and nothing fetched, run or broken on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.report import write_report
from harness.store import Store
from tests.browsers import needs_browser, open_browser
from tests.example_run import read
from tests.reporting import HOSTILE, full_record, poisoned

pytestmark = needs_browser
SIZE = {"width": 1280, "height": 900}
FIRST, SECOND = "case-aldar-kose-smiling-steppe", "case-aldar-kose-night-staff"


class Watched:
    """A page with everything that went wrong on it."""

    def __init__(self, context: Any) -> None:
        context.set_default_timeout(10_000)
        self.page = context.new_page()
        self.asked: list[str] = []
        self.troubles: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda said: self.troubles.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.troubles.append("a dialog"), dialog.dismiss()))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def address(store: Store, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(read(full_record(store)), store, tmp_path_factory.mktemp("report")).as_uri()


@pytest.fixture(scope="module")
def watched(browser: Any, address: str) -> Iterator[Watched]:
    """One load for many checks."""
    context = browser.new_context(viewport=SIZE, reduced_motion="no-preference")
    watched = Watched(context)
    watched.page.goto(address)
    yield watched
    context.close()


@pytest.fixture
def page(watched: Watched, address: str) -> Iterator[Any]:
    """The page as it opens, without a new load; whatever a test does to it must leave no trouble behind."""
    watched.page.evaluate("history.replaceState(null, '', location.pathname); dispatchEvent(new Event('popstate'))")
    watched.page.locator("h1").evaluate("item => document.activeElement.blur()")
    yield watched.page
    assert not watched.troubles
    assert all(url.startswith(("file:", "data:")) for url in watched.asked), "nothing is fetched"


def names(page: Any) -> list[str]:
    """The cases that are shown, from above."""
    found: list[str] = page.eval_on_selector_all(
        "table.cases tbody tr:not([hidden]) th a", "links => links.map(link => link.textContent)"
    )
    return found


def hash_of(page: Any) -> dict[str, str]:
    found: dict[str, str] = page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")
    return found


# --- the list -----------------------------------------------------------------------------------------------------


def test_it_opens_with_the_verdict_and_every_case(page: Any) -> None:
    assert page.inner_text("h1").split() == ["✓", "PASS"]
    assert len(names(page)) == 4


def test_search_filters_and_is_kept_in_the_address(page: Any) -> None:
    page.keyboard.press("/")
    page.keyboard.type("starry NOBODY")

    assert names(page) == [] and page.is_visible("#nothing")
    page.fill("#search", "starry")
    assert names(page) == ["night-staff"]
    assert page.inner_text("#count") == "1 of 4"
    assert hash_of(page) == {"q": "starry"}
    page.keyboard.press("Escape")
    assert len(names(page)) == 4 and hash_of(page) == {}


def test_filters_by_verdict_provider_and_trait(page: Any) -> None:
    page.select_option("#verdict", "pass")
    assert len(names(page)) == 4, "the gate's verdict"
    page.select_option("#provider", "painter")
    assert names(page) == [], "the painter's"
    page.select_option("#verdict", "error")
    assert names(page) == ["night-staff"]
    page.click("#clear")
    assert len(names(page)) == 4
    assert page.locator("#weak").count() == 0 or page.locator("#weak option").count() > 1


def test_sorting(page: Any) -> None:
    page.select_option("#sort", "name")
    assert names(page) == sorted(names(page))
    for order, turned in (("worst", False), ("best", True)):
        page.select_option("#sort", order)
        scores = [float(text) for text in page.locator("table.cases td:nth-child(2) b").all_inner_texts()]
        assert scores == sorted(scores, reverse=turned)
    page.click("#clear")
    assert names(page)[0] == "smiling-steppe"


def test_the_matrix_shows_pictures_or_numbers(page: Any) -> None:
    page.locator("table.cases").scroll_into_view_if_needed()
    pictures = page.locator("table.cases td img")
    pictures.first.wait_for()
    first = pictures.first.get_attribute("src")
    assert first.startswith("data:image/webp")
    page.keyboard.press("]")
    assert hash_of(page) == {"seed": "1"} and pictures.first.get_attribute("src") != first
    page.keyboard.press("[")
    page.keyboard.press("g")
    assert not pictures.first.is_visible() and hash_of(page) == {"view": "numbers"}
    page.click("#view")
    assert pictures.first.is_visible()


def test_rows_are_walked_by_keys_and_opened(page: Any) -> None:
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.textContent") == "night-staff"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.textContent") == "smiling-steppe"
    page.keyboard.press("Enter")
    assert page.is_visible("#viewer") and hash_of(page)["case"] == FIRST
    page.keyboard.press("Escape")
    assert not page.is_visible("#viewer") and hash_of(page) == {}
    assert page.evaluate("document.activeElement.textContent") == "smiling-steppe", "where it was"


# --- a case -------------------------------------------------------------------------------------------------------


@pytest.fixture
def case(page: Any) -> Any:
    page.locator("table.cases th a").first.click()
    return page


def test_a_case_shows_everything_beside_everything(case: Any) -> None:
    heads = case.eval_on_selector_all("#viewer-body .name", "items => items.map(item => item.textContent)")

    assert heads == ["references", "lora", "prompt_only", "base", "painter"]
    assert case.inner_text("#viewer-title").startswith("smiling-steppe")
    words = case.inner_text("#viewer")
    for word in (
        "under test",
        "its base",
        "competitor",
        "copied from",
        "01.png",
        "facial hair: thin mustache",
        "seed 2",
    ):
        assert word in words
    assert "0.9" in case.inner_text(".strip.gate .numbers") and case.locator(".strip.gate meter").count() == 4
    assert "Left reference · 1, right lora · seed 0" in case.inner_text("#seen")


def test_the_slider_divides_the_pictures(case: Any) -> None:
    case.keyboard.press("s")
    slider = case.locator("#slider")

    slider.fill("20")
    assert case.evaluate("getComputedStyle(document.querySelector('.pane.right')).clipPath") == "inset(0px 0px 0px 20%)"
    slider.focus()
    case.keyboard.press("ArrowRight")
    assert slider.input_value() == "21", "its own keys are its own"
    assert hash_of(case)["mode"] == "slide"
    case.click(".modes [data-mode=side]")


def test_blinking_and_flipping_by_hand(case: Any) -> None:
    case.keyboard.press("b")
    right = case.locator(".pane.right")
    case.wait_for_selector("#stage.flipped")
    case.locator("#stage").click(position={"x": 30, "y": 30})
    state = right.evaluate("item => getComputedStyle(item).visibility")
    case.locator("#viewer-title").focus()
    case.keyboard.press(" ")
    assert right.evaluate("item => getComputedStyle(item).visibility") != state
    case.keyboard.press("d")
    assert right.is_visible()


def test_zoom_is_one_for_both(case: Any) -> None:
    case.keyboard.press("+")
    case.click("#zoom-in")
    assert case.inner_text("#zoom") == "2.3×"
    case.mouse.move(200, 300)
    case.mouse.down()
    case.mouse.move(260, 340)
    case.mouse.up()
    moved = case.eval_on_selector_all("#stage img", "items => items.map(item => getComputedStyle(item).transform)")
    assert moved[0] == moved[1] and not moved[0].endswith(" 0, 0)")
    case.keyboard.press("0")
    assert case.inner_text("#zoom") == "1×"


def test_pictures_are_chosen_by_key_click_and_list(case: Any) -> None:
    case.keyboard.press("4")
    assert hash_of(case)["right"] == "0@base"
    case.keyboard.press("]")
    assert hash_of(case)["right"] == "1@base"
    case.keyboard.press("Shift+Digit3")
    assert hash_of(case)["left"] == "1@prompt_only"
    case.keyboard.press("x")
    assert hash_of(case)["left"] == "1@base"
    case.locator(".strip.gate figure[data-seed='2'] .photo").click()
    assert hash_of(case)["right"] == "2@lora"
    case.select_option("#left-of", "2@reference")
    assert hash_of(case)["left"] == "2@reference"
    assert case.get_attribute("#original", "href").startswith("images/")


def test_the_next_case_keeps_what_is_compared(case: Any) -> None:
    case.keyboard.press("4")
    case.keyboard.press("j")
    assert hash_of(case)["case"] == SECOND and hash_of(case)["right"] == "0@base"
    case.keyboard.press("ArrowLeft")
    assert hash_of(case)["case"] == FIRST
    case.click("#next")
    case.click("#previous")
    assert hash_of(case)["case"] == FIRST
    case.click("#close")
    assert not case.is_visible("#viewer")


def test_the_recipe_is_copied_whole(case: Any) -> None:
    case.evaluate("document.execCommand = (name) => { window.copied = document.activeElement.value; return true; }")
    case.locator(".strip.gate .copy").click()

    words = case.evaluate("window.copied")
    assert "prompt: aldar kose, smiling" in words and "seeds: 0, 1, 2" in words
    assert f"model: {'cd' * 32}" in words and "steps: 16" in words
    assert case.locator(".strip.gate .copy").inner_text() == "copied"


def test_copying_really_works_from_a_file(browser: Any, address: str) -> None:
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    page.goto(f"{address}#{FIRST}")
    page.locator(".strip.gate .copy").click()
    assert page.locator(".strip.gate .copy").inner_text() == "copied"
    context.close()


def test_original_pictures_are_seen_where_they_lie_beside(case: Any) -> None:
    case.wait_for_selector("#right[src^='file:']")

    assert case.evaluate("document.getElementById('right').naturalWidth") > 0


def test_a_link_brings_everything_back_and_back_goes_back(browser: Any, address: str) -> None:
    context = browser.new_context(viewport=SIZE)
    watched = Watched(context)
    page = watched.page
    page.goto(f"{address}#q=staff&case={SECOND}&left=1@lora&right=1@base&mode=slide")

    assert page.inner_text("#viewer-title").startswith("night-staff")
    assert page.get_attribute("#stage", "data-mode") == "slide"
    assert page.input_value("#left-of") == "1@lora" and page.input_value("#right-of") == "1@base"
    page.keyboard.press("Escape")
    assert names(page) == ["night-staff"]
    page.locator("table.cases tr:not([hidden]) td").nth(2).click()
    assert page.is_visible("#viewer")
    page.evaluate("history.back()")
    page.wait_for_selector("#viewer", state="hidden")
    page.goto(f"{address}#recipe-aldar-kose-lora")
    assert page.locator("#recipe-aldar-kose-lora").get_attribute("open") is not None
    assert not watched.troubles
    context.close()


# --- everything else ----------------------------------------------------------------------------------------------


def test_the_key_map_is_one_key_away(page: Any) -> None:
    page.keyboard.press("?")
    assert "next, previous case" in page.inner_text("#help")
    page.click("#help-close")
    assert not page.is_visible("#help")
    page.click("#keys")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")


def test_colours_are_light_dark_or_as_the_system(page: Any) -> None:
    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    auto = ground()
    page.emulate_media(color_scheme="dark")
    dark = ground()
    assert dark != auto
    page.keyboard.press("t")
    assert ground() == auto and page.inner_text("#theme span") == "light"
    page.click("#theme")
    page.emulate_media(color_scheme="light")
    assert ground() == dark and "dark" in page.get_attribute("#theme", "aria-label")
    page.click("#theme")
    assert ground() == auto


def test_print_has_every_picture_and_no_buttons(page: Any) -> None:
    page.fill("#search", "starry")
    page.emulate_media(media="print")
    page.wait_for_selector("article.case .paper")  # the page hears of print with its next picture

    assert not page.is_visible("#search") and not page.is_visible(".top")
    assert page.locator("article.case:visible").count() == 1
    assert page.locator("article.case:visible .strip").count() == 5
    page.emulate_media(media="screen")
    assert not page.is_visible("article.case")


CLIPPED = """() => [document.documentElement, ...document.querySelectorAll('.scroll, table, .cell, .tiles')]
    .filter((item) => item.offsetParent !== null && item.scrollWidth > item.clientWidth + 1)
    .map((item) => `${item.className} ${item.getAttribute("aria-label")}`)"""


def test_paper_holds_every_column_picture_and_fold(page: Any) -> None:
    page.set_viewport_size({"width": 703, "height": 1000})  # A4 without its margins
    try:
        page.emulate_media(media="print")
        page.wait_for_selector("article.case .paper")
        assert page.evaluate(CLIPPED) == []
        assert page.locator("details:not([open]):visible").count() == 0, "what is folded is printed"
        assert page.locator("table.cases td img:visible").count() == page.locator("table.cases td img").count() > 10
        sizes = page.eval_on_selector_all(".glance .photo", "items => items.map(item => item.clientWidth)")
        assert max(sizes) - min(sizes) <= 1
        page.emulate_media(media="screen")
        page.wait_for_selector("details[data-folded]", state="detached")
        assert page.locator("#facts details[open]").count() == 0, "as it was"
    finally:
        page.emulate_media(media="screen")
        page.set_viewport_size(SIZE)


def test_a_chapter_keeps_the_filters_in_the_address(page: Any) -> None:
    page.select_option("#sort", "worst")
    page.select_option("#verdict", "pass")
    page.click("nav a[href='#measure']")
    assert hash_of(page) == {"sort": "worst", "verdict": "pass", "at": "measure"}
    page.click("nav a[href='#cases']")
    page.evaluate("history.back()")  # the driver's own step back may overtake the entry of the last click
    page.wait_for_url(re.compile("at=measure"))  # a predicate in a string is what the page's policy forbids
    assert hash_of(page)["at"] == "measure" and page.input_value("#sort") == "worst"
    page.click("#clear")


def test_a_word_and_its_number_agree(page: Any) -> None:
    said = page.eval_on_selector_all(
        "table.matrix .cell:has(b)", "cells => cells.map(c => [c.querySelector('b').textContent, c.className])"
    )
    bands = ((0.8, "excellent"), (0.6, "good"), (0.4, "fair"), (-1, "poor"))
    assert said
    for value, name in said:
        assert next(word for bound, word in bands if float(value) >= bound) in name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Any, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    try:
        for opened in ("", "case", "help"):
            if opened == "case":
                page.locator("table.cases th a").first.click()
            elif opened == "help":
                page.keyboard.press("Escape")
                page.keyboard.press("?")
            found = Axe().run(page).response["violations"]
            bad = [
                (item["id"], item["nodes"][0]["html"][:200])
                for item in found
                if item["impact"] in ("serious", "critical")
            ]
            assert not bad, (opened, bad)
        page.keyboard.press("Escape")
    finally:
        page.emulate_media(color_scheme="light", reduced_motion="no-preference")


def test_a_phone_scrolls_one_way_only(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    watched = Watched(context)
    page = watched.page
    page.goto(address)

    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("table.cases th a").first.tap()
    assert page.is_visible("#stage")
    assert page.evaluate("document.getElementById('viewer').scrollWidth") <= 390
    assert page.evaluate("getComputedStyle(document.getElementById('stage')).touchAction") == "pan-y"
    page.tap("#zoom-in")
    assert page.evaluate("getComputedStyle(document.getElementById('stage')).touchAction") == "none"
    page.tap("#close")
    assert not page.is_visible("#viewer") and not watched.troubles
    context.close()


def test_no_number_breaks_on_a_phone_and_words_keep_together(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(address)

    tall = page.eval_on_selector_all(
        "td > b, .figure b, .plain td:not(.quiet):not(.what)",
        "items => items.filter(item => item.getClientRects().length > 1).map(item => item.textContent)",
    )
    assert tall == []
    narrow = page.eval_on_selector_all("td.what", "items => Math.min(...items.map(item => item.clientWidth))")
    assert narrow > 150, "not a letter a line"
    context.close()


def test_it_reads_without_scripts(browser: Any, address: str) -> None:
    context = browser.new_context(viewport=SIZE, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}#{SECOND}")

    assert not page.is_visible(".filters") and not page.is_visible("#theme"), "no dead controls"
    assert page.is_visible(f"#{SECOND} .strip.gate") and page.is_visible(f"#{SECOND} .photo img")
    assert "seed 1" in page.inner_text(f"#{SECOND}")
    assert page.locator(f"table.cases a[href='#{SECOND}']").count() == 1
    context.close()


def test_who_asked_for_calm_is_not_blinked_at(browser: Any, address: str) -> None:
    context = browser.new_context(viewport=SIZE, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{address}#case={FIRST}&mode=blink")

    page.wait_for_timeout(800)
    assert page.locator("#stage.flipped").count() == 0
    page.locator("#viewer-title").focus()
    page.keyboard.press(" ")
    assert page.locator("#stage.flipped").count() == 1, "by hand it turns"
    context.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_does_nothing(name: str, browser: Any, store: Store, tmp_path: Path) -> None:
    path = write_report(read(poisoned(full_record(store, 0.45), HOSTILE[name])), store, tmp_path)
    context = browser.new_context(viewport=SIZE)
    watched = Watched(context)
    page = watched.page
    page.goto(path.as_uri())
    for link in page.locator("table.cases th a").all()[:2]:
        link.click()
        page.wait_for_selector("#viewer[open]")
        page.click("#close")
    page.emulate_media(media="print")

    assert page.evaluate("window.hacked") is None
    assert page.locator("[onload], [onclick], [onerror], [style*=red], a[href^=javascript]").count() == 0
    assert page.evaluate("document.scripts.length") == 1 and page.evaluate("document.styleSheets.length") == 1
    assert not watched.troubles
    context.close()
