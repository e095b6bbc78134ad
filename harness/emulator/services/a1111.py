"""AUTOMATIC1111's web UI and Forge: `txt2img`, base64, the seed in a JSON text called `info`."""

from __future__ import annotations

import json
from collections.abc import Mapping

from harness.emulator.exchange import Answer, Asked, Problem, Rejected, answer_json, invalid
from harness.emulator.service import Service, read_bool, read_int, read_number, read_text, route

SAMPLERS = ("Euler", "Euler a", "DPM++ 2M", "DPM++ SDE", "Heun", "LMS", "DDIM", "UniPC")
SCHEDULERS = ("Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "Simple", "Beta")
"""By label or by name, in any case: the web UI's clients write `automatic`."""
NAME = "sd_xl_base_1.0"
CHECKPOINT = f"{NAME}.safetensors"
MODEL_HASH = "31e35c80fc"


class A1111(Service):
    auth = ()
    lacks = frozenset({"auth", "forbidden", "quota", "rate_quota", "retired"})  # it is one's own machine
    replies = (
        ("/sdapi/v1/options", {"sd_model_checkpoint": CHECKPOINT, "CLIP_stop_at_last_layers": 1}),
        ("/sdapi/v1/sd-models", [{"title": f"{CHECKPOINT} [{MODEL_HASH}]", "model_name": NAME, "hash": MODEL_HASH}]),
        ("/sdapi/v1/samplers", [{"name": name, "aliases": [], "options": {}} for name in SAMPLERS]),
        (
            "/sdapi/v1/schedulers",
            [{"name": name.lower().replace(" ", "_"), "label": name, "aliases": []} for name in SCHEDULERS],
        ),
        ("/sdapi/v1/loras", []),
        ("/sdapi/v1/upscalers", [{"name": "None", "model_name": None, "scale": 4}]),
        ("/sdapi/v1/sd-vae", []),
        ("/sdapi/v1/scripts", {"txt2img": [], "img2img": []}),
        ("/sdapi/v1/cmd-flags", {"api": True}),
        ("/sdapi/v1/progress", {"progress": 0.0, "eta_relative": 0.0, "state": {"job_count": 0}}),
        ("/sdapi/v1/memory", {"ram": {}, "cuda": {}}),
        ("/sdapi/v1/embeddings", {"loaded": {}, "skipped": {}}),
        ("/sdapi/v1/prompt-styles", []),
    )

    @route("POST", "/sdapi/v1/txt2img", paid=True)
    def draw_images(self, asked: Asked) -> Answer:
        body = self.json_body(asked)
        prompt = read_text(body, "prompt", least=0, default="")
        width, height = (read_int(body, side, 64, 2048, 512) for side in ("width", "height"))
        rounds = read_int(body, "n_iter", 1, 100, 1)
        seed, count = read_int(body, "seed", -1, 2**64 - 1, -1), read_int(body, "batch_size", 1, 8, 1)
        steps, scale = read_int(body, "steps", 1, 150, 50), read_number(body, "cfg_scale", 1, 30, 7)
        read_text(body, "negative_prompt", least=0, default="")
        read_bool(body, "send_images", True)
        sampler = body.get("sampler_name") or "Euler"
        if str(sampler).lower() not in map(str.lower, SAMPLERS):
            raise Rejected(Problem("not_found", "Sampler not found"))
        scheduler = read_scheduler(body)
        pictures = self.draw(asked, prompt, width, height, seed=None if seed == -1 else seed, count=count * rounds)
        if not body.get("send_images", True):
            pictures = []
        seeds = [picture.seed for picture in pictures]
        first = seeds[0] if seeds else -1
        drawn = f"Steps: {steps}, Sampler: {sampler}, Schedule type: {scheduler}, CFG scale: {scale:g}, Seed: {first}"
        message = f"{prompt}\n{drawn}"
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

    @route("POST", "/sdapi/v1/options")
    def set_options(self, asked: Asked) -> Answer:
        self.json_body(asked)
        return answer_json(None)

    @route("POST", "/sdapi/v1/(?:interrupt|skip|refresh-checkpoints|refresh-loras)")
    def accept(self, asked: Asked) -> Answer:
        return answer_json(None)

    def problem(self, problem: Problem) -> Answer:
        """FastAPI's forms, and the web UI's own for what breaks inside."""
        if problem.kind == "invalid":
            where = {"loc": ["body", problem.field], "msg": problem.message, "type": "value_error"}
            return answer_json({"detail": [where]}, problem.status or 422)
        if problem.kind == "error":
            broken: dict[str, object] = {"error": "RuntimeError", "detail": "", "body": "", "errors": problem.message}
            return answer_json(broken, 500)
        return answer_json({"detail": problem.message}, problem.http)


def read_scheduler(body: Mapping[str, object]) -> str:
    """A scheduler's label; the web UI finds it by label or name in any case, and takes what it does not know for none.

    A wrong one is turned away here all the same: a picture by another scheduler than the profile's is not the one asked
    for.
    """
    said = body.get("scheduler") or "Automatic"
    if not isinstance(said, str):
        raise invalid("scheduler", "scheduler must be a string")
    for label in SCHEDULERS:
        if said.lower().replace("_", " ") == label.lower():
            return label
    raise invalid("scheduler", f"scheduler must be one of {', '.join(SCHEDULERS)}")


SERVICE = A1111
