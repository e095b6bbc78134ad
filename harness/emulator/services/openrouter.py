"""OpenRouter's image API: one form for all models, base64 in, whichever format each provider behind it draws.

After the service's own pages; which of its models keep to a seed could not be checked. A refusal's form is the one
that its chat has (`403` with moderation reasons).
"""

from __future__ import annotations

from harness.emulator.exchange import Answer, Asked, Problem, answer_json
from harness.emulator.service import Service, find_int, read_choice, read_int, read_text, route
from harness.emulator.services.replicate import megapixel

RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
FLAGGED = {"reasons": ["violence"], "flagged_input": "a person", "provider_name": "Emulated"}


class OpenRouter(Service):
    forms = ("refused",)
    lacks = frozenset({"rate_quota"})  # an empty account is a 402
    replies = (("/api/v1/key", {"data": {"label": "emulated", "limit": None, "usage": 0.0}}),)

    @route("GET", "/api/v1/images/models")
    def list_models(self, asked: Asked) -> Answer:
        return answer_json({"data": [{"id": name} for name in self.models()]})

    @route("POST", "/api/v1/images", paid=True)
    def draw_images(self, asked: Asked) -> Answer:
        body = self.json_body(asked)
        prompt, model = read_text(body, "prompt"), read_text(body, "model")
        self.check_model(model)
        width, height = megapixel(read_choice(body, "aspect_ratio", RATIOS, "1:1"))
        count, seed = read_int(body, "n", 1, 10, 1), find_int(body, "seed", 0, 2**31 - 1)
        mime = f"image/{read_choice(body, 'output_format', ('png', 'jpeg', 'webp'), 'png')}"
        if asked.fault == "refused":
            error = {"code": 403, "message": "Your input was flagged", "metadata": FLAGGED}
            return answer_json({"error": error}, 403)
        pictures = self.draw(asked, prompt, width, height, seed=seed, count=count, mime=mime)
        data = [{"b64_json": picture.base64, "media_type": picture.mime} for picture in pictures]
        return answer_json({"created": 1_790_000_000, "data": data, "usage": {"cost": 0.04}})

    def problem(self, problem: Problem) -> Answer:
        error: dict[str, object] = {"code": problem.http, "message": problem.message}
        return answer_json({"error": error | problem.retry_after}, problem.http)


SERVICE = OpenRouter
