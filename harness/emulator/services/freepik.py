"""Freepik, now Magnific: the classic endpoint that answers at once, and Mystic, Flux and others as tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.emulator.exchange import Answer, Asked, Problem, answer_json, invalid
from harness.emulator.service import (
    Pic,
    Service,
    find_int,
    read_bool,
    read_choice,
    read_int,
    read_number,
    read_section,
    read_text,
    route,
)

SIZES: dict[str, tuple[int, int]] = {
    "square_1_1": (1024, 1024),
    "classic_4_3": (1280, 960),
    "traditional_3_4": (960, 1280),
    "widescreen_16_9": (1344, 768),
    "social_story_9_16": (768, 1344),
    "smartphone_horizontal_20_9": (1440, 640),
    "smartphone_vertical_9_20": (640, 1440),
    "standard_3_2": (1248, 832),
    "portrait_2_3": (832, 1248),
    "horizontal_2_1": (1408, 704),
    "vertical_1_2": (704, 1408),
    "social_5_4": (1120, 896),
    "social_post_4_5": (896, 1120),
}
"""The documented names of shapes; their pixels are ours, since no document has them."""
FIVE = ("square_1_1", "social_story_9_16", "widescreen_16_9", "traditional_3_4", "classic_4_3")
SEVEN = (*FIVE, "standard_3_2", "portrait_2_3")
TEN = (*SEVEN, "horizontal_2_1", "vertical_1_2", "social_post_4_5")
"""The shapes of models that have fewer. The documents at hand give their number and list the five alone; seven and ten
are what third parties send."""
CINEMATIC = {"cinematic_21_9": (1512, 648)}  # of one model alone
MOST_SEED = 4_294_967_295
STYLES = (
    *("photo", "digital-art", "3d", "painting", "low-poly", "pixel-art", "anime", "cyberpunk"),
    *("comic", "vintage", "cartoon", "vector", "studio-shot", "dark", "sketch", "mockup"),
    *("2000s-pone", "70s-vibe", "watercolor", "art-nouveau", "origami", "surreal", "fantasy", "traditional-japan"),
)
FLUX_EFFECTS: dict[str, tuple[str, ...]] = {
    "color": ("softhue", "b&w", "goldglow", "vibrant", "coldneon"),
    "framing": ("portrait", "lowangle", "midshot", "wideshot", "tiltshot", "aerial"),
    "lightning": ("iridescent", "dramatic", "goldenhour", "longexposure", "indorlight", "flash", "neon"),
}
PEOPLE = ("dont_allow", "allow_adult", "allow_all")
BLOCKS = ("block_low_and_above", "block_medium_and_above", "block_only_high", "block_none")
MODELS = ("realism", "fluid", "zen", "flexible", "super_real", "editorial_portraits")
ENGINES = ("automatic", "magnific_illusio", "magnific_sharpy", "magnific_sparkle")
RESOLUTIONS = {"1k": 1.0, "2k": 2.0, "4k": 4.0}
OTHER = r"/v1/ai/text-to-image/(?P<model>[\w-]+)"
WORDS = {"waiting": "CREATED", "running": "IN_PROGRESS", "unknown": "UPSCALING", "done": "COMPLETED"}
WORDS |= {"failed": "FAILED", "refused": "COMPLETED"}


@dataclass(frozen=True)
class Takes:
    """What one task model takes; without a document of it, any shape and any seed."""

    shapes: tuple[str, ...] = tuple(SIZES)
    seeds: tuple[int, int] = (0, MOST_SEED)
    longest: int = 100_000  # characters of a prompt


TASKS: dict[str, Takes] = {
    "flux-dev": Takes(TEN, (1, MOST_SEED)),
    "imagen4-fast": Takes(FIVE, (1, MOST_SEED)),
    "seedream-v4": Takes(SEVEN, (0, 2_147_483_647)),
    "seedream-v4-5": Takes((*SEVEN, *CINEMATIC), longest=4096),
}
"""The models whose documents say more than the prompt."""


class Freepik(Service):
    """Two header names, one body; a body of another Content-Type is ignored, not rejected."""

    auth = (("x-magnific-api-key", ""), ("x-freepik-api-key", ""))
    delivers = ("base64", "url")
    tasks = True
    forms = ("refused", "refused_nsfw", "unwrapped")
    lacks = frozenset({"rate_quota"})  # a 429 is a 429: the documents know no other
    replies = (("/v1/ai/mystic", {"data": []}),)  # the cheapest call there is

    def problem(self, problem: Problem) -> Answer:
        if problem.kind == "invalid" and problem.field:
            fields = {
                "message": "Validation error",
                "invalid_params": [{"name": problem.field, "reason": problem.message}],
            }
            return answer_json(fields, problem.http, {"Content-Type": "application/problem+json"})
        return answer_json({"message": problem.message, **problem.retry_after}, problem.http)

    @route("POST", "/v1/ai/text-to-image", paid=True)
    def classic(self, asked: Asked) -> Answer:
        """One answer with base64."""
        body = fields_of(asked)
        prompt = read_text(body, "prompt", least=3)
        read_text(body, "negative_prompt", least=3, default="")
        count = read_int(body, "num_images", 1, 4, 1)
        seed = read_int(body, "seed", -1, 1_000_000, -1)
        guidance = read_number(body, "guidance_scale", 0, 2, 1.0)
        steps = read_int(body, "num_inference_steps", 1, 50, 8)
        size = read_choice(read_section(body, "image"), "size", [*SIZES, "square"], "square_1_1")
        check_styling(read_section(body, "styling"))
        read_bool(body, "filter_nsfw", True)
        width, height = SIZES.get(size, SIZES["square_1_1"])
        pictures = self.draw(asked, prompt, width, height, seed=None if seed == -1 else seed, count=count)
        meta = {
            "image": {"size": size, "width": width, "height": height},
            "seed": pictures[0].seed % 1_000_001 if pictures else max(seed, 0),
            "guidance_scale": guidance,
            "prompt": prompt,
            "num_inference_steps": steps,
        }
        return answer_json({"data": [classic_entry(asked, picture) for picture in pictures], "meta": meta})

    @route("POST", "/v1/ai/mystic", paid=True)
    def mystic(self, asked: Asked) -> Answer:
        """A task. There is no seed; `fixed_generation` is the one way to the same picture again."""
        body = fields_of(asked)
        prompt = read_text(body, "prompt", least=0, default="") or "a person"
        model = read_choice(body, "model", MODELS, "realism")
        shape = read_choice(body, "aspect_ratio", FIVE if model == "fluid" else tuple(SIZES), "square_1_1")
        factor = RESOLUTIONS[read_choice(body, "resolution", tuple(RESOLUTIONS), "2k")]
        read_choice(body, "engine", ENGINES, "automatic")
        for name, usual in (("creative_detailing", 33), ("structure_strength", 50), ("adherence", 50), ("hdr", 50)):
            read_int(body, name, 0, 100, usual)
        fixed = read_bool(body, "fixed_generation", False)
        check_styling(read_section(body, "styling"))
        width, height = (round(side * factor) for side in SIZES[shape])
        return self.submit(asked, prompt, width, height, 1 if fixed else None)

    @route("POST", OTHER, paid=True)
    def task(self, asked: Asked, model: str) -> Answer:
        """A task of another model."""
        self.check_model(model, ("flux-", "hyperflux", "seedream-", "z-image", "imagen4-fast"))
        takes, body = TASKS.get(model, Takes()), fields_of(asked)
        prompt = read_text(body, "prompt", most=takes.longest)
        shape = read_choice(body, "aspect_ratio", takes.shapes, "square_1_1")
        seed = find_int(body, "seed", *takes.seeds)
        mime = check_extras(model, body)
        width, height = (SIZES | CINEMATIC)[shape]
        return self.submit(asked, prompt, width, height, seed, mime)

    def submit(
        self, asked: Asked, prompt: str, width: int, height: int, seed: int | None, mime: str = "image/jpeg"
    ) -> Answer:
        seed = self.sample_seed(asked) if seed is None else seed
        task = self.start(asked, lambda: self.paint(asked, prompt, width, height, seed, 1, mime))
        if asked.fault == "unwrapped":  # one revision of the documents has it so
            return answer_json({"task_id": task.id, "task_status": "CREATED"})
        return answer_json({"data": {"task_id": task.id, "status": "CREATED", "generated": []}})

    @route("GET", OTHER + r"/(?P<task_id>[\w-]+)")
    @route("GET", r"/v1/ai/mystic/(?P<task_id>[\w-]+)")
    def poll(self, asked: Asked, task_id: str, model: str = "") -> Answer:
        state, task = self.look(task_id)
        data: dict[str, object] = {"task_id": task.id, "status": WORDS[state], "generated": []}
        if state in ("done", "refused"):
            withheld = state == "refused" or task.asked.fault == "refused"
            pictures = [] if withheld else task.pictures or []
            data["generated"] = [self.publish(task.asked, picture) for picture in pictures]
            data["has_nsfw"] = [True] if withheld else [task.asked.fault == "refused_nsfw"] * len(pictures)
        return answer_json(data if task.asked.fault == "unwrapped" else {"data": data})


def fields_of(asked: Asked) -> Mapping[str, object]:
    """The JSON object; nothing at all when the Content-Type says otherwise."""
    if asked.malformed:
        raise invalid("", "Invalid JSON body")
    return asked.payload if asked.mime == "application/json" else {}


def check_styling(styling: Mapping[str, object]) -> None:
    read_choice(styling, "style", STYLES, "")
    colors = styling.get("colors", [])
    if not isinstance(colors, list) or len(colors) > 5:
        raise invalid("styling.colors", "colors must be a list of at most 5")
    for color in colors:
        read_number(color, "weight", 0.05, 1, 1)


def check_extras(model: str, body: Mapping[str, object]) -> str:
    """What a task model takes besides; the MIME type of its picture."""
    check_styling(read_section(body, "styling"))
    if model == "flux-dev":
        effects = read_section(read_section(body, "styling"), "effects")
        for name, known in FLUX_EFFECTS.items():
            read_choice(effects, name, known, "")
    if model == "flux-pro-v1-1":
        read_int(body, "safety_tolerance", 0, 6, 2)
        return f"image/{read_choice(body, 'output_format', ('jpeg', 'png'), 'jpeg')}"
    if model == "imagen4-fast":
        return check_imagen(body)
    if model == "seedream-v4":
        read_number(body, "guidance_scale", 0, 20, 2.5)
    if model.startswith("seedream-"):
        references = body.get("reference_images", [])
        if not isinstance(references, list) or len(references) > 5:
            raise invalid("reference_images", "reference_images must be a list of at most 5")
    return "image/jpeg"


def check_imagen(body: Mapping[str, object]) -> str:
    """Imagen's own fields; a seed and a rewritten prompt exclude each other."""
    if read_bool(body, "enhance_prompt", False) and body.get("seed") is not None:
        raise invalid("seed", "seed cannot be used together with enhance_prompt")
    read_choice(body, "person_generation", PEOPLE, "allow_adult")
    read_choice(body, "safety_settings", BLOCKS, "block_medium_and_above")
    options = read_section(body, "output_options")
    read_int(options, "compression_quality", 0, 100, 75)
    return read_choice(options, "mime_type", ("image/png", "image/jpeg"), "image/jpeg")


def classic_entry(asked: Asked, picture: Pic) -> dict[str, object]:
    """One picture of the classic reply; an unsafe one is marked, and withheld or not."""
    marked = asked.fault in ("refused", "refused_nsfw")
    return {"base64": "" if asked.fault == "refused" else picture.base64, "has_nsfw": marked}


SERVICE = Freepik
