"""AUTOMATIC1111's web UI and Forge: `txt2img`, base64, the seed in a JSON text called `info`."""

from __future__ import annotations

import json

from harness.emulator.exchange import Answer, Asked, Problem, Rejected, answer_json
from harness.emulator.service import Service, read_bool, read_choice, read_int, read_number, read_text, route

SAMPLERS = ("Euler", "Euler a", "DPM++ 2M", "DPM++ SDE", "Heun", "LMS", "DDIM", "UniPC")
NAME = "sd_xl_base_1.0"
CHECKPOINT = f"{NAME}.safetensors"
MODEL_HASH = "31e35c80fc"


class A1111(Service):
    auth = ()
    lacks = frozenset({"auth", "forbidden", "quota", "rate_quota", "retired"})  # it is one's own machine
    replies = (
        ("/sdapi/v1/options", {"sd_model_checkpoint": CHECKPOINT, "CLIP_stop_at_last_layers": 1}),
        ("/sdapi/v1/sd-models", [{"title": f"{CHECKPOINT} [{MODEL_HASH}]", "model_name": NAME, "hash": MODEL_HASH}]),
    )

    @route("POST", "/sdapi/v1/txt2img", paid=True)
    def draw_images(self, asked: Asked) -> Answer:
        body = self.json_body(asked)
        prompt = read_text(body, "prompt", least=0, default="")
        width, height = (read_int(body, side, 64, 2048, 512) for side in ("width", "height"))
        seed, count = read_int(body, "seed", -1, 2**64 - 1, -1), read_int(body, "batch_size", 1, 8, 1)
        steps, scale = read_int(body, "steps", 1, 150, 50), read_number(body, "cfg_scale", 1, 30, 7)
        read_text(body, "negative_prompt", least=0, default="")
        read_bool(body, "send_images", True)
        sampler = body.get("sampler_name", "Euler")
        if sampler not in SAMPLERS:
            raise Rejected(Problem("not_found", "Sampler not found"))
        read_choice(body, "scheduler", ("Automatic", "Karras", "Exponential", "Uniform"), "Automatic")
        pictures = self.draw(asked, prompt, width, height, seed=None if seed == -1 else seed, count=count)
        seeds = [picture.seed for picture in pictures]
        first = seeds[0] if seeds else -1
        message = f"{prompt}\nSteps: {steps}, Sampler: {sampler}, CFG scale: {scale:g}, Seed: {first}"
        info = {
            "prompt": prompt,
            "seed": first,
            "all_seeds": seeds,
            "sd_model_name": NAME,
            "sd_model_hash": MODEL_HASH,
            "infotexts": [message] * len(pictures),
        }
        images = [picture.base64 for picture in pictures]
        return answer_json({"images": images, "parameters": dict(body), "info": json.dumps(info)})

    def problem(self, problem: Problem) -> Answer:
        """FastAPI's forms, and the web UI's own for what breaks inside."""
        if problem.kind == "invalid":
            where = {"loc": ["body", problem.field], "msg": problem.message, "type": "value_error"}
            return answer_json({"detail": [where]}, problem.status or 422)
        if problem.kind == "error":
            broken: dict[str, object] = {"error": "RuntimeError", "detail": "", "body": "", "errors": problem.message}
            return answer_json(broken, 500)
        return answer_json({"detail": problem.message}, problem.http)


SERVICE = A1111
