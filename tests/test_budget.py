"""Money and calls of a run: what is promised counts, limits hold under threads, and the words say what to raise."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness.core.values import Generation, Outcome, Request
from harness.engine.plan import Task
from harness.engine.spending import estimate, estimate_text
from harness.providers.budget import Budget
from harness.providers.http_client.exchange import Unanswered

OK = Generation(Outcome.OK, b"picture", cost_usd=0.04)
BROKEN = Generation(Outcome.TIMEOUT, meta={"possibly_billed": True})
REFUSED = Generation(Outcome.REFUSED)


def test_only_pictures_that_came_are_spent_and_what_broke_off_is_possible() -> None:
    budget = Budget()

    for drawing in (OK, BROKEN, REFUSED):
        budget.settle(budget.take("studio", 0.04, 1), [drawing])

    assert (budget.spent, budget.possible, budget.calls, budget.reached) == (0.04, 0.04, 3, "")


def test_a_promise_counts_until_it_is_settled() -> None:
    budget = Budget(usd=0.05)
    taken = budget.take("studio", 0.04, 1)

    with pytest.raises(Unanswered, match="raise --budget") as refused:
        budget.take("studio", 0.04, 1)
    budget.settle(taken, [REFUSED])
    budget.take("studio", 0.04, 1)

    assert refused.value.outcome is Outcome.QUOTA
    assert budget.reached == "--budget 0.05 USD reached: 1 pictures were not asked for"


def test_under_a_budget_nothing_of_unknown_price_is_bought() -> None:
    budget = Budget(usd=10)

    with pytest.raises(Unanswered, match="price is not known"):
        budget.take("studio", None, 1)

    assert budget.calls == 0 and budget.held_back == 1


def test_calls_are_limited_whatever_they_cost() -> None:
    budget = Budget(calls=2)

    for _ in range(2):
        budget.settle(budget.take("studio", None, 3), [])

    with pytest.raises(Unanswered, match="raise --max-calls"):
        budget.take("other", 0.0, 1)
    assert budget.unpriced == 2


def test_a_call_is_reserved_at_the_price_of_all_its_pictures() -> None:
    budget = Budget(usd=0.12)

    with pytest.raises(Unanswered):
        budget.take("studio", 0.04, 4)
    budget.settle(budget.take("studio", 0.04, 3), [OK, OK, OK])

    assert budget.spent == pytest.approx(0.12) and (budget.calls, budget.held_back) == (1, 4)


@pytest.mark.parametrize(("price", "bought"), [(0.03, True), (0.0301, False)])
def test_the_last_cent_may_be_spent_and_not_one_more(price: float, bought: bool) -> None:
    """0.1 + 0.2 is a little more than 0.3 for a computer."""
    budget = Budget(usd=0.3)
    for spent in (0.1, 0.17):
        budget.settle(budget.take("studio", spent, 1), [Generation(Outcome.OK, b"", cost_usd=spent)])

    if bought:
        budget.take("studio", price, 1)
    else:
        with pytest.raises(Unanswered, match=r"budget of 0\.3 USD is spent or promised"):
            budget.take("studio", price, 1)
    assert budget.calls == 2 + bought and budget.unpriced == 0


def test_what_may_have_been_billed_counts_against_the_budget() -> None:
    budget = Budget(usd=0.1)

    budget.settle(budget.take("studio", 0.04, 2), [BROKEN, REFUSED])
    budget.settle(budget.take("studio", 0.06, 1), [BROKEN])

    assert budget.possible == pytest.approx(0.1) and budget.spent == 0.0
    with pytest.raises(Unanswered, match="spent or promised"):
        budget.take("studio", 0.01, 1)


def test_what_came_of_a_call_is_counted_picture_by_picture() -> None:
    budget = Budget()

    budget.settle(budget.take("studio", 0.04, 4), [OK, BROKEN, BROKEN, OK])
    budget.settle(budget.take("studio", None, 1), [BROKEN])
    budget.settle(budget.take("studio", 0.04, 3), [])

    assert (budget.spent, budget.possible, budget.calls, budget.unpriced) == (0.08, 0.08, 3, 1)


def test_what_is_free_is_bought_under_any_budget() -> None:
    budget = Budget(usd=0.0)

    budget.settle(budget.take("studio", 0.0, 5), [])

    assert budget.calls == 1 and budget.unpriced == 0
    with pytest.raises(Unanswered):
        budget.take("studio", 0.01, 1)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"usd": 0.0}, "--budget 0 USD reached: 7 pictures were not asked for"),
        ({"calls": 0}, "--max-calls 0 reached: 7 pictures were not asked for"),
        ({"usd": 2.5, "calls": 0}, "--budget 2.5 USD / --max-calls 0 reached: 7 pictures were not asked for"),
    ],
)
def test_what_was_held_back_is_told_with_every_limit(limits: dict[str, Any], words: str) -> None:
    budget = Budget(**limits)
    assert budget.reached == ""

    for pictures in (3, 4):
        with pytest.raises(Unanswered):
            budget.take("studio", 9.0, pictures)

    assert budget.reached == words and budget.calls == 0


def test_threads_never_pass_the_limit_together() -> None:
    budget = Budget(usd=1.0)

    def buy(_: int) -> bool:
        try:
            budget.settle(budget.take("studio", 0.1, 1), [Generation(Outcome.OK, b"", cost_usd=0.1)])
        except Unanswered:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        bought = sum(pool.map(buy, range(100)))

    assert bought == 10 and budget.spent == pytest.approx(1.0) and budget.held_back == 90


# --- the estimate -------------------------------------------------------------------------------------------------


class Seller:
    def __init__(self, name: str, price_usd: float | None, emulated: bool = False) -> None:
        self.name, self.price_usd, self.emulated = name, price_usd, emulated


def tasks(*sellers: Seller) -> list[Task]:
    return [
        Task(Request("x/1", "m", f"{seller.name} {number}", 0, 8, 8), seller, "suite")  # type: ignore[arg-type]
        for seller in sellers
        for number in range(3)
    ]


def test_an_estimate_names_each_service_and_leaves_out_what_is_free() -> None:
    shares = estimate(tasks(Seller("paid", 0.05), Seller("unknown", None), Seller("free", 0.0)))

    words = estimate_text(shares, Budget(usd=0.1))

    assert "6 pictures to buy, about $0.15" in words
    assert "paid 3 x $0.05" in words and "unknown 3 x unknown price" in words and "free" not in words
    assert "what has no price is not bought" in words and "--budget 0.1 covers a part of them" in words


def test_an_emulated_estimate_says_that_nothing_is_billed() -> None:
    assert "nothing is billed" in estimate_text(estimate(tasks(Seller("paid", 0.05, emulated=True))), Budget())
    assert estimate_text([], Budget()) == ""
