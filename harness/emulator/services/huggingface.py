"""Hugging Face's router to providers that draw, in OpenAI's shape; and what its hub says of a model.

The path begins with the provider's name. The form of the providers' errors behind the router could not be checked; the
router's own is `{"error": "..."}`.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.emulator.exchange import Answer, Asked, Problem, answer_json, invalid
from harness.emulator.service import Service, find_int, read_choice, read_int, read_text, route

PROVIDERS = ("nscale", "together")
CPU_ONLY = "hf-inference"  # the provider whose models are small ones since July 2025


class HuggingFace(Service):
    forms = ("refused",)
    lacks = frozenset({"rate_quota"})  # an empty account is told otherwise

    @route("POST", f"/(?P<provider>{'|'.join(PROVIDERS)})/v1/images/generations", paid=True)
    def draw_images(self, asked: Asked, provider: str) -> Answer:
        body = self.json_body(asked)
        prompt, model = read_text(body, "prompt"), read_text(body, "model")
        self.check_model(model)
        width, height = read_size(body)
        read_choice(body, "response_format", ("b64_json", "base64"), "b64_json")
        read_text(body, "negative_prompt", default="-")
        count, seed = read_int(body, "n", 1, 4, 1), find_int(body, "seed", 0, 2**32 - 1)
        if asked.fault == "refused":
            return answer_json({"error": "The request was rejected: NSFW content was detected"}, 400)
        pictures = self.draw(asked, prompt, width, height, seed=seed, count=count)
        data = [{"index": index, "b64_json": picture.base64} for index, picture in enumerate(pictures)]
        return answer_json({"created": 1_790_000_000, "model": model, "data": data})

    @route("GET", "/api/models/(?P<model>[^/]+/[^/]+)", open=True)
    def describe_model(self, asked: Asked, model: str) -> Answer:
        """What the official client asks the hub before it draws: the task, and which providers serve the model."""
        self.check_model(model)
        task = "text-to-image"
        served = {name: {"status": "live", "providerId": model, "task": task} for name in (*PROVIDERS, CPU_ONLY)}
        record = {"_id": "emulated", "id": model, "modelId": model, "pipeline_tag": task, "tags": [task]}
        return answer_json({**record, "inferenceProviderMapping": served})

    def problem(self, problem: Problem) -> Answer:
        words = "Model is not supported by this provider." if problem.kind == "retired" else problem.message
        return answer_json({"error": words, **problem.retry_after}, problem.http)


def read_size(body: Mapping[str, object]) -> tuple[int, int]:
    """`size: "1024x768"`, or width and height."""
    size = body.get("size")
    if size is None:
        return read_int(body, "width", 64, 4096, 1024), read_int(body, "height", 64, 4096, 1024)
    sides = size.split("x") if isinstance(size, str) else []
    if len(sides) != 2 or not all(side.isdigit() and 64 <= int(side) <= 4096 for side in sides):
        raise invalid("size", "size must be like 1024x1024")
    return int(sides[0]), int(sides[1])


SERVICE = HuggingFace
