"""What other libraries keep to themselves: used in one file each, and still where that file looks for it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from harness.commands.pytest_internals import Told, drop_junit, is_named, parameter_of, rerun_report, terminal_stream
from tests.support import ROOT

HOMES: Mapping[str, set[str]] = {
    "harness/commands/pytest_internals.py": {"_initialpaths", "_file"},
    "harness/providers/http_client/urllib3_internals.py": {"_dns_host"},
    "harness/world/loop.py": {"_foreach_lerp_"},  # torch's
}
OTHERS = [f"-pno:{name}" for name in ("cacheprovider", "pytest_lora_harness", "xdist", "hypothesispytest")]
DOCUMENTED = {"_replace", "_fields", "_asdict", "_exit"}  # of named tuples, and of os


def defined(nodes: Iterable[ast.AST]) -> set[str]:
    """Every name that is given to something here."""
    return {
        str(getattr(node, "name", getattr(node, "attr", getattr(node, "id", ""))))
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.ClassDef) or isinstance(getattr(node, "ctx", None), ast.Store)
    }


def foreign_names() -> dict[str, set[str]]:
    """By file: the private attributes that it reads of others, and of `self` where nothing in the package has them."""
    nodes = {path: list(ast.walk(ast.parse(path.read_text("utf-8")))) for path in (ROOT / "harness").rglob("*.py")}
    everywhere = defined(node for each in nodes.values() for node in each)
    result: dict[str, set[str]] = {}
    for path, each in nodes.items():
        here = defined(each)
        for node in each:
            if isinstance(node, ast.Attribute) and re.match("_(?!_)", node.attr) and node.attr not in DOCUMENTED:
                known = everywhere if ast.unparse(node.value) in ("self", "cls") else here
                if node.attr not in known:
                    result.setdefault(path.relative_to(ROOT).as_posix(), set()).add(node.attr)
    return result


def test_private_names_of_libraries_are_read_in_one_file_each() -> None:
    assert foreign_names() == HOMES


# --- pytest -------------------------------------------------------------------------------------------------------


class Probe:
    """A plugin that tries what the harness uses, in a session of its own."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.results: dict[str, Any] = {}

    def attempt(self, name: str, act: Callable[[], Any]) -> None:
        try:
            self.results[name] = act()
        except Exception as error:
            self.results[name] = error

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        item = session.items[0]
        self.attempt(
            "Session._initialpaths", lambda: (is_named(session, self.file), is_named(session, self.file.parent))
        )
        self.attempt("TerminalWriter._file", lambda: hasattr(terminal_stream(session.config), "write"))
        self.attempt("Function.callspec", lambda: (parameter_of(item, "number"), parameter_of(item, "absent")))
        self.attempt("Function.callspec of others", lambda: parameter_of(session.items[1], "number"))
        self.attempt("TestReport(outcome)", lambda: rerun_report(item, "before").outcome)
        self.attempt("junitxml.pytest_unconfigure", lambda: drop_junit(session.config))


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    file = tmp_path_factory.mktemp("session") / "test_one.py"
    file.write_text(
        "import pytest\n@pytest.mark.parametrize('number', [7])\ndef test_a(number): pass\ndef test_b(): pass\n",
        encoding="utf-8",
    )
    probe = Probe(file)
    words = ["-q", *OTHERS, "--rootdir", str(file.parent), "--junitxml", str(file.with_suffix(".xml"))]
    pytest.main([str(file), *words], plugins=[probe])
    return probe


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("Session._initialpaths", (True, False)),
        ("TerminalWriter._file", True),
        ("Function.callspec", (7, None)),
        ("Function.callspec of others", None),
        ("TestReport(outcome)", "rerun"),
        ("junitxml.pytest_unconfigure", None),
    ],
)
def test_pytest_has_it(probe: Probe, name: str, result: object) -> None:
    assert probe.results[name] == result


def test_a_junit_file_that_was_given_up_is_not_written(probe: Probe) -> None:
    assert list(probe.file.parent.glob("*.xml")) == []


@pytest.mark.parametrize("markup", [True, False])
def test_a_report_asks_its_text_how_a_terminal_shows_it(markup: bool) -> None:
    class Writer:
        hasmarkup = markup
        lines: list[str] = []  # noqa: RUF012

        def line(self, text: str) -> None:
            self.lines.append(text)

    text = Told("plain", coloured="red")
    report = pytest.TestReport("id", ("file", 0, "test"), {}, "failed", text, "call")  # type: ignore[arg-type]
    report.toterminal(Writer())  # type: ignore[arg-type]

    assert Writer.lines == (["red"] if markup else ["plain"])


# --- urllib3 and requests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("home", "name"),
    [
        *(
            (HTTPConnection("localhost"), name)
            for name in ("_new_conn", "_dns_host", "is_connected", "connect", "request", "getresponse")
        ),
        *((home, "ConnectionCls") for home in (HTTPConnectionPool, HTTPSConnectionPool)),
        (PoolManager(), "pool_classes_by_scheme"),
        *((HTTPAdapter, name) for name in ("init_poolmanager", "proxy_manager_for", "cert_verify")),
        (HTTPAdapter, "build_connection_pool_key_attributes"),
        (requests.Session, "get_redirect_target"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__),
)
def test_urllib3_and_requests_have_it(home: object, name: str) -> None:
    assert hasattr(home, name)


class Asked(Exception):
    """The library asked what stands in place of its own."""


def test_urllib3_opens_its_connections_by_new_conn() -> None:
    class Connection(HTTPConnection):
        def _new_conn(self) -> Any:
            raise Asked(self._dns_host)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    manager = PoolManager(retries=False)
    manager.pool_classes_by_scheme = {"http": Pool, "https": Pool}

    with pytest.raises(Asked, match=r"^localhost$"):
        manager.request("GET", "http://localhost:9/")


@pytest.mark.parametrize("name", ["build_connection_pool_key_attributes", "cert_verify", "init_poolmanager"])
def test_requests_asks_its_adapter(name: str) -> None:
    def ask(*_: object, **__: object) -> Any:
        raise Asked(name)

    adapter = type("Adapter", (HTTPAdapter,), {name: ask})

    with pytest.raises(Asked, match=name):
        adapter().send(requests.Request("GET", "https://localhost:9/").prepare())


def test_requests_asks_its_session_where_a_redirect_leads() -> None:
    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> str | None:
            raise Asked

    response = requests.Response()
    with pytest.raises(Asked):
        next(Session().resolve_redirects(response, requests.PreparedRequest()))


# --- torch --------------------------------------------------------------------------------------------------------


def test_torch_has_it() -> None:
    import torch

    assert hasattr(torch, "_foreach_lerp_")
