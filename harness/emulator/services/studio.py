"""The plain contract of suites/services/studio.yaml: JSON in, base64 in JSON out."""

from __future__ import annotations

from harness.emulator.exchange import Answer, Asked, answer_json
from harness.emulator.service import Service, find_int, read_int, read_text, route


class Studio(Service):
    auth = (("x-api-key", ""),)
    forms = ("refused",)
    lacks = frozenset({"rate_quota"})  # too plain to tell the two apart

    @route("POST", "/v1/images", paid=True)
    def draw_images(self, asked: Asked) -> Answer:
        body = self.json_body(asked)
        prompt = read_text(body, "prompt")
        width, height = (read_int(body, side, 8, 4096) for side in ("width", "height"))
        self.check_model(read_text(body, "model", least=0, default=""))
        if asked.fault == "refused":
            return answer_json({"images": [], "refused": "the prompt violates the policy"})
        pictures = self.draw(asked, prompt, width, height, seed=find_int(body, "seed", 0, 2**32 - 1))
        return answer_json({"images": [picture.base64 for picture in pictures]})


SERVICE = Studio
