"""Black Forest Labs: a task, asked for at the address that the first reply gives; moderation is a state of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness.emulator.exchange import Answer, Asked, Problem, Rejected, answer_json, invalid
from harness.emulator.service import Service, find_int, read_bool, read_choice, read_int, read_text, route

MODELS = ("flux-2-pro", "flux-2-flex", "flux-2-max", "flux-kontext-pro", "flux-pro-1.1", "flux-dev")
STATES = {
    "waiting": "Pending",
    "running": "Pending",
    "unknown": "Preheating",
    "done": "Ready",
    "failed": "Error",
    "refused": "Content Moderated",
}
FORMS = {"refused": "Request Moderated", "refused_output": "Content Moderated"}


class Bfl(Service):
    auth = (("x-key", ""),)
    delivers = ("url",)
    tasks = True
    forms = ("refused", "refused_output")
    lacks = frozenset({"rate_quota"})  # an empty account is told otherwise
    replies = (("/v1/credits", {"credits": 1000.0}),)

    @route("POST", "/v1/(?P<model>[^/]+)", paid=True)
    def submit(self, asked: Asked, model: str) -> Answer:
        self.check_model(model, MODELS)
        body = self.json_body(asked)
        prompt, seed = read_text(body, "prompt"), find_int(body, "seed", 0, 2**32 - 1)
        width, height = (read_int(body, side, 64, 2048, 1024) for side in ("width", "height"))
        for name, side in (("width", width), ("height", height)):
            if side % 16:
                raise invalid(name, "Input should be a multiple of 16")
        read_bool(body, "prompt_upsampling", False)
        read_int(body, "safety_tolerance", 0, 6, 2)
        mime = f"image/{read_choice(body, 'output_format', ('jpeg', 'png', 'webp'), 'jpeg')}"
        task = self.start(asked, partial(self.paint, asked, prompt, width, height, seed, 1, mime), prompt=prompt)
        url = f"{self.stage.url}/{self.name}/v1/get_result?id={task.id}"
        return answer_json({"id": task.id, "polling_url": url, "cost": 4.5, "input_mp": 0.0, "output_mp": 1.0})

    @route("GET", "/v1/get_result")
    def result(self, asked: Asked) -> Answer:
        task_id = asked.query.get("id", "")
        try:
            state, task = self.look(task_id)
        except Rejected as error:
            if error.problem.kind == "not_found":
                return answer_json({"id": task_id, "status": "Task not found", "result": None, "details": None})
            raise
        fault = task.asked.fault
        word = FORMS[fault] if state == "done" and fault in FORMS else STATES[state]
        fields: dict[str, Any] = {"id": task_id, "status": word, "result": None, "progress": None, "details": None}
        if word.endswith("Moderated"):
            fields["details"] = {"Moderation Reasons": ["Derivative Works Filter"]}
        if state == "failed":
            fields["details"] = {"error": "The generation failed"}
        if word == "Ready":
            fields["result"] = {"prompt": task.extra["prompt"], "duration": 2.1, "start_time": 1795206848.8}
        if word == "Ready" and task.pictures:
            picture = task.pictures[0]
            fields["result"] |= {"sample": self.publish(task.asked, picture), "seed": picture.seed}
        return answer_json(fields)

    def problem(self, problem: Problem) -> Answer:
        if problem.kind == "invalid":
            where = {"loc": ["body", problem.field], "msg": problem.message, "type": "value_error"}
            return answer_json({"detail": [where]}, 422)
        if problem.kind in ("auth", "missing_key"):
            return answer_json({"detail": "Not authenticated - Invalid Authentication"}, 403)
        return answer_json({"detail": problem.message, **problem.retry_after}, problem.http)


SERVICE = Bfl
