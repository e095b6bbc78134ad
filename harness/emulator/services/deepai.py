"""DeepAI: a form in, an address out."""

from __future__ import annotations

import io
from collections.abc import Mapping

from PIL import Image

from harness.emulator.exchange import Answer, Asked, Problem, answer_json, invalid
from harness.emulator.pictures import encode
from harness.emulator.service import Pic, Service, read_choice, read_text, route

VERSIONS = ("standard", "hd", "genius", "super_genius")
PREFERENCES = ("anime", "photography", "graphic", "cinematic")
LEAST, MOST, STEP, USUAL = 128, 1536, 32, 512  # pixels of a side


class DeepAi(Service):
    """Numbers are strings here, errors are said under `status` or `err`, and there is no seed."""

    auth = (("api-key", ""),)
    delivers = ("url",)
    forms = ("refused", "relative_url", "grid", "inline_err")
    lacks = frozenset({"rate_quota", "retired"})  # a 429 is a 429, and there is one model

    def problem(self, problem: Problem) -> Answer:
        if problem.kind == "missing_key":
            fields = {"status": "Please pass a valid Api-Key in a HTTP header to use this API."}
            return answer_json(fields, problem.http)
        if problem.kind == "invalid":
            return answer_json({"err": problem.message}, problem.http)
        return answer_json({"status": problem.message, **problem.retry_after}, problem.http)

    @route("POST", "/api/text2img", paid=True)
    def text2img(self, asked: Asked) -> Answer:
        if asked.malformed:
            raise invalid("", "could not read the form")
        form = asked.payload
        prompt = read_text(form, "text")
        if prompt.strip().lower().startswith(("http://", "https://")):
            raise invalid("text", "could not fetch the text at that URL")
        width, height = read_side(form, "width"), read_side(form, "height")
        check_version(form)
        if asked.fault == "refused":
            return answer_json({"id": self.new_id(), "err": "Text contains content that violates our policy: nsfw"})
        if asked.fault == "inline_err":
            return answer_json({"id": self.new_id(), "err": "Error occurred while processing your request"})
        number = self.new_id()
        many = 4 if asked.fault == "grid" or read_choice(form, "grid_size", ("1", "2"), "2") == "2" else 1
        pictures = self.draw(asked, prompt, width, height, count=many, mime="image/jpeg")
        if not pictures:
            return answer_json({"id": number, "output_url": None})
        sheet = many == 4 and asked.fault in ("ok", "grid")
        picture = collage(pictures, width, height) if sheet else pictures[0]
        url = self.publish(asked, picture)
        return answer_json({"id": number, "output_url": url, "backend_request_id": number, "nsfw_score": 0.01})


def read_side(form: Mapping[str, object], name: str) -> int:
    """One side in pixels, said as a string: 128 to 1536, a multiple of 32."""
    text = str(form.get(name, USUAL))
    if not text.isdigit() or not LEAST <= int(text) <= MOST or int(text) % STEP:
        raise invalid(name, f"{name} must be a multiple of {STEP} between {LEAST} and {MOST}")
    return int(text)


def check_version(form: Mapping[str, object]) -> None:
    version = read_choice(form, "image_generator_version", VERSIONS, "standard")
    if read_choice(form, "genius_preference", PREFERENCES, "") and version != "genius":
        raise invalid("genius_preference", "genius_preference needs image_generator_version genius")
    if read_choice(form, "resolution", ("2k", "4k"), "") and version != "super_genius":
        raise invalid("resolution", "resolution needs image_generator_version super_genius")


def collage(pictures: list[Pic], width: int, height: int) -> Pic:
    """Four pictures in two rows: twice as wide and as high as was asked for.

    The emulator's scale does not apply: a client knows a sheet by its size alone.
    """
    first = pictures[0]
    sheet = Image.new("RGB", (2 * width, 2 * height))
    for place, picture in enumerate(pictures):
        part = Image.open(io.BytesIO(picture.data)).convert("RGB").resize((width, height))
        sheet.paste(part, (place % 2 * width, place // 2 * height))
    return Pic(encode(sheet, first.mime), first.mime, "", sheet.width, sheet.height, first.seed)


SERVICE = DeepAi
