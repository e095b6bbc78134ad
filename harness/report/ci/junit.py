"""What JUnit says of a test beside its outcome: properties, and the picture that proves it."""

from __future__ import annotations

from pathlib import Path

from harness.core.values import Case, CaseResult, Suite, Verdict


def junit_properties(suite: Suite, case: Case | None, provider: str, verdict: Verdict) -> list[tuple[str, object]]:
    """Whose test it is, each metric's calibrated mean, the interval of the quality, and the verdict."""
    results: list[tuple[str, object]] = [("suite", suite.name), ("provider", provider)]
    results += [("case", case.id), ("split", case.split), ("line", case.line)] if case else []
    results += [(metric, round(interval.mean, 4)) for metric, interval in verdict.scores.items()]
    quality = verdict.scores.get("quality")
    if quality and quality.low is not None and quality.high is not None:
        results += [("quality_low", round(quality.low, 4)), ("quality_high", round(quality.high, 4))]
    results += [("cause", verdict.cause)] if verdict.cause else []
    return [*results, ("verdict", verdict.decision.value)]


def worst_picture(result: CaseResult) -> str | None:
    """SHA-256 of the picture with the lowest quality; None without a scored one."""
    scored = [
        (quality.value, sample.image)
        for sample in result.scored
        if sample.image and (quality := sample.scores.get("quality")) and quality.value is not None
    ]
    return min(scored)[1] if scored else None


def attachment(path: Path, root: Path) -> str:
    """The line by which GitLab and Jenkins find a file: relative to the repository, where it lies in it.

    https://docs.gitlab.com/ci/testing/unit_test_reports/#view-junit-screenshots-on-gitlab and the attachments plugin of
    Jenkins read the same form.
    """
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    return f"[[ATTACHMENT|{shown}]]"
