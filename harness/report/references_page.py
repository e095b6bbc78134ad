"""What `harness references` found, for terminals, programs and browsers."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from harness.core.html import read_assets, render_page
from harness.core.pictures import shrink
from harness.core.values import to_record
from harness.scoring.references.analyse import Analysis
from harness.scoring.references.check import Audit, counted
from harness.scoring.references.prepare import PreparedReference

SHOWN = 6  # pictures named in one line of the terminal


def audit_record(audit: Audit) -> dict[str, Any]:
    """An audit as plain JSON data."""
    return {"version": 1, **to_record(audit), "serious": audit.serious}


def audit_text(audit: Audit) -> str:
    """An audit for the terminal."""
    return "\n".join(audit_lines(audit))


def audit_lines(audit: Audit) -> Iterator[str]:
    parts = ", ".join(f"{name} {value:.2f}" for name, value in audit.parts.items())
    lost = sum(audit.counts.values()) - len(audit.pictures)
    unread = f", {lost} more could not be read" if lost else ""
    yield f"{audit.name}: {counted(len(audit.pictures))}{unread}, score {audit.score:.2f} ({parts})"
    for item in audit.findings:
        yield ""
        yield f"{item.severity.upper():8}{item.title}: {item.reason}"
        if item.pictures:
            yield f"        pictures: {few(item.pictures)}"
        yield f"        effect:   {item.effect}"
        yield f"        remedy:   {item.remedy}"
    yield ""
    for category, shares in audit.shares.items():
        yield f"shares: {category:14}{', '.join(f'{value} {share:.0%}' for value, share in shares.items())}"
    for gap in audit.not_judged:
        yield f"not judged: {gap.what}: {gap.reason}"
    yield summary(audit)


def summary(audit: Audit) -> str:
    """One sentence."""
    counts = [sum(item.severity == level for item in audit.findings) for level in ("serious", "warn", "note")]
    if audit.spotless:
        return "fit to train on" + (f" ({counts[2]} notes)" if counts[2] else "")
    word = "mend what is serious before training" if counts[0] else "can be trained on, and would gain from mending"
    return f"{counts[0]} serious, {counts[1]} worth mending, {counts[2]} notes: {word}"


def few(names: Sequence[str]) -> str:
    """The first names and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def audit_page(audit: Audit) -> str:
    """An audit as one HTML file: no network, no script, every string escaped, pictures inside."""
    word = "serious" if audit.serious else "good" if audit.spotless else "warn"
    return render_page(
        "harness.report",
        "references/page.html",
        read_assets("harness.report", "references/style.css"),
        images="data:",
        audit=audit,
        count=counted(len(audit.pictures)),
        thumbs=thumbs_of(audit),
        word=word,
        sign={"serious": "✕", "warn": "!", "good": "✓"}[word],
        says=summary(audit),
    )


def thumbs_of(audit: Audit) -> dict[str, str]:
    """Name to data URI of every picture that can be read."""
    results = {}
    named = dict.fromkeys([item.name for item in audit.pictures])
    for name in named:
        data = shrink((audit.folder / name).read_bytes())
        results[name] = "data:image/webp;base64," + base64.b64encode(data).decode()
    return results


def analysis_text(analysis: Analysis) -> str:
    """An analysis for the terminal."""
    if analysis.blind:
        return f"{analysis.name}: {analysis.blind}\nno trait was read"
    lines = [f"{analysis.name}: {counted(len(analysis.pictures))}", ""]
    style = analysis.kind == "style"
    for row in analysis.traits:
        mark = "trait" if row.trait else "scene" if not row.reason and (style or not row.identity) else "-"
        figures = f"{row.share:4.0%} agree, confidence {row.confidence:.2f}, legibility {row.legibility:.2f}"
        notes = [f"then {row.second} {row.second_confidence:.2f}"] if row.second else []
        notes += [row.reason] if row.reason else []
        lines.append(f"{mark:6}{row.category:14}{row.value:18}{figures}" + (f"  ({'; '.join(notes)})" if notes else ""))
    lines += ["", f"training prompt: {analysis.prompt}", f"captions:        {analysis.caption}"]
    if analysis.unread:
        lines.append(f"not read:        {', '.join(analysis.unread)} (no legible category of the vocabulary)")
    lines += ["", *(f"{row.picture}: {row.prompt}" for row in analysis.pictures)]
    return "\n".join(lines)


def prepared_text(done: Sequence[PreparedReference], into: str) -> str:
    """What was done to each picture, and a sum."""
    lines = [
        f"{item.state:10}{item.source} -> {item.target}" + (f": {'; '.join(item.steps)}" if item.steps else "")
        for item in done
    ]
    counts = {state: sum(item.state == state for item in done) for state in ("made", "unchanged", "failed")}
    if counts["unchanged"] == len(done):
        return "\n".join([*lines, f"nothing to do: {into} is up to date"])
    message = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return "\n".join([*lines, f"{into}: {message}"])
