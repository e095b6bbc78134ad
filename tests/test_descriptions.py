"""Descriptions of services in YAML: what is refused with which words, and how templates are filled."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.config.profile import ProviderConfig
from harness.core.errors import SuiteError
from harness.core.values import Provider
from harness.providers import open_provider
from harness.providers.description import (
    SizeEntry,
    fill,
    fill_headers,
    fill_path,
    fit_size,
    look_up,
    merge,
    read_service,
    read_workflow,
    write_schema,
)
from harness.providers.http_client.exchange import Unanswered
from tests.tiny import make_context

ROOT = Path(__file__).resolve().parent.parent
SERVICES = sorted((ROOT / "suites" / "services").glob("*.yaml"))
PLAIN = """\
version: 1
service: mine
url: https://mine.example
request:
  path: /draw
  body: {text: "{prompt}", seed: "{seed}"}
picture: {at: picture, kind: base64}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def open_http(root: Path, **options: Any) -> Provider:
    return open_provider("it", make_context(root, providers={"it": ProviderConfig("http", options)}))


@pytest.mark.parametrize("path", SERVICES, ids=[path.stem for path in SERVICES])
def test_every_ready_description_is_right_and_names_itself(path: Path) -> None:
    document = read_service(path)

    assert document.data["service"] == path.stem
    assert path.stem == "studio" or (document.data["source"] and document.data["checked"] and document.data["url"])
    assert path.read_text("utf-8").startswith("# yaml-language-server: $schema=../schema/service.json\n")


def test_the_schema_for_editors_is_current(tmp_path: Path) -> None:
    write_schema(tmp_path)

    kept = json.loads((ROOT / "suites" / "schema" / "service.json").read_text("utf-8"))
    assert kept == json.loads((tmp_path / "service.json").read_text("utf-8")), (
        'python -c "from pathlib import Path; from harness.providers.description import *; '
        "write_schema(Path('suites/schema'))\""
    )


def test_the_example_of_the_docs_is_right(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "providers" / "http.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(# yaml-language-server.*?)```", page, re.DOTALL)

    assert read_service(write(tmp_path, example)).data["service"] == "mine"
    for path in SERVICES:
        assert f"| `{path.stem}` |" in page, "every ready service is in the table"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  path: /draw", "  pth: /draw", r"mine.yaml:5: request.pth: unknown key; did you mean 'path'"),
        ("picture, kind", "'picture[', kind", r"mine.yaml:7: picture.at: is no JMESPath expression"),
        ("kind: base64", "kind: basic64", r"did you mean 'base64'"),
        ("{prompt}", "{promt}", r"request.body: no value for \{promt\}; did you mean 'prompt'"),
        ("text:", "shape: '{aspect_ratio}', text:", r"size: needs `aspect_ratios`"),
        ("text:", "graph: '{workflow}', text:", r"workflow: is missing"),
        ("  path: /draw", "  path: /draw\n  headers: {X-A b: c}", r"request.headers: 'X-A b'"),
        ("picture:", "origins: [mine.example]\npicture:", r"origins: 'mine.example' is no origin"),
        ("picture:", "task: {id: id}\npicture:", r"`task` and `poll` go together"),
        ("picture:", "refused: [{message: why}]\npicture:", r"refused\[0\]: needs `when`"),
        ("picture:", "per_call: 4\nn: 4\npicture:", r"per_call: a service with seeds"),
        ("  path: /draw", "  path: /draw\n  encoding: multipart\n  body: {a: {b: 1}}", r"stands here twice"),
        ('{text: "{prompt}"', "{nest: {a: 1}", r"^$"),
    ],
)
def test_mistakes_are_answered_with_file_line_and_remedy(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write(tmp_path, PLAIN.replace(old, new))

    if message == "^$":
        read_service(path)
        return
    with pytest.raises(SuiteError, match=message):
        read_service(path)


def test_what_a_profile_adds_is_checked_at_the_profiles_line(tmp_path: Path) -> None:
    profile = tmp_path / "tiny.yaml"
    profile.write_text("providers:\n  it:\n    adapter: http\n    service: studio\n    requst: {path: /}\n", "utf-8")

    with pytest.raises(SuiteError, match=r"tiny.yaml:5: provider 'it': requst: unknown key; did you mean 'request'"):
        open_http(tmp_path, service="studio", requst={"path": "/"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs `service: NAME`"),
        ({"service": "replicat"}, "no service called 'replicat'; did you mean 'replicate'"),
        ({"service": "studio"}, "needs `url`"),
        (
            {"url": "https://a.example", "request": {"path": "/"}, "picture": {"at": "a"}, "emulated": True},
            "has no emulator",
        ),
        ({"service": "a1111", "values": {"stepz": 3}, "body": {"steps": "{stpes}"}}, r"did you mean 'steps'"),
        ({"service": "a1111", "fingerprint": ["lora.safetensors"]}, "there is no file"),
        ({"service": "comfyui", "workflow": "mine.json"}, "there is no file mine.json"),
    ],
)
def test_wrong_profiles_are_answered_while_collecting(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        open_http(tmp_path, **options)


def test_a_projects_own_description_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    folder = tmp_path / "suites" / "services"
    folder.mkdir(parents=True)
    write(folder, PLAIN)

    for service in ("mine", "suites/services/mine.yaml"):
        assert open_http(tmp_path, service=service).options.url == "https://mine.example"  # type: ignore[attr-defined]


def test_a_workflow_of_the_editor_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text('{"nodes": [], "links": []}')

    with pytest.raises(SuiteError, match="not in the API format"):
        read_workflow("graph.json", [tmp_path])


# --- templates ------------------------------------------------------------------------------------------------------


def test_a_lone_placeholder_keeps_its_type_and_an_empty_one_its_key_away() -> None:
    values = {"seed": 7, "prompt": "a {b}", "negative": "", "steps": None, "list": [1]}
    template = {
        "a": "{seed}",
        "b": "{prompt}, {seed}",
        "c": "{negative}",
        "d": ["{list}", "{steps}"],
        "e": {"f": "{steps}"},
    }

    assert fill(template, values) == {"a": 7, "b": "a {b}, 7", "d": [[1]], "e": {}}
    assert fill({"c": "{negative}", "d": "{{seed}} {x|y}"}, values, drop=False) == {"c": "", "d": "{seed} {x|y}"}


def test_values_are_quoted_in_addresses_and_may_not_climb() -> None:
    values = {"model": "black-forest/flux:1", "task": "a b/c?d", "prompt": "x&y=z #1"}

    assert (
        fill_path("/v1/{model}/{task}?q={prompt}", values) == "/v1/black-forest/flux:1/a%20b%2Fc%3Fd?q=x%26y%3Dz%20%231"
    )
    for model in ("../admin", "a//b", "", "."):
        with pytest.raises(Unanswered, match="cannot stand in an address"):
            fill_path("/v1/{model}", {"model": model})


@pytest.mark.parametrize("prompt", ["a\r\nX-Evil: 1", "a\nb", "ü", "a\x00"])
def test_no_prompt_gets_out_of_its_header(prompt: str) -> None:
    with pytest.raises(Unanswered, match="plain text on one line"):
        fill_headers({"X-Prompt": "{prompt}"}, {"prompt": prompt})


def test_the_profile_is_laid_over_the_description_key_by_key() -> None:
    assert merge({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"c": None}, "d": [2]}) == {
        "a": {"b": 1, "c": None},
        "d": [2],
    }


@pytest.mark.parametrize(
    ("asked", "size", "got"),
    [
        ((96, 96), SizeEntry(smallest=256, largest=1440, multiple_of=32), (256, 256)),
        ((1024, 2048), SizeEntry(largest=1024, multiple_of=8), (512, 1024)),
        ((1000, 500), SizeEntry(smallest=16, multiple_of=16), (992, 496)),
        ((30, 30), SizeEntry(), (30, 30)),
    ],
)
def test_sizes_become_the_nearest_that_a_service_takes(
    asked: tuple[int, int], size: SizeEntry, got: tuple[int, int]
) -> None:
    found = fit_size(*asked, size)

    assert (found["width"], found["height"]) == got
    assert fit_size(1000, 510, SizeEntry(aspect_ratios=("1:1", "16:9", "9:16")))["aspect_ratio"] == "16:9"


def test_expressions_read_json_in_text_and_pieces_of_prose() -> None:
    answer = {"info": '{"seed": 5}', "logs": "Using seed: 42\n", "error": None}

    assert look_up("from_json(info).seed", answer) == 5
    assert look_up(r"capture(logs, 'seed: (\d+)')", answer) == "42"
    assert look_up("contains(error, 'NSFW')", answer) is None, "an expression that does not fit is no answer"
    assert look_up("from_json(logs)", answer) is None
