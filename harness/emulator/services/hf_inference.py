"""Hugging Face's plain text-to-image task, of `hf-inference` and of dedicated endpoints: JSON in, bytes out.

A model that sleeps is a 503 with an estimate. `hf-inference` itself is mostly for models that a CPU can run since July
2025; dedicated endpoints speak the same.
"""

from __future__ import annotations

from PIL import Image

from harness.emulator.exchange import Answer, Asked, Problem, answer_json
from harness.emulator.pictures import encode
from harness.emulator.service import Service, find_int, read_int, read_number, read_section, read_text, route


class HfInference(Service):
    delivers = ("bytes",)
    forms = ("refused", "refused_black")
    lacks = frozenset({"rate_quota"})  # an empty account is told otherwise

    @route("POST", "/hf-inference/models/(?P<model>[^/]+/[^/]+)", paid=True)
    def draw_image(self, asked: Asked, model: str) -> Answer:
        self.check_model(model)
        body = self.json_body(asked)
        prompt, given = read_text(body, "inputs"), read_section(body, "parameters")
        width, height = (read_int(given, side, 8, 4096, 1024) for side in ("width", "height"))
        read_int(given, "num_inference_steps", 1, 500, 28)
        read_number(given, "guidance_scale", 0, 50, 3.5)
        accept = asked.headers.get("accept", "*/*").partition(",")[0].strip()
        mime = accept if accept in ("image/png", "image/jpeg", "image/webp") else "image/jpeg"
        if asked.fault == "refused":
            return answer_json({"error": "The request was rejected: NSFW content was detected"}, 400)
        picture = self.draw(asked, prompt, width, height, seed=find_int(given, "seed", 0, 2**64 - 1), mime=mime)[0]
        data = picture.data
        if asked.fault == "refused_black":
            data = encode(Image.new("RGB", (picture.width, picture.height)), picture.mime)
        return Answer(200, data, {"Content-Type": picture.mime, "x-compute-type": "emulated"})

    def problem(self, problem: Problem) -> Answer:
        fields: dict[str, object] = {"error": problem.message}
        if problem.kind == "unavailable":
            fields = {"error": "Model is currently loading", "estimated_time": 0.05}
        if problem.kind == "retired":
            fields = {"error": "Model is not supported by provider hf-inference."}
        if problem.kind == "invalid":
            fields = {"error": [problem.message]}
        return answer_json(fields | problem.retry_after, problem.http)


SERVICE = HfInference
