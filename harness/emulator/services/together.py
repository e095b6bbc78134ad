"""Together: OpenAI's shape with seeds and steps."""

from __future__ import annotations

from harness.emulator.exchange import Answer, Asked, Problem, answer_json, invalid, openai_error
from harness.emulator.service import Service, find_int, read_choice, read_int, read_text, route

KINDS: dict[str, tuple[str, str | None]] = {
    "missing_key": ("invalid_request_error", "missing_api_key"),
    "auth": ("invalid_request_error", "invalid_api_key"),
    "quota": ("credit_limit", None),
    "retired": ("invalid_request_error", "model_not_available"),
    "rate": ("model_rate_limit", "rate_limit_exceeded"),
    "error": ("server_error", None),
}
"""Kind of problem to the service's `type` and `code`."""


class Together(Service):
    forms = ("refused",)
    lacks = frozenset({"rate_quota"})  # an empty account is told otherwise

    @route("GET", "/v1/models")
    def show_models(self, asked: Asked) -> Answer:
        return answer_json([model_record(name) for name in self.models()])

    @route("GET", "/v2/supported-models")
    def show_supported(self, asked: Asked) -> Answer:
        """The newer list, in pages."""
        return answer_json({"data": [model_record(name) for name in self.models()], "next_cursor": None})

    @route("POST", "/v1/images/generations", paid=True)
    def draw_images(self, asked: Asked) -> Answer:
        body = self.json_body(asked)
        model, prompt = read_text(body, "model"), read_text(body, "prompt")
        self.check_model(model)
        width, height = (read_int(body, side, 64, 1792, 1024) for side in ("width", "height"))
        for name, side in (("width", width), ("height", height)):
            if side % 16:
                raise invalid(name, f"{name} must be a multiple of 16", 422)
        read_int(body, "steps", 1, 50, 20)
        read_text(body, "negative_prompt", default="-")
        count, seed = read_int(body, "n", 1, 4, 1), find_int(body, "seed", 0, 2**31 - 1)
        how = read_choice(body, "response_format", ("base64", "url"), "url")
        mime = f"image/{read_choice(body, 'output_format', ('jpeg', 'png'), 'jpeg')}"
        if asked.fault == "refused":
            fields = {"message": "The prompt or the picture may contain NSFW content", "type": "invalid_request_error"}
            return answer_json({"error": {**fields, "param": "prompt", "code": "content_filter"}}, 422)
        pictures = self.draw(asked, prompt, width, height, seed=seed, count=count, mime=mime)
        kind = "url" if how == "url" else "b64_json"
        data = [
            {"index": index, "type": kind, kind: self.publish(asked, one) if how == "url" else one.base64}
            for index, one in enumerate(pictures)
        ]
        return answer_json({"id": self.new_id(), "model": model, "object": "list", "data": data})

    def problem(self, problem: Problem) -> Answer:
        kind, code = KINDS.get(problem.kind, ("invalid_request_error", None))
        error = openai_error(problem, kind, code) | problem.retry_after
        return answer_json({"id": self.new_id(), "error": error}, problem.http)


def model_record(name: str) -> dict[str, object]:
    """A model as the service lists it."""
    return {"id": name, "object": "model", "created": 0, "type": "image"}


SERVICE = Together
