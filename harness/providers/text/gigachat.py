"""GigaChat: a token that ends every half hour, pictures uploaded as files, a censor that answers with status 200."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from harness.config.profile import ProviderConfig
from harness.core.errors import ProviderError
from harness.core.settings import Secret
from harness.core.values import Outcome
from harness.core.yaml import VariableName
from harness.providers import ProviderContext
from harness.providers.http_client.exchange import Call, Deadline, Reply, Unanswered
from harness.providers.http_client.limits import limiter_for
from harness.providers.http_client.session import ApiKey, Session, open_session
from harness.providers.remote import error_text, explain_status
from harness.providers.text.chat import ChatWriter, Message, Schema, WriterOptions, read_object, with_schema
from harness.providers.text.formats import EncodedPicture, prepare

EARLY = 60.0  # seconds before its end that a token is renewed
LIFE = 1800.0  # seconds that a token lives, where its end makes no sense
MILLISECONDS = 1e11  # a moment above it is in milliseconds
MAX_FILE = 15_000_000  # bytes of one upload
DELETE_WITHIN = 30.0  # seconds
SCOPE, PERSONAL = "GIGACHAT_SCOPE", "GIGACHAT_API_PERS"  # a variable, as the service's own client reads it; its default
BUNDLES = ("GIGACHAT_CA_BUNDLE", "GIGACHAT_CA_BUNDLE_FILE")
REMEDY = (
    "its certificate is signed by the Russian Trusted Root CA, which computers do not know by themselves: download it "
    "from https://www.gosuslugi.ru/crt as PEM and name the file in `ca_bundle` or in GIGACHAT_CA_BUNDLE; the check "
    "itself is never switched off"
)


class GigaChatOptions(WriterOptions):
    """Addresses and models as of November 2026. Individuals may ask one thing at a time, companies ten."""

    url: str = "https://api.giga.chat/v1"
    oauth: str = "https://ngw.devices.sberbank.ru:9443/api/v2/oauth"
    model: str = "GigaChat-2-Max"
    key: VariableName = "GIGACHAT_CREDENTIALS"  # the authorization key: base64 of client_id:client_secret
    scope: str = ""  # GIGACHAT_API_B2B or GIGACHAT_API_CORP of companies; "": as GIGACHAT_SCOPE says, or PERSONAL
    concurrency: int = Field(1, ge=1, le=64)
    temperature: float | None = Field(0.1, ge=0, le=2)
    max_tokens: int = Field(4000, ge=16)


class Token:
    """One access token for all threads, fetched when it is needed and again a minute before it ends."""

    def __init__(self, fetch: Callable[[], tuple[Secret, float]]) -> None:
        """`fetch` returns a token and the seconds that it lives."""
        self._fetch, self._lock = fetch, threading.Lock()
        self._value: Secret | None = None
        self._renew_at = 0.0

    def value(self) -> Secret:
        with self._lock:
            if self._value is None or time.monotonic() >= self._renew_at:
                self._value, life = self._fetch()
                self._renew_at = time.monotonic() + life - EARLY
            return self._value

    def drop(self, refused: Secret) -> None:
        """Forget a token that the service refused, unless another thread has renewed it already."""
        with self._lock:
            if self._value == refused:
                self._value = None


class GigaChatWriter(ChatWriter):
    """`adapter: gigachat`."""

    adapter: ClassVar[str] = "gigachat/1"
    service: ClassVar[str] = "gigachat"
    Options: ClassVar[type[WriterOptions]] = GigaChatOptions
    sees = True

    def __init__(self, name: str, config: ProviderConfig, context: ProviderContext) -> None:
        super().__init__(name, config, context)
        self.leftovers: list[str] = []  # uploads that could not be deleted
        self._door: Session | None = None  # to the service that gives tokens
        self._token = Token(self._fetch_token)

    def open(self, url: str, key: Secret | None) -> Session:
        """The session whose key is the current token; the account's own key goes to the token service alone."""
        options = self.options.model_copy(update={"ca_bundle": self._ca_bundle()})
        oauth = urlsplit(self.options.oauth)
        door = self.address(f"{oauth.scheme}://{oauth.netloc}")
        self._door = open_session(f"{self.name} token", door, options.model_copy(update={"prefix": "Basic "}), key)
        account = "" if key is None else sha256(key.reveal().encode()).hexdigest()
        return Session(
            self.name,
            url,
            options.policy,
            key=ApiKey(options.header, options.prefix, self._token.value),
            limiter=limiter_for((url, account), options.concurrency, options.per_minute),
            ca_bundle=Path(options.ca_bundle) if options.ca_bundle else None,
        )

    def close(self) -> None:
        with self._lock:
            if self._door is not None:
                self._door.close()
                self._door = None
        super().close()

    def body(self, messages: Sequence[Message], schema: Schema | None) -> dict[str, object]:
        """It takes no schema, so the instructions ask for JSON."""
        options = self.options
        if schema is not None:
            messages = [{**messages[0], "content": with_schema(str(messages[0]["content"]), schema)}, *messages[1:]]
        body: dict[str, object] = {"model": options.model, "messages": list(messages), "max_tokens": options.max_tokens}
        return body | ({"temperature": options.temperature} if options.temperature is not None else {})

    def look(self, picture: bytes, question: str, deadline: Deadline) -> str:
        """Upload, ask, and delete the upload again, however the asking ended."""
        file = self._upload(prepare(picture, MAX_FILE), deadline)
        try:
            message: Message = {"role": "user", "content": question, "attachments": [file]}
            return self.answer(self.body([message], None), deadline)
        finally:
            self._delete(file)

    def send(self, call: Call, deadline: Deadline) -> Reply:
        """One call; a token that ended before its time is renewed once. A request with a bad token costs nothing."""
        _ = self.session  # opening it opens the way to the tokens too
        try:
            used = self._token.value()
            reply = super().send(call, deadline)
            if reply.status == 401:
                self._token.drop(used)
                reply = super().send(call, deadline)
        except Unanswered as failure:
            if "certificate" in str(failure).lower():
                raise Unanswered(failure.outcome, f"{failure}; {REMEDY}", final=True) from None
            raise
        return reply

    def problem(self, reply: Reply) -> Unanswered:
        """A 404 is a model only when it says so."""
        text = error_text(reply.body)
        if reply.status == 404 and "model" not in text.lower():
            return Unanswered(Outcome.PROVIDER_ERROR, f"HTTP 404: not found; check `url` in the profile ({text})")
        return explain_status(reply)

    @property
    def scope(self) -> str:
        """What the key is good for: an option of the profile, or the environment's, or an individual's."""
        named = self.context.settings.secret(SCOPE)
        return str(self.options.scope) or (named.reveal() if named else PERSONAL)

    # --- tokens and files -----------------------------------------------------------------------------------------

    def _fetch_token(self) -> tuple[Secret, float]:
        """A new token and the seconds that it lives."""
        call = Call(
            urlsplit(self.options.oauth).path,
            data={"scope": self.scope},
            headers={"RqUID": str(uuid.uuid4()), "Accept": "application/json"},
            paid=False,
        )
        door = self._door
        assert door is not None  # `open` made it before anybody could ask
        reply = door.send(call, Deadline(self.options.deadline))
        if reply.status in (400, 401, 403):
            advice = f"no token for this key; check {self.options.key} and its scope in {SCOPE} ({self.scope})"
            text = door.redact(error_text(reply.body))
            raise Unanswered(Outcome.AUTH, f"HTTP {reply.status}: {advice} ({text})", final=True)
        if reply.status >= 300:
            raise explain_status(reply)
        return read_token(read_object(reply), time.time())

    def _upload(self, picture: EncodedPicture, deadline: Deadline) -> str:
        """The id of the uploaded file. An upload that broke off is not sent again, but looked for and deleted."""
        name = f"{uuid.uuid4().hex}{picture.suffix}"  # nobody's file name leaves the machine
        call = Call("/files", form={"purpose": "general"}, files={"file": (name, picture.data, picture.mime)})
        try:
            file = read_object(self.accept(self.send(call, deadline))).get("id")
            if not isinstance(file, str) or not file:
                raise Unanswered(Outcome.PROVIDER_ERROR, "the upload was answered without an id", billed=True)
        except Unanswered as failure:
            if failure.billed:
                self._sweep(name)
            raise
        return file

    def _sweep(self, name: str) -> None:
        """Delete an upload whose id never arrived; the service lists what it keeps."""
        try:
            reply = self.accept(self.send(Call("/files", "GET", paid=False), Deadline(DELETE_WITHIN)))
            listed = read_object(reply).get("data")
        except Unanswered:
            self.leftovers.append(name)
            return
        for entry in listed if isinstance(listed, list) else []:
            if isinstance(entry, dict) and entry.get("filename") == name:
                self._delete(str(entry.get("id")))

    def _delete(self, file: str) -> None:
        """Remove an upload; when that fails it is kept in mind, since storage fills."""
        try:
            self.accept(self.send(Call(f"/files/{file}/delete", paid=False), Deadline(DELETE_WITHIN)))
        except Unanswered:
            self.leftovers.append(file)

    def _ca_bundle(self) -> str:
        """The file of certificate authorities, from the profile or the environment."""
        settings = self.context.settings
        named = (result.reveal() for name in BUNDLES if (result := settings.secret(name)) is not None)
        chosen = str(self.options.ca_bundle) or next(named, "")
        if chosen and not (settings.root / chosen).is_file():
            raise ProviderError(f"{self.name}: there is no file {settings.root / chosen}; correct {BUNDLES[0]}")
        return str(settings.root / chosen) if chosen else ""


def read_token(answer: Mapping[str, object], now: float) -> tuple[Secret, float]:
    """A token and the seconds that it lives, from either form of the answer: milliseconds, or seconds.

    Args:
        now: seconds since 1970.

    Raises:
        Unanswered: there is no token in it.
    """
    value = answer.get("access_token") or answer.get("tok")
    if not isinstance(value, str) or not value:
        raise Unanswered(Outcome.PROVIDER_ERROR, "the token service answered without a token")
    ends = answer.get("expires_at") or answer.get("exp") or 0
    moment = float(ends) if isinstance(ends, int | float) else 0.0
    life = (moment / 1000 if moment > MILLISECONDS else moment) - now
    return Secret(value), life if 0 < life <= 2 * LIFE else LIFE  # a clock that is wrong is mended by a 401
