"""What each kind of finding does to a LoRA, and how it is mended: one table, read by check and report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """One kind of finding in words."""

    title: str
    effect: str  # on the LoRA
    remedy: str


ADVICE: dict[str, Advice] = {
    "unreadable": Advice(
        "cannot be read", "the training stops at this file", "save the picture again as PNG or JPEG, or remove it"),
    "ignored": Advice(
        "of a format that is not read", "the picture is not used at all", "convert it to PNG, JPEG or WebP"),
    "outside": Advice("the models do not know such pictures",
        "the base cannot draw this style well, and CLIP's readings and scores of it mean nothing",
        "use a profile whose models know pictures of every kind (`--profile sdxl`), or leave out what is no such one"),
    "too_few": Advice("too few pictures",
        "the LoRA learns these pictures by heart: poses, clothes and places come back whatever the prompt says",
        "add pictures: 10 at least, 20 to 30 are good, in different places, light, views and expressions"),
    "too_many": Advice("more pictures than help",
        "steps are spread thin, and large sets are seldom even: the commonest view wins",
        "keep the 20 to 50 sharpest and most different ones"),
    "exact": Advice("the same picture twice", "the picture counts double; the LoRA is drawn towards repeating it",
        "remove all but one"),
    "near": Advice("nearly the same picture",
        "crops and re-saved copies count as more of the same; the LoRA learns that moment by heart",
        "keep the best of each group"),
    "mirrored": Advice("mirrored copy",
        "partings, scars, buttons and letters appear on both sides, so the subject becomes symmetric",
        "keep the original, remove its mirror image, and leave flip augmentation off"),
    "seen": Advice("as alike to CLIP as copies are", "where it is one picture altered, it counts double",
        "look at both, and keep one where they are the same"),
    "leak": Advice("the same picture trains and judges",
        "scores reward memory: the LoRA is asked for what it was shown, and calibration is too kind",
        "run `harness references split`; it never lets copies straddle"),
    "too_small": Advice("smaller than the training size",
        "it is enlarged, and its softness is learnt as the subject's look",
        "use the original in full size, or train at a smaller size"),
    "aspect": Advice("far from the training shape", "the crop cuts off what lies at the ends: hats, hands, feet",
        "run `harness references prepare --crop subject`, or train with buckets"),
    "blur": Advice("blurred", "softness is learnt as part of the subject; eyes and hair lose detail",
        "replace it with a sharp one"),
    "dark": Advice(
        "too dark", "noise and missing shadows are learnt; skin and clothes drift dark", "brighten it or replace it"),
    "over_exposed": Advice("over-exposed", "burnt skin has no features left to learn, and the LoRA washes faces out",
        "lower the exposure in the original, or replace it"),
    "low_contrast": Advice("flat", "a grey veil is learnt over everything", "spread the tones (levels), or replace it"),
    "low_information": Advice("nearly empty", "there is nothing to learn from it but emptiness", "remove it"),
    "backlit": Advice("subject in silhouette", "the face is a shadow; features are invented",
        "replace it with one lit from the front"),
    "borders": Advice("bars at the edges", "the LoRA draws the bars, reliably",
        "run `harness references prepare`, which cuts them off"),
    "small_subject": Advice("subject too small",
        "after resizing the face has a few pixels; identity is learnt from clothes and place instead",
        "crop to the subject: `harness references prepare --crop subject`"),
    "cut_off": Advice(
        "subject cut off", "cropped heads are learnt as the way to frame", "use a picture with room around the head"),
    "several_people": Advice("several people",
        "the LoRA mixes their features, because nothing says which of them is meant",
        "crop to the subject alone, or remove it"),
    "face_hidden": Advice("no face from the front", "a few are useful views; many leave the face unlearnt",
        "keep at most a quarter of such pictures"),
    "face_shadowed": Advice(
        "face in shadow", "features vanish in the dark and are invented", "replace it with one lit from the front"),
    "watermark": Advice("the same mark in a corner of most pictures",
        "it is the most repeated thing in the set, so the LoRA draws it in every picture",
        "use originals without it, or crop the edge off"),
    "one_value": Advice("the same everywhere",
        "what never changes becomes part of the subject: prompts for anything else are answered with it",
        "add pictures that show other values, and say the value in every caption"),
    "fixed_outfit": Advice("one outfit everywhere", "the outfit is learnt as part of the subject",
        "right for a character with a costume; for a person in any clothes add other outfits"),
    "not_the_subject": Advice("perhaps somebody else", "another person's features are mixed in",
        "look at it; remove it when it is not the subject"),
    "mixed_style": Advice("more than one style", "the LoRA learns the average of the styles, which is none of them",
        "keep the pictures of one style, or train one LoRA for each"),
    "other_look": Advice("palette or lines unlike the others", "the style is blurred towards it",
        "look at it; remove it when it is not of this style"),
    "some_captions": Advice("some pictures have no caption",
        "uncaptioned pictures teach everything they show to the trigger",
        "caption all or none: a .txt file of the same name beside each picture"),
}  # fmt: skip

STYLE_EFFECTS: dict[str, str] = {
    "too_few": "the LoRA learns the contents by heart: the same people and places come back with the style",
    "exact": "the content counts double and comes back with the style",
    "near": "the content is learnt by heart and comes back with the style",
    "mirrored": "the content is learnt twice; harmless to most styles, but it is no new content",
    "one_value": "it becomes part of the style: whatever is drawn in the style comes with it",
}
"""Where a style suffers otherwise than a character."""


def advice_for(kind: str, subject: str) -> Advice:
    """The words for a kind of finding; `subject`: "character" or "style"."""
    known = ADVICE[kind]
    effect = STYLE_EFFECTS.get(kind, known.effect) if subject == "style" else known.effect
    return Advice(known.title, effect, known.remedy)
