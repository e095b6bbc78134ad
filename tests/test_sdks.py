"""The services' official clients call the emulator; those that are not installed are skipped by name.

`pip install -e ".[sdks]"` installs them, or HARNESS_SDK_PYTHON names a Python that has them.
"""

from __future__ import annotations

import pytest

from benchmarks.sdk_calls import CLIENTS, fails, stay_here
from benchmarks.sdks import try_clients

LEAST = 15  # calls of one client


@pytest.mark.parametrize("name", list(CLIENTS))
def test_a_client_is_answered_as_it_expects(name: str) -> None:
    calls = list(try_clients([name]))
    if calls[0].skipped:
        pytest.skip(f"{name} is {calls[0].skipped}")

    assert [f"{call.call}: {call.said}" for call in calls if not call.right] == []
    assert len(calls) >= LEAST


def test_a_call_that_must_fail_is_wrong_when_it_does_not() -> None:
    def broken() -> None:
        raise ValueError("size 7")

    assert fails(ValueError, broken, "size")()
    assert not fails(ValueError, broken, "another word")()
    assert not fails(ValueError, lambda: None)()
    with pytest.raises(AssertionError, match="code is None"):
        fails(ValueError, broken, code="invalid_value")()


@pytest.mark.parametrize(
    ("event", "arguments", "allowed"),
    [
        ("socket.connect", (None, ("127.0.0.1", 80)), True),
        ("socket.getaddrinfo", ("localhost", 80), True),
        ("open", ("api.openai.com",), True),
        ("socket.connect", (None, ("10.0.0.1", 80)), False),
        ("socket.getaddrinfo", ("api.openai.com", 443), False),
    ],
)
def test_no_client_looks_beyond_this_machine(event: str, arguments: tuple[object, ...], allowed: bool) -> None:
    if allowed:
        stay_here(event, arguments)
        return
    with pytest.raises(PermissionError, match="is not this machine"):
        stay_here(event, arguments)
