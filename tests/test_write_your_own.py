"""Providers of other people: the examples of docs/providers/write-your-own.md, taken from the page and run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.config.profile import ProviderConfig
from harness.core.errors import SuiteError
from harness.core.pictures import check_picture
from harness.core.settings import Secret
from harness.core.values import Generation, Outcome, Provider
from harness.emulator import Emulator
from harness.providers import open_provider
from tests.tiny import make_context, make_suite

PAGE = Path(__file__).resolve().parent.parent / "docs" / "providers" / "write-your-own.md"
FILE = re.compile(r"^```\w+\n# ([\w/.-]+\.(?:py|yaml))\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUICK = {"backoff": 0.01, "key": "MUSEUM_KEY"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project that holds the files of the page."""
    for name, text in FILE.findall(PAGE.read_text("utf-8")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_providers", "broken", "careless")]:
        del sys.modules[name]


def open_one(root: Path, adapter: str, **options: Any) -> Provider:
    config = ProviderConfig(adapter, options)
    context = make_context(root, providers={"it": config}, size=(96, 96), secrets={"MUSEUM_KEY": Secret("planted-1")})
    return open_provider("it", context)


def draw(provider: Provider, prompt: str = "a person, smiling", seeds: tuple[int, ...] = (1, 2)) -> list[Generation]:
    suite = make_suite(prompt, traits={})
    requests = provider.requests(suite, suite.cases[0], seeds)
    drawings = list(provider.draw(requests))
    provider.close()
    for drawing, request in zip(drawings, requests, strict=True):
        assert drawing.outcome is not Outcome.OK or check_picture(drawing.data, request).png
    return drawings


def test_the_page_has_all_its_examples(project: Path) -> None:
    names = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}

    assert names == {"services/museum.yaml", "draw.py", "my_providers/museum.py", "my_providers/tiles.py"}


@pytest.mark.parametrize(
    ("adapter", "options"),
    [
        ("http", {"service": "services/museum.yaml"}),
        ("my_providers.museum:MuseumProvider", {"varnish": 0.3}),
    ],
)
def test_the_museums_service_is_asked(project: Path, adapter: str, options: dict[str, Any]) -> None:
    with Emulator({"studio": ["ok", "refused", "auth"]}) as emulator:
        provider = open_one(project, adapter, url=f"{emulator.url}/studio", concurrency=1, **QUICK, **options)
        outcomes = [one.outcome for one in draw(provider, seeds=(1, 2, 3, 4))]

        assert outcomes == [Outcome.OK, Outcome.REFUSED, Outcome.AUTH, Outcome.AUTH]
        assert len(emulator.calls) == 3, "a rejected key is not tried again"
        assert emulator.calls[0].headers["x-api-key"] == "planted-1"


def test_a_class_of_ones_own_is_emulated_too(project: Path) -> None:
    drawings = draw(open_one(project, "my_providers.museum:MuseumProvider", emulated=True))

    assert {one.outcome for one in drawings} == {Outcome.OK} and drawings[0].data != drawings[1].data


def test_its_options_are_as_strict_as_ours(project: Path) -> None:
    with pytest.raises(SuiteError, match="did you mean 'varnish'"):
        open_one(project, "my_providers.museum:MuseumProvider", varnsh=1)


def test_the_pages_program_draws(project: Path) -> None:
    drawings = draw(open_one(project, "command", command=["python", "draw.py"], fingerprint=["draw.py"]))

    assert {one.outcome for one in drawings} == {Outcome.OK}, drawings[0].message


def test_the_pages_tiles_are_drawn(project: Path) -> None:
    provider = open_one(project, "my_providers.tiles:TilesProvider", rows=3)

    assert [one.outcome for one in draw(provider)] == [Outcome.OK] * 2
    assert draw(provider, "a tablecloth")[0].outcome is Outcome.REFUSED


def test_an_installed_package_brings_its_adapter(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = project / "tiles-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiles\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[lora_harness.providers]\ntiles = my_providers.tiles:TilesProvider\n")
    monkeypatch.syspath_prepend(project)

    assert [one.outcome for one in draw(open_one(project, "tiles"))] == [Outcome.OK] * 2
    with pytest.raises(SuiteError, match="no adapter called 'tilse'; did you mean 'tiles'"):
        open_one(project, "tilse")


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("no_such_module:Thing", "must be importable from"),
        ("my_providers.tiles:TileProvider", "must be importable from"),
        ("broken:Thing", "1/0|division by zero"),
        ("broken.more:nothing", "makes no provider: it lacks close, draw"),
        ("broken.more:number", "is no class or function"),
    ],
)
def test_what_cannot_be_used_is_answered_while_collecting(project: Path, adapter: str, message: str) -> None:
    folder = project / "broken"
    folder.mkdir()
    more = "number = 1\ndef nothing(name, config, context):\n    return object()\n"
    (folder / "__init__.py").write_text("Thing = 1 / 0" if adapter == "broken:Thing" else "")
    (folder / "more.py").write_text(more)

    with pytest.raises(SuiteError, match=message):
        open_one(project, adapter)


CARELESS = '''
from harness.providers.http_client.exchange import Call
from harness.providers.remote import ParsedReply, Picture, RemoteProvider, read_base64, read_json


class Careless(RemoteProvider):
    """Trusts that every second reply is what it wants."""

    adapter, service = "careless/1", "studio"

    def ask(self, request, count):
        body = {"prompt": request.prompt, "seed": request.seed, "width": 96, "height": 96}
        return Call("/v1/images", json=body, headers={"X-Api-Key": "test-key"})

    def read(self, reply):
        images = read_json(reply)["pictures" if self.context.budget.calls == 1 else "images"]
        return ParsedReply((Picture(read_base64(images[0])),))
'''


def test_an_adapter_that_breaks_on_one_reply_costs_no_other_picture(project: Path) -> None:
    (project / "careless.py").write_text(CARELESS, "utf-8")
    with Emulator() as emulator:
        provider = open_one(project, "careless:Careless", url=f"{emulator.url}/studio", key="", concurrency=1)

        broken, *good = draw(provider, seeds=(1, 2, 3))

    assert broken.outcome is Outcome.PROVIDER_ERROR and "was not understood (KeyError('pictures'))" in broken.message
    assert broken.meta["possibly_billed"] and [one.outcome for one in good] == [Outcome.OK, Outcome.OK]
