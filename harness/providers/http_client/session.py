"""The one way out to a service: retries that never pay twice, limits, deadlines, caps, a key that goes nowhere else.

A paid request is sent again only when it was provably not accepted: no connection was made, or the service answered 429
or 503. Whatever hung or broke midway ends here, possibly billed.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import unquote

import requests

from harness.core.errors import ProviderError
from harness.core.settings import Secret
from harness.core.values import Outcome
from harness.providers.http_client.attempt import Attempt, Connector, Resolver, connect, resolve
from harness.providers.http_client.download import Downloader
from harness.providers.http_client.exchange import Call, Deadline, Policy, Reply, Unanswered
from harness.providers.http_client.limits import CallSlot, Limiter, limiter_for
from harness.providers.http_client.options import RemoteOptions
from harness.providers.http_client.redact import Redactor, quiet_logs
from harness.providers.http_client.transport import (
    Clients,
    Lost,
    Origin,
    RequestStage,
    exchange,
    load_context,
    parse_origin,
    usual_context,
)
from harness.providers.http_client.waits import asked_wait, backoff, forbids_retry

NOT_ACCEPTED = frozenset({429, 503})  # the service says so itself
HARMLESS = NOT_ACCEPTED | {408, 425, 500, 502, 504}  # worth another try where nothing is paid for
HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", "User-Agent": "lora-harness"}
OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "cookie", "proxy-authorization"})
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
FIELD = re.compile(r"[^\x00-\x1f\x7f\"]+")


@dataclass(frozen=True)
class ApiKey:
    """What proves who asks: `header: prefix + value()`; `value` is called for each request, since tokens change."""

    header: str
    prefix: str
    value: Callable[[], Secret]


class Session:
    """HTTP to one service; threads may share it."""

    def __init__(
        self,
        name: str,
        origin: str,
        policy: Policy,
        *,
        key: ApiKey | None = None,
        limiter: Limiter | None = None,
        ca_bundle: Path | None = None,
        origins: Sequence[str] = (),
        resolver: Resolver = resolve,
        connector: Connector = connect,
    ) -> None:
        """
        Args:
            origin: the service's address, with the path before its routes.
            ca_bundle: authorities to trust beside the usual ones, for this origin alone.
            origins: further addresses that the service sends us to for polls, `https://*.HOST` for a whole family.
                The key goes there too.
            resolver, connector: where connections really go.

        Raises:
            ProviderError: an address that is none, a key without encryption, an unusable `ca_bundle`.
        """
        self.name, self.origin, self.policy, self.limiter = name, origin.rstrip("/"), policy, limiter
        self._home = self._parse(origin, key)
        self._allowed = (self._home, *(self._parse(other, key) for other in origins))
        if key is not None and not NAME.fullmatch(key.header):
            raise ProviderError(f"{name}: {key.header!r} cannot be the name of a header; correct `header`")
        self._key, self._redactor = key, Redactor()
        self._resolver, self._connector = resolver, connector
        own_context = load_context(ca_bundle) if ca_bundle is not None else None
        context = usual_context if own_context is None else lambda: own_context
        self._clients = Clients(context, proxies=not self._home.loopback)
        self._downloader = Downloader(self._home, policy, Clients(context), resolver, connector, self.redact)

    def send(self, call: Call, deadline: Deadline | None = None) -> Reply:
        """Send one call, again where that is harmless, within the limits and the deadline.

        Args:
            deadline: of everything about this picture; the policy's, counted from now, when there is none.

        Raises:
            Unanswered: no whole reply. An HTTP error, also the last of several, is a reply.
        """
        deadline = deadline or Deadline(self.policy.deadline)
        prepared = self._prepare(call)
        if deadline.passed:
            raise Unanswered(Outcome.TIMEOUT, "no time was left for this request, so it was not sent; raise `deadline`")
        for attempt in count(1):
            result = self._attempt(prepared, call, deadline)
            wait = self._wait(attempt, call, result, deadline)
            if wait is None:
                break
            time.sleep(wait)
        if isinstance(result, Lost):
            raise self._explain(result, call)
        return replace(result, attempts=attempt)

    def download(self, url: str, deadline: Deadline) -> bytes:
        """A picture's bytes (PNG, JPEG or WebP) from wherever a reply said, without the key.

        Raises:
            Unanswered: the address is not safe, or nothing usable came.
        """
        return self._downloader.fetch(url, deadline)

    def redact(self, text: object) -> str:
        """Words for people: one line, at most 300 characters, no key in any encoding, no query strings."""
        return self._redactor.short(text)

    def know(self, secret: Secret) -> None:
        """Leave this out of all words, too; keys that were sent are known anyway."""
        self._redactor.add(secret.reveal())

    def url(self, path: str) -> str:
        """The whole address of a path under the service's, or of an address on one of its origins.

        Raises:
            Unanswered: it leads elsewhere; nothing is sent there.
        """
        whole = bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path))
        if not whole and any(part in (".", "..") for part in re.split(r"[/\\?#]", unquote(path))):
            raise Unanswered(Outcome.PROVIDER_ERROR, f"path {self.redact(path)} leads upwards; nothing was sent there")
        url = path if whole else f"{self.origin}/{path.lstrip('/')}"
        try:
            wrong = "" if any(covers(one, parse_origin(url)) for one in self._allowed) else "it is another origin"
        except ValueError as error:
            wrong = str(error)
        if wrong:
            message = f"{self.redact(url)} is no address of {self._home}: {wrong}; nothing was sent there"
            raise Unanswered(Outcome.PROVIDER_ERROR, f"{message}; is it one of the service's `origins`?")
        return url

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()
        self._downloader.close()

    # --- one attempt ----------------------------------------------------------------------------------------------

    def _attempt(self, prepared: requests.PreparedRequest, call: Call, deadline: Deadline) -> Reply | Lost:
        signed = self._sign(prepared)
        if self.limiter is None:
            deadline.begin()
            return self._exchange(signed, deadline)
        with self.limiter.slot(deadline, self.policy.longest_wait if call.paid else None) as slot:
            result = self._exchange(signed, deadline)
            if isinstance(result, Reply):
                tell(slot, result)
        return result

    def _exchange(self, signed: requests.PreparedRequest, deadline: Deadline) -> Reply | Lost:
        return exchange(self._clients, signed, Attempt(self._resolver, self._connector, deadline), self.policy)

    def _wait(self, attempt: int, call: Call, result: Reply | Lost, deadline: Deadline) -> float | None:
        """Seconds before the next attempt; None: there is none."""
        if attempt >= self.policy.attempts or not may_repeat(call, result):
            return None
        wait = backoff(attempt, self.policy.backoff, self.policy.longest_wait)
        if isinstance(result, Reply) and (asked := asked_wait(result.headers, result.body, datetime.now(UTC))):
            if asked > self.policy.longest_wait:
                return None
            wait = asked + min(wait, asked / 10)  # not all at once
        return wait if wait < deadline.left else None

    def _explain(self, lost: Lost, call: Call) -> Unanswered:
        """The end of a call without a reply."""
        paid, where = call.paid, self.origin
        billed = "; possibly billed, so not sent again" if paid else ""
        if lost.untrusted:
            advice = "if its authority is private, give its file as `ca_bundle`"
            message = f"{where}: the certificate was not accepted ({lost.reason}); {advice}"
            return Unanswered(Outcome.PROVIDER_ERROR, message, final=True)
        if lost.stage is RequestStage.UNSENT:
            message = f"no connection to {where}: {lost.reason}; check `url` and the network"
            return Unanswered(Outcome.PROVIDER_ERROR, message)
        if lost.stage is RequestStage.UNUSABLE:
            message = f"{lost.reason}; check what the service sends, or raise `max_bytes` ({self.policy.max_bytes})"
            return Unanswered(Outcome.BAD_IMAGE, message, billed=paid)
        text = "did not answer in time" if lost.stage is RequestStage.HUNG else "broke off the connection"
        return Unanswered(Outcome.TIMEOUT, f"{where} {text} ({lost.reason}){billed}", billed=paid)

    # --- the request ----------------------------------------------------------------------------------------------

    def _parse(self, url: str, key: ApiKey | None) -> Origin:
        try:
            origin = parse_origin(url)
        except ValueError as error:
            raise ProviderError(f"{self.name}: no service address, {error}; write https://HOST[:PORT]") from None
        if "?" in url or "#" in url:
            raise ProviderError(f"{self.name}: the address {origin} must not have a query")
        if key is not None and origin.scheme == "http" and not origin.loopback:
            raise ProviderError(f"{self.name}: {origin}: a key is never sent without encryption; write https://")
        return origin

    def _prepare(self, call: Call) -> requests.PreparedRequest:
        """The request without the key.

        Raises:
            Unanswered: it leads elsewhere, or cannot be written as HTTP.
        """
        url = self.url(call.path)
        wrong = self._wrong_header(call)
        if not wrong:
            try:
                prepared = requests.Request(
                    call.method, url, headers=merge(HEADERS, call.headers), **body(call)
                ).prepare()
                if any(covers(one, parse_origin(prepared.url or "")) for one in self._allowed):
                    return prepared
                wrong = "its address is read differently by different programs"
            except (requests.RequestException, ValueError, TypeError, AttributeError) as error:
                wrong = self.redact(error)
        raise Unanswered(Outcome.PROVIDER_ERROR, f"the request cannot be sent: {wrong}")

    def _wrong_header(self, call: Call) -> str:
        """What is wrong with a header or a multipart field, or ""."""
        kept = OURS | ({self._key.header.lower()} if self._key is not None else set())
        for name, value in call.headers.items():
            if not NAME.fullmatch(name) or name.lower() in kept:
                return f"header {name[:40]!r} is not an adapter's to set"
            if not VALUE.fullmatch(value):
                return f"header {name} may hold only characters of Latin-1, and no line breaks"
        for name in (*(call.form or ()), *call.files):
            if not FIELD.fullmatch(name):
                return f"form field {name[:40]!r} holds quotes or control characters"
        for name, (filename, _, kind) in call.files.items():
            if not FIELD.fullmatch(filename) or not VALUE.fullmatch(kind):
                return f"the file of form field {name} has a name or type with quotes or control characters"
        return ""

    def _sign(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """A copy with the key, which no variable on the way ever holds.

        Raises:
            Unanswered: auth, the key cannot be in a header; or whatever `ApiKey.value` raises.
        """
        if self._key is None:
            return prepared
        secret = self._key.value()
        self._redactor.add(secret.reveal())
        if not VALUE.fullmatch(self._key.prefix + secret.reveal()):
            message = "the key holds line breaks or characters that no header can carry; check the variable"
            raise Unanswered(Outcome.AUTH, message, final=True)
        signed = prepared.copy()
        signed.headers[self._key.header] = self._key.prefix + secret.reveal()
        return signed


def covers(allowed: Origin, origin: Origin) -> bool:
    """Whether `origin` is the allowed one, or of its family `*.HOST`."""
    if allowed.host.startswith("*."):
        return origin.host.endswith(allowed.host[1:]) and allowed._replace(host=origin.host) == origin
    return allowed == origin


def may_repeat(call: Call, result: Reply | Lost) -> bool:
    """Whether sending it again cannot be paid for twice, and may help."""
    if isinstance(result, Lost):
        if result.untrusted or result.stage is RequestStage.UNUSABLE:
            return False
        return result.stage is RequestStage.UNSENT or not call.paid
    again = NOT_ACCEPTED if call.paid else HARMLESS
    return result.status in again and not forbids_retry(result.headers, result.body)


def tell(slot: CallSlot, reply: Reply) -> None:
    """Let the limiter learn from a reply. An empty account is no sign of haste."""
    if reply.status == 429 and not forbids_retry(reply.headers, reply.body):
        slot.slow_down(asked_wait(reply.headers, reply.body, datetime.now(UTC)) or 0.0)
    elif reply.status < 400:
        slot.went_well()


def merge(headers: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Headers, the latter winning whatever their case."""
    given = {name.lower() for name in more}
    return {**{name: value for name, value in headers.items() if name.lower() not in given}, **more}


def body(call: Call) -> dict[str, object]:
    """The call's body in the words of requests."""
    if call.form is not None or call.files:
        fields = {name: (None, value) for name, value in (call.form or {}).items()}
        return {"files": {**fields, **call.files}}
    return {"data": call.data} if call.data is not None else {"json": call.json}


def open_session(name: str, url: str, options: RemoteOptions, secret: Secret | None) -> Session:
    """The session that a profile's options describe; all sessions of one service and key share their limits.

    Raises:
        ProviderError: the address, the key or `ca_bundle` cannot be used.
    """
    quiet_logs()
    account = "" if secret is None else hashlib.sha256(secret.reveal().encode("utf-8", "surrogatepass")).hexdigest()
    session = Session(
        name,
        url,
        options.policy,
        key=None if secret is None else ApiKey(options.header, options.prefix, partial(same, secret)),
        limiter=limiter_for((url.rstrip("/"), account), options.concurrency, options.per_minute),
        ca_bundle=Path(options.ca_bundle).expanduser() if options.ca_bundle else None,
        origins=getattr(options, "origins", ()),
    )
    if secret is not None:
        session.know(secret)
    return session


def same(secret: Secret) -> Secret:
    """A key that never changes."""
    return secret
