"""The review in a real browser: keys, slider, a decision, and what axe says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.models.lora.registry import read_champion
from tests.browsers import needs_browser, open_browser
from tests.reviewing import Project, copy_project, make_project, serving

pytestmark = [*needs_browser, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def chromium() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(shared: Project, tmp_path: Path) -> Project:
    return copy_project(shared, tmp_path)


def serious(page: Any) -> list[str]:
    """What axe finds that keeps people out."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{item['id']}: {item['nodes'][0]['html']}" for item in found if item["impact"] in ("serious", "critical")]


def press(page: Any, key: str) -> None:
    """A key of the voting page, and the page that comes of it."""
    before = page.url
    page.keyboard.press(key)
    page.wait_for_url(lambda url: url != before and ("last=" in url or key == "u"))


def test_twenty_votes_by_key_and_an_approval(project: Project, chromium: Any) -> None:
    with serving(project) as server:
        page = chromium.new_page()
        trouble: list[str] = []
        page.on("console", lambda message: trouble.append(message.text))
        page.on("response", lambda reply: reply.status >= 400 and trouble.append(reply.url))
        page.goto(server.address)
        assert "token" not in page.url
        page.get_by_role("link", name="Vote", exact=True).click()
        page.wait_for_url("**/vote")  # loaded, keys and all
        for number in range(20):
            press(page, "120s"[number % 4])
        page.get_by_text("20 of 57 pairs judged by Aigerim").wait_for()
        press(page, "u")
        page.get_by_text("19 of 57 pairs judged by Aigerim").wait_for()

        page.get_by_role("link", name="Decide").click()
        card = page.locator(".card", has=page.get_by_role("button", name="Approve"))
        card.get_by_label("Why").fill("the hat is right; press 1 2 0 s u")
        card.get_by_role("button", name="Approve").click()
        assert "is the champion" in page.get_by_role("status").inner_text()
    votes = json.loads((project.reviews / "votes.json").read_text("utf-8"))["votes"]
    champion = read_champion(project.weights)

    assert [sum(vote["choice"] == word for vote in votes) for word in ("left", "right", "tie", "skip")] == [5] * 4
    assert sum(vote["withdrawn"] for vote in votes) == 1
    assert champion and champion.sha256 == project.challenger
    assert (project.root / "suites" / "baselines" / "aldar-kose.json").is_file()
    assert trouble == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_every_page_can_be_used_by_everybody(project: Project, chromium: Any, scheme: str, width: int) -> None:
    with serving(project) as server:
        page = chromium.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
        page.goto(server.address)
        home, html = page.url.rstrip("/"), page.content()
        new, old = re.findall(r'value="(\w+/aldar-kose)"', html)[:2]
        page.goto(f"{home}/vote")
        press(page, "1")
        for path in (
            "/",
            "/vote",
            "/people",
            "/challengers",
            "/case?suite=aldar-kose&case=night-staff",
            f"/compare?new={new}&old={old}",
        ):
            page.goto(home + path)
            assert serious(page) == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_the_slider_lays_one_picture_over_the_other(project: Project, chromium: Any) -> None:
    with serving(project) as server:
        page = chromium.new_page()
        page.goto(server.address)
        new = re.findall(r'value="(\w+/aldar-kose)"', page.content())[0]
        page.goto(f"{page.url}compare?new={new}&old={new}&old_by=base")
        duo = page.locator(".duo").first
        duo.get_by_role("button", name="slider").click()
        duo.get_by_role("slider").fill("20")
        boxes = [duo.locator(".photo").nth(number).bounding_box() for number in (0, 1)]
        clip = duo.locator(".photo").nth(1).evaluate("node => getComputedStyle(node).clipPath")

    assert boxes[0] == boxes[1] and clip == "inset(0px 0px 0px 20%)"


def test_it_works_without_javascript(project: Project, chromium: Any) -> None:
    with serving(project) as server:
        page = chromium.new_context(java_script_enabled=False).new_page()
        page.goto(server.address)
        page.get_by_role("link", name="Vote", exact=True).click()
        page.get_by_role("button", name="Left").click()
        page.get_by_text("1 of 57 pairs judged by Aigerim").wait_for()
        page.get_by_role("button", name="take back").click()
        page.get_by_role("link", name="Decide").click()
        page.locator(".card").get_by_label("Why").last.fill("the sash lost its colour")
        page.get_by_role("button", name="Refuse").click()
        page.get_by_text("was refused; the champion stays").wait_for()

    assert read_champion(project.weights).sha256 == project.champion  # type: ignore[union-attr]
