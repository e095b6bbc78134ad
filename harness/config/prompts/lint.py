"""Notes on prompts that the text encoder will read otherwise than their author thinks, or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from harness.config.profile import Profile
from harness.config.prompts.order import lint_order
from harness.config.prompts.scripts import SYLLABIC, guess_language, script_of
from harness.config.prompts.syntax import lint_syntax, plain_text
from harness.config.prompts.tokens import Encoder, Piece, group_alike, spell_word, split_windows
from harness.config.prompts.trigger import trigger_pattern
from harness.core.values import Suite

WORD = re.compile(r"[^\W\d_]+")
READABLE = 1.5  # letters a token: English has 5 in CLIP, Spanish 3, Russian 0.9
READABLE_SYLLABLES = 1.0  # the same, where a character is a syllable or a word: Chinese has 0.4 in CLIP
READABLE_EMOJI = 0.5  # one token is read; the four bytes of one are not
ENGLISH = 3.7  # letters a token; in CLIP English has 4.1 to 5.3, German, French, Spanish and Italian 2.5 to 3.4
ENOUGH = 6  # words of three letters and more; fewer tell nothing
LONG_TRIGGER = 8  # tokens
SHOWN, SAMPLE = 80, 24  # characters of a lost end, and of what cannot be read
ALIKE = frozenset({"Latin", "Cyrillic", "Greek"})  # scripts that share the shapes of letters


def lint_prompts(suite: Suite, profile: Profile, encoders: Sequence[Encoder] = ()) -> list[str]:
    """Notes on every prompt and negative of a suite; those that need tokens only with `encoders`."""
    weighted, trigger = profile.prompts == "weighted", suite.subject.trigger
    local = any(profile.providers[name].adapter == "local" for name in suite.providers if name in profile.providers)
    rough = local and not encoders
    encoders = encoders if local else ()  # services have encoders of their own
    notes = [f"trigger: {note}" for note in lint_trigger_tokens(trigger, encoders)]
    for where, text, own in texts_of(suite, profile):
        result = list(lint_trigger(plain_text(text) if weighted else text, own)) if own else []
        result += lint_prompt(text, own, encoders, weighted=weighted)
        result += lint_scripts_roughly(text, own) if rough else ()
        result += lint_order(plain_text(text) if weighted else text, own, profile.vocabulary) if own else ()
        notes += [f"{where}: {note}" for note in result]
    return notes


def texts_of(suite: Suite, profile: Profile) -> Iterator[tuple[str, str, str]]:
    """Where it stands, the text, and the trigger that it must hold: every prompt, and each negative once, without."""
    seen: set[str] = set()
    for case in suite.cases:
        where = f"line {case.line}: {case.id}"
        yield where, case.prompt, suite.subject.trigger
        negative = case.negative or suite.negative or profile.negative
        if negative and negative not in seen:
            seen.add(negative)
            owner = where if case.negative else "the suite" if suite.negative else f"profile {profile.name}"
            yield f"{owner}: negative", negative, ""


def lint_prompt(text: str, trigger: str, encoders: Sequence[Encoder], *, weighted: bool) -> Iterator[str]:
    """One prompt's notes: its syntax, then how each encoder reads it; those that read alike are named once."""
    yield from lint_syntax(text, weighted=weighted)
    message = plain_text(text) if weighted else text
    yield from lint_mixed_words(message)
    groups = group_alike(encoders, message)
    for names, encoder, pieces in groups:
        notes = [*lint_window(message, pieces, encoder, trigger, weighted=weighted)]
        notes += lint_scripts(message, pieces, trigger)
        notes += lint_words(message, pieces, encoder, trigger)
        yield from (f"{names}: {note}" if len(groups) > 1 else note for note in notes)


# --- the trigger ------------------------------------------------------------------------------------------------------


def lint_trigger(prompt: str, trigger: str) -> Iterator[str]:
    """The trigger is in the prompt, whole and as it was trained."""
    text, wanted = prompt.lower(), trigger.lower()
    if re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", text):
        return
    words = re.findall(r"\w+", wanted)
    if wanted in text:
        yield f"{trigger!r} is joined to other letters, so the LoRA may not answer; put spaces around it"
    elif words and set(words) <= set(re.findall(r"[^\W_]+", text)):
        yield f"the trigger is broken up, so the LoRA may not answer; write {trigger!r} in one piece"
    else:
        yield "does not say {trigger}, so the LoRA may not answer"


def lint_trigger_tokens(trigger: str, encoders: Sequence[Encoder]) -> Iterator[str]:
    """A trigger of many tokens takes their places from the prompt."""
    for _, encoder, pieces in group_alike(encoders, trigger)[:1]:
        if len(pieces) > LONG_TRIGGER:
            yield f"takes {len(pieces)} of {encoder.room} tokens; a short Latin word takes 1 to 4"


def spans_of(text: str, trigger: str) -> list[tuple[int, int]]:
    """Where the trigger stands."""
    return [match.span() for match in trigger_pattern(trigger).finditer(text)] if trigger else []


# --- the window -------------------------------------------------------------------------------------------------------


def lint_window(text: str, pieces: Sequence[Piece], encoder: Encoder, trigger: str, *, weighted: bool) -> Iterator[str]:
    """What lies beyond the window, and whether the trigger does."""
    over = len(pieces) - encoder.room
    if over <= 0:
        return
    if weighted:
        count = len(split_windows(pieces, encoder.room))
        pooled = f"the pooled vector sees the first {encoder.room}"
        yield f"{len(pieces)} tokens are read in {count} windows of {encoder.room}; {pooled}"
        return
    start = cut_at(text, pieces, encoder.room)
    lost = shorten(" ".join(text[start:].split()), SHOWN)
    remedy = "shorten the prompt, or set `prompts: weighted`"
    yield f"longer than the encoder's {encoder.window} tokens by {over}; its end is lost ({lost!r}): {remedy}"
    spans = spans_of(text, trigger)
    if spans and spans[0][1] > start:
        yield "the trigger is among what is lost; say it first"


def cut_at(text: str, pieces: Sequence[Piece], room: int) -> int:
    """The first character that is lost; a word that is cut in two is lost whole."""
    start = pieces[room].start
    while start and text[start - 1].isalpha() and text[start].isalpha():
        start -= 1
    return start


def shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most].rstrip()}..."


# --- words ------------------------------------------------------------------------------------------------------------


def lint_scripts(text: str, pieces: Sequence[Piece], trigger: str) -> Iterator[str]:
    """Scripts whose words fall apart into scraps; the trigger is left out, because the LoRA learns its scraps."""
    for script, result in scripts_of(text, trigger).items():
        own = set(result)
        count = sum(any(place in own for place in range(piece.start, piece.end)) for piece in pieces)
        least = READABLE_EMOJI if script == "emoji" else READABLE_SYLLABLES if script in SYLLABIC else READABLE
        if script != "Latin" and len(result) < least * count:
            written = f"{len(result)} character{'s' * (len(result) > 1)}"
            yield f"{describe(text, script, result)}: {written} fall apart into {count} scraps; say it in English"


def lint_scripts_roughly(text: str, trigger: str) -> Iterator[str]:
    """The same without a tokenizer, for the encoders that most models have."""
    for script, result in scripts_of(text, trigger).items():
        if script not in ("Latin", "emoji"):
            yield f"{describe(text, script, result)}, which CLIP cannot read; say it in English"


def describe(text: str, script: str, places: Sequence[int]) -> str:
    """What stands there, in which script and likely which language."""
    own = set(places)
    words = [match[0] for match in re.finditer(r"\S+", text) if own & set(range(*match.span()))]
    language = guess_language(script, "".join(text[place] for place in places))
    shown = shorten(" ".join(words).strip(",.;:"), SAMPLE)
    return f"{shown!r} is {script} ({language}, it seems)" if language else f"{shown!r} is {script}"


def scripts_of(text: str, trigger: str) -> dict[str, list[int]]:
    """Script to the places of its characters, without the trigger's."""
    mixed = [match.span() for match in WORD.finditer(text) if is_mixed(match[0])]  # have a note of their own
    hidden = {place for start, end in [*spans_of(text, trigger), *mixed] for place in range(start, end)}
    places: dict[str, list[int]] = {}
    for place, char in enumerate(text):
        script = script_of(char)
        if script and place not in hidden:
            places.setdefault(script, []).append(place)
    if "Kana" in places and "Han" in places:  # Japanese writes with both
        places["Kana"] += places.pop("Han")
    return places


def lint_mixed_words(text: str) -> Iterator[str]:
    """Words with look-alike letters of another script: right to the eye, wrong to the encoder."""
    for match in WORD.finditer(text):
        if is_mixed(match[0]):
            scripts = sorted({script_of(char) for char in match[0]} & ALIKE)
            yield f"{match[0]!r} mixes {' and '.join(scripts)} letters that look alike; type it anew"


def is_mixed(word: str) -> bool:
    return len({script_of(char) for char in word} & ALIKE) > 1


def lint_words(text: str, pieces: Sequence[Piece], encoder: Encoder, trigger: str) -> Iterator[str]:
    """Words that a small vocabulary does not hold; for a large one, whether this is English at all."""
    spans = spans_of(text, trigger)
    words: dict[str, list[Piece]] = {}
    for match in WORD.finditer(text):
        inside = any(start <= match.start() < end for start, end in spans)
        if not inside and all(script_of(char) == "Latin" for char in match[0]):
            words[match[0].lower()] = [p for p in pieces if match.start() <= p.start and p.end <= match.end()]
    if encoder.closed:
        lost = {word: own for word, own in words.items() if len(own) > 1}
        if lost:
            shown = [f"{word} ({spell_word(text, own)})" for word, own in sorted(lost.items())]
            yield f"the profile's small models do not know {', '.join(shown)}"
        return
    telling = {word: own for word, own in words.items() if len(word) > 2}
    letters, count = sum(map(len, telling)), sum(map(len, telling.values()))
    if len(telling) >= ENOUGH and letters < ENGLISH * count:
        yield f"hardly English, which the encoder learnt: {letters / count:.1f} letters a token instead of about 5"
