"""Any service over HTTP, by a description in YAML: a ready one of suites/services/, one of your own, or the profile's.

    replicate: {adapter: http, service: replicate, model: black-forest-labs/flux-schnell}
    mine: {adapter: http, service: services/mine.yaml}

docs/providers/http.md explains every key; harness/providers/description.py is their exact shape.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from PIL import Image, ImageChops, ImageFilter

from harness.config.profile import ProviderConfig
from harness.core.errors import SuiteError, nearest
from harness.core.values import Outcome, Request, digest
from harness.core.yaml import Document, read_yaml, validate
from harness.emulator.services import SERVICES
from harness.models.identity import hash_once
from harness.providers import ProviderContext
from harness.providers.description import (
    Description,
    RuleEntry,
    fill,
    fill_headers,
    fill_path,
    fill_text,
    find_service,
    fit_size,
    look_up,
    merge,
    placeholders,
    plain_text,
    read_service,
    read_workflow,
    words_at,
)
from harness.providers.http_client.exchange import Call, Reply, Unanswered
from harness.providers.remote import (
    MAYBE_BILLED,
    STATUS,
    UNKNOWN,
    ParsedReply,
    Pending,
    Picture,
    RemoteProvider,
    error_text,
    explain_status,
    inline_picture,
    is_emulated,
    linked_picture,
    no_picture,
    read_json,
    refusal,
    wrap_seed,
)

FETCHING = "done; its result is fetched"  # the state of a task whose result is a reply of its own
BROKEN = {
    Outcome.AUTH: STATUS[401][1],
    Outcome.QUOTA: STATUS[402][1],
    Outcome.MODEL_RETIRED: STATUS[404][1],
    Outcome.TIMEOUT: STATUS[504][1],
}
"""What to do about an ending, whatever status or words it came with."""
LAST = frozenset({Outcome.AUTH, Outcome.QUOTA, Outcome.MODEL_RETIRED})  # asking again in this run cannot help
MEMORY = 1_000  # characters of one remembered value
PIXEL_CAP = 64_000_000
DETAIL = 3  # grey levels, 0 to 255: a picture whose sharpest parts differ by less was blurred on purpose
DARKNESS = 8  # grey levels


class HttpProvider(RemoteProvider):
    """Draws by asking a described service."""

    adapter, Options = "http/2", Description
    options: Description

    def __init__(self, name: str, config: ProviderConfig, context: ProviderContext) -> None:
        super().__init__(name, config, context)
        self.seeded = self.options.seeded

    @property
    def service_name(self) -> str:
        return self.options.service

    def read_options(self, options: Mapping[str, object]) -> Description:
        """The description with the profile's keys over it.

        Raises:
            SuiteError: no such service, or a wrong key, with file, line and the nearest right spelling.
        """
        context = self.context
        folders = [context.settings.root, context.profile.path.parent]
        merged: dict[str, object] = {name: item for name, item in options.items() if name != "service"}
        if options.get("service"):
            path = find_service(str(options["service"]), folders)
            merged, folders = merge(read_service(path).data, merged), [path.parent, *folders]
        elif "request" not in options:
            raise self._wrong("needs `service: NAME`, or a `request` of its own; see docs/providers/http.md")
        workflow = merged.get("workflow")
        if isinstance(workflow, str) and workflow:
            merged["workflow"] = read_workflow(workflow, folders)
        described = self._validate(merged)
        for name in described.fingerprint:
            if not (context.settings.root / name).is_file():
                raise self._wrong(f"fingerprint: there is no file {context.settings.root / name}")
        if is_emulated(described.emulated, context):
            self._check_emulated(described.service)
        elif not described.url:
            raise self._wrong("needs `url`: scheme and host of the service")
        return described

    def settings(self) -> Mapping[str, object]:
        """The values for people to see, and the hash of everything that turns a request into a body."""
        described = self.options
        sent = described.model_dump(mode="json", include={"request", "body", "workflow", "seed", "size"})
        root = self.context.settings.root
        files = [hash_once(root / name) for name in described.fingerprint]
        return {"service": described.service, "values": dict(described.values), "contract": digest([sent, files])}

    def notes(self, request: Request) -> Mapping[str, object]:
        used = self._used()
        values = self._values(request, 1)
        notes: dict[str, object] = {"seed": values["seed"]} if "seed" in used else {}
        if "aspect_ratio" in used:
            notes["shape"] = values["aspect_ratio"]
        elif (values["width"], values["height"]) != (request.width, request.height):
            notes["size_asked"] = [values["width"], values["height"]]
        return notes | ({"ignored": ["negative"]} if request.negative and "negative" not in used else {})

    # --- what is sent -----------------------------------------------------------------------------------------------

    def ask(self, request: Request, count: int) -> Call:
        sent, values = self.options.request, self._values(request, count)
        path, headers = fill_path(sent.path, values), fill_headers(sent.headers, values)
        body = fill(self.options.template, values)
        if sent.encoding == "json":
            return Call(path, sent.method, json=body if self.options.template else None, headers=headers)
        plain = {name: plain_text(item) for name, item in body.items()}
        if sent.encoding == "multipart":
            return Call(path, sent.method, form=plain, headers=headers)
        return Call(path, sent.method, data=plain, headers=headers)

    def poll(self, pending: Pending) -> Call:
        poll = self.options.poll
        assert poll is not None  # the description pairs it with `task`, and without one nothing is pending
        if pending.state == FETCHING:
            return Call(pending.url, "GET", paid=False)
        values = {"task": pending.task, "model": self.options.model}
        path = pending.url or fill_path(poll.path, values)  # the session checks where an address leads
        return Call(path, poll.method, json=fill(poll.body, values) or None, paid=False)

    def probe(self) -> Call | None:
        probe = self.options.probe
        values = {**self.options.values, "model": self.options.model}
        return Call(fill_path(probe.path, values), probe.method, paid=False) if probe else None

    def _values(self, request: Request, count: int) -> dict[str, object]:
        """What the placeholders stand for."""
        described = self.options
        values: dict[str, object] = {
            **described.values,
            **fit_size(request.width, request.height, described.size),
            "prompt": request.prompt,
            "negative": request.negative,
            "model": described.model,
            "seed": wrap_seed(request.seed, described.seed.low, described.seed.high),
            "count": count,
            "once": uuid4().hex[:8],  # another word for each call; sent again it stays the same
        }
        return values | {"workflow": fill(described.workflow, values, drop=False)}  # a node needs all its inputs

    def _used(self) -> set[str]:
        described = self.options
        return set(placeholders([described.template, described.request.path, described.workflow]))

    # --- what comes back --------------------------------------------------------------------------------------------

    def read(self, reply: Reply) -> ParsedReply | Pending:
        return self._understand(reply, None)

    def read_poll(self, reply: Reply, pending: Pending) -> ParsedReply | Pending:
        return self._understand(reply, pending)

    def problem(self, reply: Reply) -> Unanswered:
        """The description's rules first, then its statuses, then what the status means everywhere."""
        described, answer = self.options, loose_json(reply)
        words = words_at(described.message, answer) or error_text(reply.body)
        for rule, outcome in self._rules():
            if not rule.each and self._holds(rule, answer, reply.status):
                return ending(outcome, words_at(rule.message, answer) or words, reply.status)
        if reply.status in described.status:
            return ending(described.status[reply.status], words, reply.status)
        plain = explain_status(Reply(reply.status, reply.headers, b""))
        text = f"{plain} ({words})" if words else str(plain)
        return Unanswered(plain.outcome, text, final=plain.final, billed=plain.billed)

    def absent(self) -> Unanswered:
        if self.options.empty == "refused":
            return refusal("the reply holds no picture", billed=True)
        return super().absent()

    def _understand(self, reply: Reply, pending: Pending | None) -> ParsedReply | Pending:
        """Rules, then the task's state, then pictures."""
        described = self.options
        if described.picture.kind in ("bytes", "auto") and reply.body.lstrip()[:1] not in (b"", b"{", b"[", b"<"):
            return ParsedReply((Picture(reply.body),))
        answer = read_json(reply)
        for rule, outcome in self._rules():
            if not rule.each and self._holds(rule, answer, reply.status):
                raise ending(outcome, words_at(rule.message, answer), billed=True)
        if described.poll and (pending is None or pending.state != FETCHING):
            waiting = self._stand(answer, pending)
            if waiting:
                return waiting
        return ParsedReply(self._pictures(answer), remember(self.options.meta, answer))

    def _stand(self, answer: Any, pending: Pending | None) -> Pending | None:
        """How a task stands: still pending, or None when its pictures are in this reply.

        Raises:
            Unanswered: it failed, or was refused.
        """
        poll, task = self.options.poll, self.options.task
        assert poll is not None and task is not None  # the description pairs them
        state = plain_text(look_up(poll.state, answer))
        words = words_at(self.options.message, answer)
        number = pending.task if pending else plain_text(look_up(task.id, answer))
        if state in poll.refused:
            raise refusal(words or state, billed=True)
        if state in poll.failed:
            text = (
                f"the task ended as {state!r}" + (f" ({words})" if words else "") + "; run again, failures are not kept"
            )
            raise Unanswered(Outcome.PROVIDER_ERROR, text, billed=True)
        if state in poll.done:
            if not poll.result:
                return None
            result = plain_text(look_up(poll.result, answer))
            if not result:
                raise no_picture("the task is done and names no result")
            return Pending(number, result, FETCHING)
        if not number:
            raise no_picture("the reply names no task")
        url = plain_text(look_up(task.url, answer)) if task.url else ""
        return Pending(number, url or (pending.url if pending else ""), state)

    def _rules(self) -> list[tuple[RuleEntry, Outcome]]:
        refused = [(rule, Outcome.REFUSED) for rule in self.options.refused]
        return [*refused, *((rule, Outcome(rule.outcome)) for rule in self.options.failed)]

    def _holds(self, rule: RuleEntry, answer: Any, status: int) -> bool:
        if rule.status and status not in rule.status:
            return False
        return not rule.when or is_true(look_up(rule.when, answer))

    def _pictures(self, answer: Any) -> tuple[Picture, ...]:
        """Each picture, or why that one is missing."""
        result = look_up(self.options.picture.at, answer)
        items = result if isinstance(result, list) else [] if result in (None, "", {}) else [result]
        pictures = [self._picture(item) for item in items]
        for rule, outcome in self._rules():
            marks = look_up(rule.each, answer) if rule.each and self._holds(rule, answer, 200) else None
            for number, mark in enumerate(marks if isinstance(marks, list) else []):
                if is_true(mark) and number < len(pictures):
                    problem = ending(outcome, words_at(rule.message, answer) or "marked as unsafe", billed=True)
                    pictures[number] = Picture(problem=problem)
        return tuple(pictures)

    def _picture(self, item: Any) -> Picture:
        picture = self.options.picture
        if picture.url:
            fields = item if isinstance(item, Mapping) else {"value": item}
            if not set(placeholders(picture.url)) <= set(fields):
                return Picture(problem=no_picture("the reply names no picture"))
            item = fill_text(picture.url, fields, lambda _, text: quote(text, safe=""))
        named = isinstance(item, str) and not item.startswith("data:") and ":" in item[:12]
        if picture.kind == "url" or picture.url or (picture.kind == "auto" and named):
            relative = isinstance(item, str) and item.startswith("/") and not item.startswith("//")
            return linked_picture(self.session.url(item) if relative else item)
        return inline_picture(item)

    def examine(self, data: bytes, request: Request) -> Unanswered | None:
        """A picture that looks like the service's way of saying no is a refusal."""
        look = moderated_look(data, self.options.picture.moderated)
        return refusal(f"the picture came {look}", billed=True) if look else None

    # --- options ----------------------------------------------------------------------------------------------------

    def _validate(self, merged: Mapping[str, object]) -> Description:
        """The description; an error names the profile's line where the key stands in the profile."""
        path = self.context.profile.path
        try:
            return validate(Document(path, dict(merged), {}), Description)
        except SuiteError as plain:
            if not path.is_file():
                raise self._wrong(str(plain).removeprefix(f"{path}:{plain.line}: ")) from plain
        place = ("providers", self.name)
        lines = {key[2:]: line for key, line in read_yaml(path).lines.items() if key[:2] == place}
        try:
            return validate(Document(path, dict(merged), lines), Description)
        except SuiteError as error:
            text = str(error).removeprefix(f"{path}:{error.line}: ")
            raise SuiteError(f"provider {self.name!r}: {text}", path, error.line) from error

    def _check_emulated(self, service: str) -> None:
        if service not in SERVICES:
            known = nearest(service, SERVICES)
            raise self._wrong(
                f"service {service!r} has no emulator ({known}); set `emulated: false` to ask the real one"
            )

    def _wrong(self, message: str) -> SuiteError:
        return SuiteError(f"provider {self.name!r}: {message}", self.context.profile.path)


def ending(outcome: Outcome, words: str, status: int = 0, *, billed: bool = False) -> Unanswered:
    """An outcome in words, the same wherever the service told of it."""
    if outcome is Outcome.REFUSED:
        return refusal(words or (f"HTTP {status}" if status else "no reason given"), billed=billed)
    advice = BROKEN.get(outcome, UNKNOWN[1])
    text = (f"HTTP {status}: " if status else "") + advice + (f" ({words})" if words else "")
    return Unanswered(outcome, text, final=outcome in LAST, billed=billed or status in MAYBE_BILLED)


def remember(wanted: Mapping[str, str], answer: Any) -> dict[str, object]:
    """What the description wants kept, where it is plain; addresses may be signed, so none is kept.

    Args:
        wanted: JMESPath by name.
    """
    meta: dict[str, object] = {}
    for name, expression in wanted.items():
        value = look_up(expression, answer)
        if isinstance(value, str) and "://" not in value[:12]:
            meta[name] = value[:MEMORY]
        elif isinstance(value, int | float):
            meta[name] = value
    return meta


def is_true(value: Any) -> bool:
    """JMESPath's notion: null, false and whatever is empty are false; a number is true."""
    return bool(value) or (isinstance(value, int | float) and not isinstance(value, bool))


def loose_json(reply: Reply) -> Any:
    """A reply's JSON; None when it is none."""
    try:
        return read_json(reply)
    except Unanswered:
        return None


# --- pictures that are refusals ---------------------------------------------------------------------------------------


def moderated_look(data: bytes, looks: Sequence[str]) -> str:
    """Which of these looks a picture has: `black` all over, or `blurred` until nothing is left; "" for none."""
    grey = read_grey(data) if looks else None
    if grey is None:
        return ""
    levels = [level for level, count in enumerate(grey.histogram()) if count]
    if "black" in looks and levels[-1] <= DARKNESS:
        return "black"
    return "blurred" if "blurred" in looks and len(levels) > 1 and finest_detail(grey) < DETAIL else ""


def read_grey(data: bytes) -> Image.Image | None:
    """A picture in grey, 256 pixels high; None when it is no picture, which the engine will say."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > PIXEL_CAP:
                return None
            size = (max(8, round(256 * image.width / image.height)), 256)
            return image.convert("L").resize(size, Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError):
        return None


def finest_detail(grey: Image.Image) -> float:
    """By how many grey levels the sharpest thousandth of a picture differs from its surroundings."""
    histogram = ImageChops.difference(grey, grey.filter(ImageFilter.GaussianBlur(2))).histogram()
    left = sum(histogram) / 1000
    for level in range(255, 0, -1):
        left -= histogram[level]
        if left <= 0:
            return float(level)
    return 0.0
