"""The run beside its baseline, and what all pictures of a provider say together."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from harness.report.terminal import changed_cases
from harness.report.words import Frame, Record, bar, listed, mapped, number, text, texts, two_places

CHANGES: Mapping[str, str] = {
    "regressed": "fail",
    "improved": "pass",
    "higher": "pass",
    "lower": "inconclusive",
    "unchanged": "none",
    "inconclusive": "inconclusive",
}
WEBP = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def baseline_view(frame: Frame, suite: str, baseline: Record, known: Collection[str]) -> dict[str, Any] | None:
    """How each gate provider stands against its baseline, and every case that is proven to have changed."""
    if not baseline:
        return None
    made = mapped(baseline, "made")
    return {
        "source": text(baseline.get("source"), 200),
        "made": " ".join(text(made.get(name), 40)[:10] for name in ("date", "commit")).strip(),
        "problem": text(baseline.get("problem"), 600),
        "providers": [
            held_view(frame, suite, str(name), held, known)
            for name, held in mapped(baseline, "providers").items()
            if isinstance(held, Mapping)
        ],
    }


def held_view(frame: Frame, suite: str, provider: str, held: Record, known: Collection[str]) -> dict[str, Any]:
    """One provider against its baseline."""
    cases = changed_cases({**held, "cases": listed(held, "cases")})
    return {
        "provider": text(provider, 80),
        **change_word(held.get("verdict")),
        "bar": bar(held.get("quality"), -1.0, 1.0),
        "pairs": text(held.get("pairs"), 20),
        "refused": texts(held.get("refused"), 300),
        "cases": [
            {
                "case": text(case.get("case"), 120),
                "href": frame.anchor("case", suite, case["case"]) if case.get("case") in known else "",
                **change_word(case.get("verdict")),
                "bar": bar(case, -1.0, 1.0),
                "before": two_places(case.get("before")),
                "after": two_places(case.get("after")),
                "thumb": inline_webp(mapped(case, "thumbnail").get("webp")),
            }
            for case in cases
        ],
    }


def change_word(value: Any) -> dict[str, str]:
    """A verdict on a change, as class and word."""
    known = value if isinstance(value, str) else ""
    return {"kind": CHANGES.get(known, "error"), "word": text(known, 40)}


def inline_webp(data: Any) -> str | None:
    """A baseline's thumbnail as a data URI; whatever else is in the record is no picture."""
    return f"data:image/webp;base64,{data}" if isinstance(data, str) and WEBP.fullmatch(data) else None


# --- all pictures together ---------------------------------------------------------------------------------------


def sets_view(frame: Frame, sets: Record, alarms: Record) -> list[dict[str, Any]]:
    """What each gate provider's pictures say together; copies stand beside the training pictures that they copy."""
    return [
        set_view(frame, provider, metric, mapped(group, metric), alarms.get(metric) == "fail")
        for provider, group in sets.items()
        if isinstance(group, Mapping)
        for metric in group
    ]


def set_view(frame: Frame, provider: str, metric: str, item: Record, severe: bool) -> dict[str, Any]:
    alarm, judged = bool(item.get("alarm")), bool(item.get("judged", True))
    return {
        "provider": text(provider, 80),
        "metric": text(metric, 60),
        "word": ("fail" if severe else "inconclusive") if alarm else "pass" if judged else "none",
        "means": "alarm" if alarm else "no alarm" if judged else "not judged",
        "sign": "!" if alarm else "✓" if judged else "·",
        "sentence": text(item.get("sentence"), 600),
        "pairs": [pair_view(frame, pair) for pair in listed(mapped(item, "details"), "pairs")],
    }


def pair_view(frame: Frame, pair: Record) -> dict[str, Any]:
    """A picture and the training picture that it is nearest to."""
    lines, how = number(pair.get("lines")), text(pair.get("how"), 80)
    return {
        "drawn": frame.picture(pair.get("image")),
        "training": frame.picture(pair.get("training"), shared=True),
        "about": f"{text(pair.get('case'), 80)}, seed {text(pair.get('seed'), 12)}",
        "name": text(pair.get("name"), 80) + (f", {how}" if how else ""),
        "likeness": "" if lines is None else f"{lines:.2f}",
        "copied": bool(pair.get("copied")),
    }
