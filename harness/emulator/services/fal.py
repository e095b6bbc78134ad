"""fal.ai's queue: submit, ask for the status, fetch the result; three addresses, all given in the first reply."""

from __future__ import annotations

from functools import partial
from typing import Any

from PIL import Image

from harness.emulator.exchange import Answer, Asked, Problem, Rejected, answer_json, invalid
from harness.emulator.pictures import encode
from harness.emulator.service import (
    EmulatedTask,
    Pic,
    Service,
    find_int,
    read_bool,
    read_choice,
    read_int,
    read_text,
    route,
)

SIZES: dict[str, tuple[int, int]] = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
FLAGGED = "The content could not be processed because it contained material flagged by a content checker."
LOCKED = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."


class Fal(Service):
    auth = (("authorization", "Key "),)
    delivers = ("url",)
    tasks = True
    forms = ("refused", "refused_prompt", "refused_nsfw", "refused_black")
    lacks = frozenset({"rate_quota"})  # an empty account is told otherwise

    @route("POST", "/(?P<model>[^/]+/[^/]+(/[^/]+)*)", paid=True)
    def submit(self, asked: Asked, model: str) -> Answer:
        self.check_model(model, ("fal-ai/",))
        body = self.json_body(asked)
        prompt, seed = read_text(body, "prompt"), find_int(body, "seed", 0, 2**32 - 1)
        width, height = read_size(body.get("image_size", "landscape_4_3"))
        count, _ = read_int(body, "num_images", 1, 4, 1), read_bool(body, "enable_safety_checker", True)
        mime = f"image/{read_choice(body, 'output_format', ('jpeg', 'png'), 'jpeg')}"
        app = "/".join(model.split("/")[:2])  # the rest of a model's name is no part of the queue's addresses
        draw = partial(self.paint, asked, prompt, width, height, seed, count, mime)
        task = self.start(asked, draw, app=app, prompt=prompt)
        return answer_json({**self._addresses(task), "status": "IN_QUEUE", "queue_position": 0})

    @route("GET", "/[^/]+/[^/]+/requests/(?P<task_id>[^/]+)/status")
    def status(self, asked: Asked, task_id: str) -> Answer:
        state, task = self.look(task_id)
        words = {"waiting": "IN_QUEUE", "running": "IN_PROGRESS", "unknown": "MIGRATING"}
        fields: dict[str, object] = {**self._addresses(task), "status": words.get(state, "COMPLETED"), "logs": None}
        fields |= {"queue_position": 0} if state == "waiting" else {}  # the official client reads it without asking
        fields |= {"metrics": {"inference_time": 0.4}} if state == "done" else {}
        if state == "failed":
            fields |= {"error": "The runner went away", "error_type": "runner_disconnected"}
        return answer_json(fields, 202 if state in words else 200)

    @route("PUT", "/[^/]+/[^/]+/requests/(?P<task_id>[^/]+)/cancel")
    def cancel(self, asked: Asked, task_id: str) -> Answer:
        done = self.find(task_id).pictures is not None
        return answer_json({"status": "ALREADY_COMPLETED" if done else "CANCELLATION_REQUESTED"}, 400 if done else 202)

    @route("GET", "/[^/]+/[^/]+/requests/(?P<task_id>[^/]+)")
    def result(self, asked: Asked, task_id: str) -> Answer:
        task = self.find(task_id)
        fault = task.asked.fault
        if fault in ("task_refused", "refused_prompt"):
            where = {"loc": ["body", "prompt"], "msg": FLAGGED, "type": "content_policy_violation"}
            return answer_json({"detail": [where]}, 422)
        pictures = [self._blacken(picture, fault) for picture in task.pictures or ()]
        if task.pictures is None:
            raise Rejected(Problem("invalid", "Request is still in progress", 400))
        images = [
            {"url": self.publish(task.asked, one), "width": one.width, "height": one.height, "content_type": one.mime}
            for one in pictures
        ]
        unsafe = fault in ("refused", "refused_nsfw")
        fields = {"images": images, "seed": pictures[0].seed if pictures else 0, "prompt": task.extra["prompt"]}
        return answer_json({**fields, "timings": {"inference": 0.4}, "has_nsfw_concepts": [unsafe] * len(images)})

    def _blacken(self, picture: Pic, fault: str) -> Pic:
        """What the safety checker leaves of a picture."""
        if fault not in ("refused", "refused_black"):
            return picture
        black = encode(Image.new("RGB", (picture.width, picture.height)), "image/png")
        return Pic(black, "image/png", "", picture.width, picture.height, picture.seed)

    def _addresses(self, task: EmulatedTask) -> dict[str, object]:
        url = f"{self.stage.url}/{self.name}/{task.extra['app']}/requests/{task.id}"
        return {
            "request_id": task.id,
            "response_url": url,
            "status_url": f"{url}/status",
            "cancel_url": f"{url}/cancel",
        }

    def problem(self, problem: Problem) -> Answer:
        """`detail`: a list for what FastAPI finds, a text for all else; an empty balance is a 403."""
        if problem.kind == "invalid" and problem.field:
            where = {"loc": ["body", problem.field], "msg": problem.message, "type": "value_error", "input": None}
            return answer_json({"detail": [where]}, 422)
        if problem.kind == "quota":
            return answer_json({"detail": LOCKED}, 403)
        return answer_json({"detail": problem.message, **problem.retry_after}, problem.http)


def read_size(value: Any) -> tuple[int, int]:
    """A named size, or width and height in pixels."""
    if isinstance(value, str) and value in SIZES:
        return SIZES[value]
    if not isinstance(value, dict):
        raise invalid("image_size", f"image_size must be an object or one of {', '.join(SIZES)}")
    return read_int(value, "width", 1, 14142), read_int(value, "height", 1, 14142)


SERVICE = Fal
