"""Freepik, called Magnific since 2026: the classic call that answers at once, Mystic and the other models by task.

POST {url}/v1/ai/text-to-image          {"prompt", "num_images", "image": {"size"}}   -> data[].base64, has_nsfw
POST {url}/v1/ai/mystic                 {"prompt", "aspect_ratio", "resolution"}      -> data.task_id
POST {url}/v1/ai/text-to-image/{model}  {"prompt", "aspect_ratio", "seed"}            -> data.task_id
GET  the same path /{task_id}           -> data.status, data.generated[], data.has_nsfw[]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field

from harness.config.profile import ProviderConfig
from harness.core.values import Outcome, Request
from harness.core.yaml import VariableName
from harness.providers import ProviderContext
from harness.providers.http_client.exchange import Call, Reply, Unanswered
from harness.providers.http_client.options import RemoteOptions
from harness.providers.remote import (
    ParsedReply,
    Pending,
    Picture,
    RemoteProvider,
    error_text,
    explain_status,
    inline_picture,
    linked_picture,
    nearest_shape,
    no_picture,
    read_dict,
    read_json,
    read_list,
    refusal,
    wrap_seed,
)

SHAPES: dict[str, tuple[int, int]] = {
    "square_1_1": (1, 1),
    "classic_4_3": (4, 3),
    "traditional_3_4": (3, 4),
    "widescreen_16_9": (16, 9),
    "social_story_9_16": (9, 16),
    "standard_3_2": (3, 2),
    "portrait_2_3": (2, 3),
    "horizontal_2_1": (2, 1),
    "vertical_1_2": (1, 2),
    "social_post_4_5": (4, 5),
    "social_5_4": (5, 4),
    "smartphone_horizontal_20_9": (20, 9),
    "smartphone_vertical_9_20": (9, 20),
}
"""In this order since models with fewer of them have the first ones: five, seven or ten. The documents at hand give the
numbers and list the five alone; seven and ten are what third parties send."""
COMMON = 5  # known to every model


@dataclass(frozen=True)
class Mode:
    """One of the service's models: what its contract has that the others' have not."""

    path: str
    seeds: tuple[int, int] | None = None
    shapes: int = COMMON  # how many of SHAPES
    negative: bool = False


TEXT_TO_IMAGE = "/v1/ai/text-to-image"
MODES: dict[str, Mode] = {  # as documented in 2026; `mode` may name others
    "classic": Mode(TEXT_TO_IMAGE, (0, 1_000_000), len(SHAPES), negative=True),
    "mystic": Mode("/v1/ai/mystic", None, len(SHAPES)),
    "flux-dev": Mode(f"{TEXT_TO_IMAGE}/flux-dev", (1, 4_294_967_295), 10),
    "flux-pro-v1-1": Mode(f"{TEXT_TO_IMAGE}/flux-pro-v1-1", (1, 4_294_967_295)),
    "imagen4-fast": Mode(f"{TEXT_TO_IMAGE}/imagen4-fast", (1, 4_294_967_295)),
    "seedream-v4": Mode(f"{TEXT_TO_IMAGE}/seedream-v4", (0, 2_147_483_647), 7),
    "seedream-v4-5": Mode(f"{TEXT_TO_IMAGE}/seedream-v4-5", (0, 4_294_967_295), 7),
}
DONE, FAILED = "COMPLETED", "FAILED"
UNSAFE = "marked as not safe for work"
POLICY = re.compile(r"content polic|moderat|safety|inappropriate|not safe for work", re.IGNORECASE)


class FreepikOptions(RemoteOptions):
    """The addresses are those of November 2026; the old pair is https://api.freepik.com with x-freepik-api-key."""

    url: str = "https://api.magnific.com"
    key: VariableName = "FREEPIK_API_KEY"
    header: str = "x-magnific-api-key"
    prefix: str = ""
    mode: str = Field("mystic", pattern=r"^[a-z0-9][a-z0-9.-]*$")  # one of MODES, or the last part of a newer path
    model: str = ""  # of Mystic: realism, fluid, zen, ...
    resolution: Literal["1k", "2k", "4k"] = "1k"  # of Mystic
    per_call: int = Field(1, ge=1, le=4)  # only the classic call draws several, and then without a seed
    filter_nsfw: bool = True  # of the classic call
    body: dict[str, Any] = Field(default_factory=dict)  # further fields, as the service documents them: styling, say


class FreepikProvider(RemoteProvider):
    """Freepik / Magnific."""

    adapter, service, Options = "freepik/1", "freepik", FreepikOptions
    options: FreepikOptions

    def __init__(self, name: str, config: ProviderConfig, context: ProviderContext) -> None:
        super().__init__(name, config, context)
        options = self.options
        self.mode = MODES.get(options.mode) or Mode(f"{TEXT_TO_IMAGE}/{options.mode}")
        self.classic = options.mode == "classic"
        self.seeded = self.mode.seeds is not None and not (self.classic and options.per_call > 1)
        shapes = COMMON if options.model == "fluid" else self.mode.shapes
        self.shapes = dict(list(SHAPES.items())[:shapes])
        if not self.classic:  # a task is one picture
            self.options = options.model_copy(update={"per_call": 1})

    def ask(self, request: Request, count: int) -> Call:
        shape = nearest_shape(request.width, request.height, self.shapes)
        body: dict[str, object] = {**self.options.body, "prompt": request.prompt}
        if self.mode.seeds is not None and self.seeded:
            body["seed"] = wrap_seed(request.seed, *self.mode.seeds)
        if self.mode.negative and len(request.negative) >= 3:  # the service refuses shorter ones, also none at all
            body["negative_prompt"] = request.negative
        if self.classic:
            body |= {"num_images": count, "image": {"size": shape}, "filter_nsfw": self.options.filter_nsfw}
        else:
            body["aspect_ratio"] = shape
        if self.options.mode == "mystic":
            body |= {"resolution": self.options.resolution, "model": self.options.model or "realism"}
        return Call(self.mode.path, json=body)

    def read(self, reply: Reply) -> ParsedReply | Pending:
        answer = read_json(reply)
        if self.classic:
            meta = {name: value for name, value in read_dict(answer, "meta").items() if name in ("seed", "image")}
            return ParsedReply(tuple(self._picture(entry) for entry in read_list(answer, "data")), meta)
        data = answer.get("data")
        task = data if isinstance(data, dict) else answer  # both are documented
        state = str(task.get("status") or task.get("task_status") or "")
        if state == FAILED and any(read_list(task, "has_nsfw")):
            raise refusal(UNSAFE, billed=True)
        if state == FAILED:
            message = "the service could not draw it and gives no reason; run again, or reword the prompt"
            raise Unanswered(Outcome.PROVIDER_ERROR, message, billed=True)
        if state == DONE:
            return read_task(task)
        if not task.get("task_id"):
            raise no_picture("the reply holds neither a task nor a picture")
        return Pending(str(task["task_id"]), state=state)

    def poll(self, pending: Pending) -> Call:
        return Call(f"{self.mode.path}/{quote(pending.task, safe='')}", "GET", paid=False)

    def problem(self, reply: Reply) -> Unanswered:
        """With the names of the fields that the service complains of; a refused prompt is one of its complaints."""
        problem = explain_status(reply)
        if reply.status not in (400, 422):
            return problem
        try:
            answer = read_json(reply)
        except Unanswered:
            return problem
        wrong = read_list(answer, "invalid_params") or read_list(answer.get("problem"), "invalid_params")
        message = ", ".join(f"{one.get('name')}: {one.get('reason')}" for one in wrong if isinstance(one, dict))
        reasons = [str(one.get("reason", "")) for one in wrong if isinstance(one, dict)]
        words = next((text for text in [*reasons, error_text(reply.body)] if POLICY.search(text)), "")
        if words:
            return refusal(words)
        return Unanswered(problem.outcome, f"{problem}; {message}" if message else str(problem))

    def settings(self) -> Mapping[str, object]:
        options = self.options
        results: dict[str, object] = {"mode": options.mode, **({"body": options.body} if options.body else {})}
        if options.mode == "mystic":
            results["resolution"] = options.resolution
        if self.classic:
            results |= {"filter_nsfw": options.filter_nsfw, "seeded": self.seeded}
        return results

    def check(self, prompt: str) -> str:
        short = self.classic and len(prompt) < 3
        return "the service takes no prompt of fewer than 3 characters; write a longer one" if short else ""

    def notes(self, request: Request) -> Mapping[str, object]:
        asked: dict[str, object] = {"shape": nearest_shape(request.width, request.height, self.shapes)}
        if self.mode.seeds is not None and self.seeded:
            asked["seed"] = wrap_seed(request.seed, *self.mode.seeds)
        ignored = bool(request.negative) and not self.mode.negative
        return {**asked, **({"ignored": ["negative"]} if ignored else {})}

    def probe(self) -> Call | None:
        return Call("/v1/ai/mystic", "GET", paid=False)

    def _picture(self, entry: Any) -> Picture:
        """One of the classic call's pictures; what the filter marked is blurred."""
        if not isinstance(entry, dict):
            return Picture(problem=no_picture("the reply holds no picture"))
        if entry.get("has_nsfw") and self.options.filter_nsfw:
            return Picture(problem=refusal(UNSAFE))
        return inline_picture(entry.get("base64"))


def read_task(task: Mapping[str, object]) -> ParsedReply:
    """A finished task's pictures."""
    urls, marked = read_list(task, "generated"), read_list(task, "has_nsfw")
    if any(marked) and len(urls) < len(marked):
        raise refusal(UNSAFE, billed=True)
    if not urls:
        raise no_picture("the task is done and holds no picture")
    flags = [*marked, *[False] * len(urls)]
    pictures = [
        Picture(problem=refusal(UNSAFE, billed=True)) if flag else linked_picture(url)
        for url, flag in zip(urls, flags, strict=False)
    ]
    return ParsedReply(tuple(pictures))
