"""Replicate: predictions that are polled, or waited for with `Prefer: wait`; results by signed address."""

from __future__ import annotations

import re
from functools import partial

from harness.emulator.exchange import Answer, Asked, Problem, answer_json, invalid
from harness.emulator.service import EmulatedTask, Service, find_int, read_choice, read_int, read_text, route

RATIOS = ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")
WORDS = {"waiting": "starting", "running": "processing", "unknown": "queued_elsewhere", "done": "succeeded"}
NSFW = "NSFW content detected. Try running it again, or try a different prompt. (E005)"
UNSAID = ("github_url", "paper_url", "license_url", "cover_image_url", "default_example", "latest_version")
TITLES = {
    "missing_key": "Unauthenticated",
    "auth": "Unauthenticated",
    "quota": "Insufficient credit",
    "forbidden": "Permission denied",
    "invalid": "Input validation failed",
}


class Replicate(Service):
    auth = (("authorization", "Bearer "), ("authorization", "Token "))
    delivers = ("url",)
    tasks = True
    forms = ("refused",)
    lacks = frozenset({"rate_quota"})  # an empty account is told otherwise
    replies = (("/v1/account", {"type": "user", "username": "emulated", "name": "Emulated", "github_url": None}),)

    @route("POST", "/v1/models/(?P<owner>[^/]+)/(?P<name>[^/]+)/predictions", paid=True)
    def predict(self, asked: Asked, owner: str, name: str) -> Answer:
        self.check_model(f"{owner}/{name}")
        return self._predict(asked, f"{owner}/{name}", "hidden")

    @route("POST", "/v1/predictions", paid=True)
    def predict_version(self, asked: Asked) -> Answer:
        version = read_text(self.json_body(asked), "version", least=64, most=64)
        return self._predict(asked, "emulated/community", version)

    @route("GET", "/v1/models/(?P<owner>[^/]+)/(?P<name>[^/]+)")
    def model(self, asked: Asked, owner: str, name: str) -> Answer:
        self.check_model(f"{owner}/{name}")
        about = {"url": f"https://replicate.com/{owner}/{name}", "owner": owner, "name": name, "description": None}
        return answer_json({**about, "visibility": "public", "run_count": 1, **dict.fromkeys(UNSAID)})

    @route("POST", "/v1/predictions/(?P<task_id>[^/]+)/cancel")
    def cancel(self, asked: Asked, task_id: str) -> Answer:
        return answer_json({**self._prediction("waiting", self.find(task_id)), "status": "canceled"})

    @route("GET", "/v1/predictions/(?P<task_id>[^/]+)")
    def show(self, asked: Asked, task_id: str) -> Answer:
        return answer_json(self._prediction(*self.look(task_id)))

    def _predict(self, asked: Asked, model: str, version: str) -> Answer:
        given = self.json_body(asked).get("input")
        if not isinstance(given, dict):
            raise invalid("input", "input is required")
        prompt, seed = read_text(given, "prompt"), find_int(given, "seed", 0, 2**31 - 1)
        ratio = read_choice(given, "aspect_ratio", RATIOS, "1:1")
        count = read_int(given, "num_outputs", 1, 4, 1)
        mime = f"image/{read_choice(given, 'output_format', ('webp', 'jpg', 'png'), 'webp')}".replace("jpg", "jpeg")
        width, height = (find_int(given, side, 64, 1440) for side in ("width", "height"))
        wide, high = (width, height) if width and height else megapixel(ratio)
        draw = partial(self.paint, asked, prompt, wide, high, seed, count, mime)
        task = self.start(asked, draw, model=model, version=version, input=dict(given), seed=seed)
        waits = re.fullmatch(r"wait(=\d+)?", asked.headers.get("prefer", "").strip())
        ready = waits and task.polls_left == 1 and not self.stage.delay  # a quick model answers at once
        return answer_json(self._prediction(*(self.look(task.id) if ready else ("waiting", task))), 201)

    def _prediction(self, state: str, task: EmulatedTask) -> dict[str, object]:
        if state == "done" and task.asked.fault == "refused":
            state = "refused"
        error = {"failed": "CUDA out of memory", "refused": NSFW}.get(state)
        done = state == "done"
        url = f"{self.stage.url}/{self.name}/v1/predictions/{task.id}"
        return {
            "id": task.id,
            "model": task.extra["model"],
            "version": task.extra["version"],
            "input": task.extra["input"],
            "logs": f"Using seed: {task.extra['seed'] or 7}\n100%|##########| 4/4" if state != "waiting" else "",
            "output": [self.publish(task.asked, picture) for picture in task.pictures or ()] if done else None,
            "data_removed": False,
            "error": error,
            "status": WORDS.get(state, "failed"),
            "created_at": "2026-11-20T10:00:00.000Z",
            "urls": {"get": url, "cancel": f"{url}/cancel"},
        }

    def problem(self, problem: Problem) -> Answer:
        kind, status = problem.kind, problem.http
        if kind == "invalid":
            fields = [{"type": "value_error", "field": f"input.{problem.field}", "description": problem.message}]
            detail = f"- {problem.field}: {problem.message}\n"
            about = {"status": 422, "title": TITLES[kind], "detail": detail, "invalid_fields": fields}
            return answer_json(about, 422)
        values: dict[str, object] = {"detail": problem.message, "status": status}
        if kind == "rate":
            wait = f"{problem.wait:g}" if problem.wait is not None else "1"
            values["detail"] = f"Request was throttled. Your rate limit resets in ~{wait}s."
            values |= problem.retry_after
        if kind in ("retired", "not_found"):
            values["detail"] = "The requested resource could not be found."
        return answer_json(values | ({"title": TITLES[kind]} if kind in TITLES else {}), status)


def megapixel(ratio: str) -> tuple[int, int]:
    """About a megapixel in these proportions, in steps of 16 pixels."""
    wide, high = (int(part) for part in ratio.split(":"))
    scale = (1024 * 1024 / (wide * high)) ** 0.5
    return round(wide * scale / 16) * 16, round(high * scale / 16) * 16


SERVICE = Replicate
