"""Every adapter against every fault, over real sockets; `python -m benchmarks providers` tries all of their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle
from typing import Any

import pytest

from benchmarks.providers import AT_ONCE, PAGE, expected_cells, page
from harness.config.profile import ProviderConfig
from harness.core.values import Generation, Outcome, Request
from harness.emulator import Emulator, Fault
from harness.providers import ProviderContext, open_provider
from harness.providers.freepik import MODES, FreepikProvider
from harness.providers.remote import RemoteProvider
from tests import text_rows
from tests.contract import (
    KEY,
    PROMPT,
    QUICK,
    Cell,
    Row,
    Writing,
    all_cells,
    family_cells,
    make_provider_context,
    table,
    try_cell,
)
from tests.contract_rows import ROWS
from tests.tiny import make_suite

CELLS = family_cells(ROWS)


@pytest.fixture(scope="module")
def tried(request: pytest.FixtureRequest) -> Iterator[Callable[[Row, Fault], Cell]]:
    """Tries cells, those of the selected tests ahead of them and a few at a time, since most of it is waiting.

    The table of all that were tried is printed at the end of a verbose run.
    """
    cells: dict[tuple[str, str], Cell | Future[Cell]] = {}
    selected = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = [(one["row"], one["fault"]) for one in selected if {"row", "fault"} <= set(one)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        if not hasattr(request.config, "workerinput"):  # a worker of xdist runs some of the tests, and knows not which
            cells = {(row.name, fault.name): pool.submit(try_cell, row, fault) for row, fault in wanted}

        def get(row: Row, fault: Fault) -> Cell:
            found = cells.get((row.name, fault.name))
            cell = found.result() if isinstance(found, Future) else try_cell(row, fault)
            cells[row.name, fault.name] = cell
            return cell

        yield get
        pool.shutdown(cancel_futures=True)
    if request.config.get_verbosity() > 0:
        capture: Any = request.config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print("\n\n" + table([cell for cell in cells.values() if isinstance(cell, Cell)]))


@pytest.mark.parametrize(("row", "fault"), CELLS, ids=[f"{row.name}-{fault.name}" for row, fault in CELLS])
def test_every_fault_ends_as_it_must(row: Row, fault: Fault, tried: Callable[[Row, Fault], Cell]) -> None:
    cell = tried(row, fault)

    assert not cell.complaints, cell.ending.message


def test_the_table_is_large_enough_to_mean_something() -> None:
    written = {row.name: len(row.faults()) for row in ROWS if isinstance(row, Writing)}

    assert len(CELLS) >= 450 and len(all_cells(ROWS)) >= 1_000
    assert {(row.adapter, fault.name) for row, fault in all_cells(ROWS)} == {(row.adapter, f.name) for row, f in CELLS}
    assert {row.name for row, _ in CELLS} == {row.name for row in ROWS}, "nobody is left out"
    assert written.keys() == {"deepseek writes", "openai writes", "openai sees", "gigachat writes", "gigachat sees"}
    assert sum(written.values()) == len(text_rows.ROWS) >= 150


def test_the_docs_page_is_the_one_that_the_command_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(expected_cells()), "run `python -m benchmarks.providers --write`"


# --- what no single fault shows ---------------------------------------------------------------------------------------


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(scale=1 / 8) as running:
        yield running


def aim(emulator: Emulator, adapter: str, **options: Any) -> ProviderContext:
    """A profile with one provider that really asks, at the emulator's address."""
    given = {**QUICK, "url": f"{emulator.url}/{adapter}", **options}
    return make_provider_context(adapter, ProviderConfig(adapter, given))


def draw(
    context: ProviderContext, seeds: Sequence[int] = (3,), prompt: str = PROMPT
) -> tuple[list[Request], list[Generation]]:
    (name,) = context.profile.providers
    provider, suite = open_provider(name, context), make_suite(prompt, traits={})
    requests = provider.requests(suite, suite.cases[0], seeds)
    try:
        return list(requests), list(provider.draw(requests))
    finally:
        provider.close()


SEVERAL: dict[str, dict[str, Any]] = {
    "freepik": {"mode": "classic", "per_call": 4},
    "imagen": {"per_call": 4},
    "openai": {"per_call": 10},
}


@pytest.mark.parametrize("adapter", SEVERAL)
def test_several_pictures_come_in_one_call(emulator: Emulator, adapter: str) -> None:
    _, drawings = draw(aim(emulator, adapter, **SEVERAL[adapter]), range(4))

    assert [one.outcome for one in drawings] == [Outcome.OK] * 4
    assert len({one.data for one in drawings}) == 4 and emulator.ledger[adapter].accepted == 1


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_freepik_asks_only_for_what_the_service_takes(emulator: Emulator, mode: str) -> None:
    provider = open_provider("freepik", aim(emulator, "freepik", mode=mode, concurrency=4))
    assert isinstance(provider, FreepikProvider)
    (plain,) = provider.requests(make_suite(PROMPT, traits={}), make_suite(PROMPT).cases[0], (0,))
    shapes = [
        replace(plain, seed=seed, index=index, width=128 * wide, height=128 * high)
        for index, (seed, (wide, high)) in enumerate(zip(cycle((0, 2**32 - 1, 7)), provider.shapes.values()))
    ]

    drawings = list(provider.draw(shapes))
    provider.close()

    assert {(one.outcome, one.message) for one in drawings} == {(Outcome.OK, "")}
    assert {one.meta["shape"] for one in drawings} == set(provider.shapes)


@pytest.mark.parametrize("adapter", ["freepik", "deepai", "openai", "imagen"])
def test_samples_of_a_service_without_seeds_are_different_pictures(emulator: Emulator, adapter: str) -> None:
    requests, drawings = draw(aim(emulator, adapter), (3, 4))

    assert [one.index for one in requests] == [0, 1]
    assert drawings[0].data != drawings[1].data


@pytest.mark.parametrize(
    ("adapter", "options"),
    [("gemini", {}), ("freepik", {"mode": "flux-dev"}), ("freepik", {"mode": "classic"}), ("imagen", {"project": "p"})],
)
def test_a_seed_is_one_picture(emulator: Emulator, adapter: str, options: dict[str, Any]) -> None:
    _, first = draw(aim(emulator, adapter, **options), (3, 4))
    _, second = draw(aim(emulator, adapter, **options), (4, 3))

    assert [one.data for one in first] == [one.data for one in reversed(second)]


def test_the_metadata_says_what_was_asked_and_what_was_ignored(emulator: Emulator) -> None:
    _, (drawing,) = draw(aim(emulator, "openai", price={"usd": 0.04, "as_of": "2026-11-20"}))

    assert drawing.meta["asked_size"] == "1024x1024" and drawing.meta["ignored"] == ["seed"]
    assert drawing.meta["quality"] == "medium" and drawing.cost_usd == 0.04


@pytest.mark.parametrize("adapter", ["freepik", "deepai", "gemini", "imagen", "openai"])
def test_the_key_is_in_one_header_and_nowhere_else(emulator: Emulator, adapter: str) -> None:
    requests, drawings = draw(aim(emulator, adapter))

    holders = {name for call in emulator.calls for name, value in call.headers.items() if KEY in value}
    assert holders == {open_options(emulator, adapter).header.lower()}
    assert not any("x-sample" in call.headers for call in emulator.calls)
    assert KEY not in f"{emulator.calls[0].payload} {requests} {drawings[0].meta} {emulator.calls[-1].path}"
    assert not any(KEY in str(call.headers) for call in emulator.calls if call.service == "cdn")


def open_options(emulator: Emulator, adapter: str) -> Any:
    provider = open_provider(adapter, aim(emulator, adapter))
    assert isinstance(provider, RemoteProvider)
    return provider.options


def test_after_the_last_word_nothing_more_is_asked(emulator: Emulator) -> None:
    emulator.plan("openai", ["rate_quota"])

    _, drawings = draw(aim(emulator, "openai"), range(6))

    assert {one.outcome for one in drawings} == {Outcome.QUOTA} and emulator.ledger["openai"].asked == 1


@pytest.mark.parametrize("adapter", ["gemini", "imagen", "openai"])
def test_an_empty_account_is_not_asked_twice(emulator: Emulator, adapter: str) -> None:
    emulator.plan(adapter, ["rate_quota"])

    _, (drawing,) = draw(aim(emulator, adapter))

    assert drawing.outcome is Outcome.QUOTA, drawing.message
    assert emulator.ledger[adapter].asked == 1


def test_one_failure_leaves_the_others_alone(emulator: Emulator) -> None:
    emulator.plan("gemini", ["ok", "refused", "half_picture", "ok"])

    _, drawings = draw(aim(emulator, "gemini"), range(4))

    assert [one.outcome for one in drawings] == [Outcome.OK, Outcome.REFUSED, Outcome.OK, Outcome.OK]


@pytest.mark.parametrize("prompt", ["ünïcödé 日本語 🎨", "line\r\nX-Injected: 1", 'quote " and \\ and {brace}'])
@pytest.mark.parametrize("adapter", ["freepik", "deepai", "gemini", "imagen", "openai"])
def test_any_text_is_a_prompt(emulator: Emulator, adapter: str, prompt: str) -> None:
    _, (drawing,) = draw(aim(emulator, adapter, describe=False), prompt=prompt)

    assert drawing.outcome is Outcome.OK, drawing.message
    assert "x-injected" not in emulator.calls[0].headers


def test_an_emulated_provider_needs_no_key_and_says_that_it_is_one(emulator: Emulator) -> None:
    context = aim(emulator, "openai", url="https://api.openai.com", key="NOT_SET", emulated=True)
    context = replace(context, settings=replace(context.settings, emulator=emulator.url))

    (request,), (drawing,) = draw(context)

    assert drawing.outcome is Outcome.OK and " emulated " in request.model
    assert emulator.calls[0].headers["x-sample"] == request.key
    off = replace(context, settings=replace(context.settings, emulator="off"))
    assert open_provider("openai", off).missing() == "NOT_SET" and not open_provider("openai", off).emulated


@pytest.mark.parametrize("adapter", ["freepik", "gemini", "imagen", "openai"])
def test_probes_are_answered_and_cost_nothing(emulator: Emulator, adapter: str) -> None:
    provider = open_provider(adapter, aim(emulator, adapter))
    assert isinstance(provider, RemoteProvider)
    call = provider.probe()
    assert call is not None

    assert provider.session.send(call).status == 200
    assert emulator.ledger[adapter].asked == 0
    provider.close()
