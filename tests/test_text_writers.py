"""Writers over real sockets: what is sent, uploads are deleted, keys stay at home.

How each fault must end is in test_remote_contract.py.
"""

from __future__ import annotations

import io
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.config.profile import ProviderConfig, load_profile
from harness.core.errors import MissingKey, ProviderError, SuiteError
from harness.core.settings import Secret, Settings
from harness.core.values import Outcome
from harness.emulator import Emulator
from harness.models.loading import Models
from harness.providers import ProviderContext
from harness.providers.http_client.exchange import Unanswered
from harness.providers.text import open_writer
from harness.providers.text.chat import Writer, example_of, with_schema
from harness.providers.text.formats import prepare
from harness.providers.text.gigachat import LIFE, GigaChatWriter, Token, read_token
from harness.providers.text.openai import strict_schema
from harness.providers.text.story import story_schema

ROOT = Path(__file__).resolve().parent.parent
QUICK: dict[str, Any] = {
    "read": 0.3,
    "deadline": 0.8,
    "backoff": 0.01,
    "attempts": 3,
    "connect": 1.0,
    "max_bytes": 2_000_000,
}
WRITERS = ("deepseek", "gigachat", "openai")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def make_writer(name: str, address: str = "", secrets: dict[str, str] | None = None, **options: Any) -> Writer:
    """A writer of the embedded profile, emulated at `address`, or real without one."""
    from dataclasses import replace

    profile = load_profile("embedded", ROOT)
    config = {name: ProviderConfig(name, {**QUICK, "emulated": bool(address), **options})}
    environment = {key: Secret(value) for key, value in (secrets or {}).items()}
    settings = Settings(root=ROOT, emulator=address, environment=environment)
    chosen = replace(profile, writers=config)
    return open_writer(name, ProviderContext(chosen, settings, Models(chosen, settings)))


def picture(size: tuple[int, int] = (40, 30), kind: str = "PNG") -> bytes:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def asked_of(emulator: Emulator, ending: str) -> list[Any]:
    return [call for call in emulator.calls if call.path.endswith(ending)]


# --- how calls end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_a_wrong_key_is_final(name: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.providers.text.chat.EMULATED_KEY", "wrong-key")

    with pytest.raises(Unanswered) as caught:
        make_writer(name, emulator.url).write("system", "user")

    assert caught.value.outcome is Outcome.AUTH and caught.value.final


# --- what is sent ---------------------------------------------------------------------------------------------------


def test_deepseek_is_asked_for_json_by_example_and_without_thinking(emulator: Emulator) -> None:
    text = make_writer("deepseek", emulator.url).write("You write.", "The idea: a horse.", story_schema(3))

    sent = emulator.calls[0].payload
    assert len(json.loads(text)["scenes"]) == 3
    assert sent["thinking"] == {"type": "disabled"} and sent["response_format"] == {"type": "json_object"}
    assert "JSON" in sent["messages"][0]["content"] and "At the well" in sent["messages"][0]["content"]


def test_openai_is_held_to_a_strict_schema(emulator: Emulator) -> None:
    text = make_writer("openai", emulator.url).write("You write.", "The idea: a horse.", story_schema(3))

    sent = emulator.calls[0].payload
    assert len(json.loads(text)["scenes"]) == 3
    assert sent["response_format"]["json_schema"]["strict"] is True
    assert "max_completion_tokens" in sent and "max_tokens" not in sent and "temperature" not in sent


def test_a_strict_schema_keeps_properties_that_are_called_like_its_words() -> None:
    strict = strict_schema(story_schema(3))

    scene = strict["$defs"]["Scene"]
    assert "title" in scene["properties"] and set(scene["required"]) == set(scene["properties"])
    assert scene["additionalProperties"] is False and "maxLength" not in json.dumps(strict)


def test_the_example_has_the_schema_s_shape() -> None:
    schema = story_schema(3)

    example = example_of(schema, schema)

    assert list(example) == ["title", "story", "scenes"] and example["scenes"][0]["face"] == "smiling"
    assert with_schema("plain", None) == "plain"


def test_a_blank_answer_is_asked_for_again_a_few_times(emulator: Emulator) -> None:
    with pytest.raises(Unanswered, match="blank 2 times"):
        make_writer("deepseek", emulator.url, faults=["blank_always"], repeats=1).write("system", "user")

    assert len(emulator.calls) == 2


def test_a_question_that_is_asked_anew_does_not_count_as_sent_again(emulator: Emulator) -> None:
    text = make_writer("deepseek", emulator.url, faults=["blank_once"]).write("system", "user")

    assert text.strip() and len(emulator.calls) == 2
    assert emulator.ledger["deepseek"].resubmitted == 0


def test_a_writer_that_sees_nothing_says_so(emulator: Emulator) -> None:
    with pytest.raises(Unanswered, match="choose another writer"):
        make_writer("deepseek", emulator.url).see(picture(), "What is it?")


def test_a_picture_that_is_none_is_not_sent(emulator: Emulator) -> None:
    with pytest.raises(Unanswered, match="replace or remove it") as caught:
        make_writer("openai", emulator.url).see(b"not a picture", "What is it?")

    assert caught.value.outcome is Outcome.BAD_IMAGE and not emulator.calls


# --- keys and configuration -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "variable"),
    [("deepseek", "DEEPSEEK_API_KEY"), ("gigachat", "GIGACHAT_CREDENTIALS"), ("openai", "OPENAI_API_KEY")],
)
def test_without_its_key_a_writer_names_the_variable(name: str, variable: str) -> None:
    writer = make_writer(name)

    assert writer.missing() == variable
    with pytest.raises(MissingKey, match=variable):
        writer.write("system", "user")


def test_a_misspelt_writer_or_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(SuiteError, match="did you mean 'temperature'"):
        make_writer("deepseek", temprature=1)
    context = ProviderContext(load_profile("embedded", ROOT), Settings(root=ROOT), None)  # type: ignore[arg-type]
    with pytest.raises(SuiteError, match="did you mean 'deepseek'"):
        open_writer("depseek", context)


@pytest.mark.parametrize("name", WRITERS)
def test_a_profile_without_writers_has_one_of_each(name: str) -> None:
    context = ProviderContext(load_profile("embedded", ROOT), Settings(root=ROOT), None)  # type: ignore[arg-type]

    writer = open_writer(name, context)

    assert writer.name == name and writer.model


def test_a_key_in_a_service_s_words_is_not_repeated() -> None:
    secret = "sk-very-secret-key-1234567890"
    echo = json.dumps({"error": {"message": f"key {secret} is unknown"}}).encode()
    with OneAnswer(401, echo) as address:
        writer = make_writer("openai", secrets={"OPENAI_API_KEY": secret}, url=address)

        with pytest.raises(Unanswered) as caught:
            writer.write("system", "user")

    assert secret not in str(caught.value) and caught.value.outcome is Outcome.AUTH


# --- GigaChat -------------------------------------------------------------------------------------------------------


def test_the_account_s_key_goes_to_the_token_service_alone(emulator: Emulator) -> None:
    writer = make_writer("gigachat", emulator.url)

    writer.write("system", "one")
    writer.write("system", "two")

    with_key = [call.path for call in emulator.calls if call.headers["authorization"].startswith("Basic ")]
    assert with_key == ["/api/v2/oauth"]


def test_one_token_is_shared_by_all_threads(emulator: Emulator) -> None:
    writer = make_writer("gigachat", emulator.url, concurrency=4)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: writer.write("system", f"number {number}"), range(8)))

    assert len(asked_of(emulator, "/oauth")) == 1 and len(asked_of(emulator, "/completions")) == 8


def test_one_call_at_a_time_is_the_default(emulator: Emulator) -> None:
    writer = make_writer("gigachat", emulator.url, deadline=5.0)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: writer.write("system", f"number {number}"), range(8)))

    assert emulator.ledger["gigachat"].peak == 1


def test_a_token_is_renewed_a_minute_before_its_end() -> None:
    lives = iter([30.0, 1800.0])
    fetched: list[str] = []

    def fetch() -> tuple[Secret, float]:
        fetched.append("token")
        return Secret(f"token {len(fetched)}"), next(lives)

    token = Token(fetch)

    assert token.value() == Secret("token 1")
    assert token.value() == Secret("token 2")  # half a minute is less than a minute
    assert token.value() == Secret("token 2")


def test_a_token_that_another_thread_renewed_is_kept() -> None:
    token = Token(lambda: (Secret("new"), 1800.0))

    assert token.value() == Secret("new")
    token.drop(Secret("old"))

    assert token.value() == Secret("new")


@pytest.mark.parametrize(
    ("answer", "life"),
    [
        ({"access_token": "t", "expires_at": 1_800_000_900_000}, 900.0),  # milliseconds
        ({"tok": "t", "exp": 1_800_000_900}, 900.0),  # seconds
        ({"access_token": "t", "expires_at": 1_700_000_000_000}, LIFE),  # a clock is wrong: a 401 will tell
        ({"access_token": "t"}, LIFE),
    ],
)
def test_both_forms_of_a_token_s_end_are_read(answer: dict[str, Any], life: float) -> None:
    assert read_token(answer, now=1_800_000_000.0) == (Secret("t"), life)


@pytest.mark.parametrize("fault", ["ok", "refused_blacklist", "length", "blank_always", "html", "dropped", "error_500"])
def test_no_upload_is_left_behind(fault: str, emulator: Emulator) -> None:
    writer = make_writer("gigachat", emulator.url, faults=[fault])

    with suppress(Unanswered):
        writer.see(picture(), "What is to be seen?")

    assert listed_files(emulator) == []
    assert isinstance(writer, GigaChatWriter) and writer.leftovers == []


def test_an_upload_that_cannot_be_deleted_is_kept_in_mind(emulator: Emulator) -> None:
    writer = make_writer("gigachat", emulator.url, faults=["delete_fails"])

    text = writer.see(picture(), "What is to be seen?")

    assert text and isinstance(writer, GigaChatWriter) and writer.leftovers == listed_files(emulator) != []


def listed_files(emulator: Emulator) -> list[str]:
    """The ids of the uploads that the emulated service still keeps."""
    writer = make_writer("gigachat", emulator.url)
    assert isinstance(writer, GigaChatWriter)
    from harness.providers.http_client.exchange import Call, Deadline

    reply = writer.send(Call("/files", "GET", paid=False), Deadline(2.0))
    return [entry["id"] for entry in json.loads(reply.body)["data"]]


@pytest.mark.parametrize("kind", ["WEBP", "JPEG", "PNG"])
def test_formats_that_the_service_lacks_are_converted(kind: str, emulator: Emulator) -> None:
    make_writer("gigachat", emulator.url).see(picture(kind=kind), "What is to be seen?")

    sent = asked_of(emulator, "/files")[0].files["file"]
    assert sent.mime == "image/png" and sent.data.startswith(b"\x89PNG")


def test_a_large_picture_is_sent_smaller_and_without_its_metadata() -> None:
    image = Image.effect_noise((3000, 1000), 80).convert("RGB")
    exif = Image.Exif()
    exif[0x010E] = "where it was taken"
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)

    small, tiny = prepare(buffer.getvalue(), 15_000_000), prepare(buffer.getvalue(), 50_000)

    with Image.open(io.BytesIO(small.data)) as opened:
        assert max(opened.size) == 2048 and not opened.getexif()
    assert small.mime == "image/png"
    assert tiny.mime == "image/jpeg" and len(tiny.data) <= 50_000 and b"where it was" not in tiny.data


def test_a_bundle_that_is_not_there_is_named() -> None:
    secrets = {"GIGACHAT_CREDENTIALS": "key", "GIGACHAT_CA_BUNDLE": "no/such/file.pem"}

    with pytest.raises(ProviderError, match=r"no/such/file\.pem"):
        make_writer("gigachat", secrets=secrets).write("system", "user")


@pytest.mark.parametrize(
    ("named", "options", "sent"),
    [
        ({}, {}, "GIGACHAT_API_PERS"),
        ({"GIGACHAT_SCOPE": "GIGACHAT_API_CORP"}, {}, "GIGACHAT_API_CORP"),
        ({"GIGACHAT_SCOPE": "GIGACHAT_API_CORP"}, {"scope": "GIGACHAT_API_B2B"}, "GIGACHAT_API_B2B"),
    ],
)
def test_a_company_s_key_goes_out_as_one(
    named: dict[str, str], options: dict[str, str], sent: str, emulator: Emulator
) -> None:
    make_writer("gigachat", emulator.url, named, **options).write("system", "user")

    assert [call.payload["scope"] for call in asked_of(emulator, "/oauth")] == [sent]


def test_a_scope_that_there_is_not_is_told_with_its_variable(emulator: Emulator) -> None:
    with pytest.raises(Unanswered, match=r"its scope in GIGACHAT_SCOPE \(GIGACHAT_API_FIRM\)"):
        make_writer("gigachat", emulator.url, {"GIGACHAT_SCOPE": "GIGACHAT_API_FIRM"}).write("system", "user")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_an_unknown_authority_is_refused_with_the_remedy_and_a_bundle_mends_it(tmp_path: Path) -> None:
    bundle, key = make_certificate(tmp_path)
    answer = json.dumps({"code": 6, "message": "credentials doesn't match db data"}).encode()
    with OneAnswer(401, answer, (bundle, key)) as address:
        options = {"oauth": f"{address}/api/v2/oauth", "url": address}
        secrets = {"GIGACHAT_CREDENTIALS": "key"}

        with pytest.raises(Unanswered, match="Russian Trusted Root CA") as refused:
            make_writer("gigachat", secrets=secrets, **options).write("system", "user")
        with pytest.raises(Unanswered, match="no token for this key") as reached:
            make_writer("gigachat", secrets=secrets | {"GIGACHAT_CA_BUNDLE": str(bundle)}, **options).write("s", "u")

    assert "GIGACHAT_CA_BUNDLE" in str(refused.value) and refused.value.final
    assert reached.value.outcome is Outcome.AUTH


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    bundle, key = folder / "ca.pem", folder / "key.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(bundle)]
    subprocess.run(["openssl", *words.split(), *more], check=True, capture_output=True)
    return bundle, key


class OneAnswer:
    """A server that gives everybody the same answer; with a certificate over TLS. Its address."""

    def __init__(self, status: int, body: bytes, certificate: tuple[Path, Path] | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Silent."""

        class Server(HTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that does not trust us hangs up."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> str:
        self.thread.start()
        return f"{self.scheme}://127.0.0.1:{self.server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
