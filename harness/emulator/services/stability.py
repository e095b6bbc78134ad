"""Stability AI's Stable Image: multipart in, bytes or base64 out, filtered pictures blurred."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import replace

from PIL import Image, ImageFilter

from harness.emulator.exchange import Answer, Asked, Problem, answer_json, invalid
from harness.emulator.pictures import encode
from harness.emulator.service import Pic, Service, read_choice, read_text, route
from harness.emulator.services.replicate import megapixel

RATIOS = ("16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21")
MOST_SEED = 4_294_967_294
NAMES = {
    "missing_key": "unauthorized",
    "auth": "unauthorized",
    "quota": "payment_required",
    "forbidden": "permission_denied",
    "retired": "not_found",
    "not_found": "not_found",
    "invalid": "bad_request",
    "rate": "rate_limit_exceeded",
    "error": "internal_error",
    "unavailable": "service_unavailable",
}
FLAGGED = "Your request was flagged by our content moderation system, as a result your request was denied"


class Stability(Service):
    forms = ("refused", "refused_output", "refused_blurred")
    lacks = frozenset({"rate_quota"})  # an empty account is told otherwise
    replies = (("/v1/user/balance", {"credits": 100.0}),)

    @route("POST", "/v2beta/stable-image/generate/(?P<model>[^/]+)", paid=True)
    def generate(self, asked: Asked, model: str) -> Answer:
        self.check_model(model, ("core", "ultra", "sd3"))
        if asked.mime != "multipart/form-data":
            raise invalid("content-type", "must be multipart/form-data")
        accept = asked.headers.get("accept", "*/*")
        if accept not in ("image/*", "application/json", "*/*"):
            raise invalid("accept", "must be one of image/*, application/json")
        form = asked.payload
        prompt, seed = read_text(form, "prompt", most=10_000), read_digits(form, "seed")
        read_text(form, "negative_prompt", least=1, most=10_000, default="-")
        width, height = megapixel(read_choice(form, "aspect_ratio", RATIOS, "1:1"))
        mime = f"image/{read_choice(form, 'output_format', ('jpeg', 'png', 'webp'), 'png')}"
        if asked.fault == "refused":
            return answer_json({"id": self.new_id(), "name": "content_moderation", "errors": [FLAGGED]}, 403)
        pictures = self.draw(asked, prompt, width, height, seed=seed or None, mime=mime)  # 0 is a random seed
        reason = "CONTENT_FILTERED" if asked.fault == "refused_output" else "SUCCESS"
        if not pictures:
            return answer_json({"finish_reason": reason, "seed": seed})
        picture = blur(pictures[0]) if asked.fault in ("refused_output", "refused_blurred") else pictures[0]
        if accept == "application/json":
            return answer_json({"image": picture.base64, "finish_reason": reason, "seed": picture.seed})
        headers = {"Content-Type": picture.mime, "finish-reason": reason, "seed": str(picture.seed)}
        return Answer(200, picture.data, headers)

    def problem(self, problem: Problem) -> Answer:
        error = f"{problem.field}: {problem.message}" if problem.field else problem.message
        fields = {"id": self.new_id(), "name": NAMES[problem.kind], "errors": [error]}
        return answer_json(fields | problem.retry_after, problem.http)


def read_digits(form: Mapping[str, str], name: str) -> int:
    """A whole number as a form writes it; 0 when it is absent."""
    text = form.get(name, "0")
    if not text.isascii() or not text.isdigit() or int(text) > MOST_SEED:
        raise invalid(name, f"must be between 0 and {MOST_SEED}")
    return int(text)


def blur(picture: Pic) -> Pic:
    """What the filter leaves of a picture: its colours."""
    with Image.open(io.BytesIO(picture.data)) as image:
        veiled = image.convert("RGB").filter(ImageFilter.GaussianBlur(max(image.size) / 12))
    data = encode(veiled, picture.mime)
    return replace(picture, data=data, base64=base64.b64encode(data).decode())


SERVICE = Stability
