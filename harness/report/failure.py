"""What a failing item says: why in its first line, the cause, where it stands, then the figures and what to do.

Every sentence stands there once. With `markup` verdicts have a colour; without, there is no escape sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.text import STYLES, bounds_text, clean, headline, paint, styled, table
from harness.core.values import (
    METRICS,
    Case,
    CaseResult,
    Complaint,
    Decision,
    Interval,
    Outcome,
    Sample,
    Suite,
    Threshold,
    Verdict,
)
from harness.judging.feedback import GOOD, advice_for
from harness.judging.foreign import foreign
from harness.judging.scores import scores_of, trait_means
from harness.report.ci.annotations import line_of

if TYPE_CHECKING:
    from rich.text import Text

OUTCOME_ADVICE: Mapping[str, str] = {
    "refused": "the service's moderation refused the prompt: change the prompt or leave the provider out",
    "quota": "the service's quota or budget is used up: wait, raise it, or leave the provider out",
    "auth": "the key was not accepted: check it with `harness doctor`",
    "model_retired": "the model is gone: name another one in the profile",
    "timeout": "the service did not answer in time: run again, what was drawn is kept",
    "provider_error": "the provider broke: its message says how; run again, what was drawn is kept",
    "bad_image": "what came is not a usable picture: its message says why",
}
MEND_FIRST = "mend the cause above first; training longer cannot"


def failure_text(
    suite: Suite,
    case: Case | None,
    provider: str,
    verdict: Verdict,
    result: CaseResult | None,
    image_path: Callable[[str], Path],
    markup: bool = False,
    cause: str | None = None,
) -> str:
    """What a failing test prints; its first line is what pytest puts behind FAILED.

    Args:
        suite: for its thresholds.
        case: None for the gate's item.
        provider: whose pictures they are.
        verdict: the judge's.
        result: the samples; None for the gate's item.
        image_path: where a stored picture lies, by its SHA-256.
        cause: what the gate found, for a case that has none of its own; "": nothing, None: nobody knows yet.
    """
    cause, word = verdict.cause or cause, verdict.decision.value
    shown = paint(headline(word), STYLES.get(word, ""), markup)
    path, line = place_of(suite, case, verdict)
    lines = [reason_line(verdict)]
    lines += [f"  cause: {clean(cause)}"] if cause and clean(cause) not in lines[0] else []
    lines.append(f"  {path}:{line}  {suite.name}::{case.id if case else 'gate'}::{provider}  {shown}")
    if case:
        lines.append(f"  prompt: {clean(case.prompt)}")
    lines += metrics_table(suite, case, verdict, result, markup)
    more = (item for item in reasons(verdict)[1:] if item.message != cause)
    lines += [f"  {item.severity}: {clean(item.message)}" for item in more]
    if result:
        lines += _missing_traits(result) + _lost_samples(result, lines[0]) + _worst_sample(result, image_path)
    lines += [f"  do: {advice}" for advice in what_to_do(suite, case, verdict, result, cause)]
    return "\n".join(lines)


def place_of(suite: Suite, case: Case | None, verdict: Verdict) -> tuple[str, int]:
    """File and line of a case, or of the key that a gate's first complaint is about."""
    here = Path.cwd()
    path = suite.path.relative_to(here) if suite.path.is_relative_to(here) else suite.path
    return path.as_posix(), case.line if case else line_of(str(suite.path), [item.metric for item in reasons(verdict)])


def reasons(verdict: Verdict) -> list[Complaint]:
    """What a verdict complains of, the worst first, each once; a diagnosed cause is told apart."""
    return list({item.message: item for item in verdict.complaints if item.metric != "cause"}.values())


def reason_line(verdict: Verdict) -> str:
    """`quality 0.22 [0.21, 0.24] below 0.50; missing hair 'black' 0.12`: why, before anything else."""
    said = next((item.message for item in reasons(verdict)), verdict.cause or headline(verdict.decision.value))
    return clean(said.replace(" is below ", " below ", 1).replace("; missing: ", "; missing ", 1))


# --- the figures ----------------------------------------------------------------------------------------------------


def metrics_table(
    suite: Suite, case: Case | None, verdict: Verdict, result: CaseResult | None, markup: bool = False
) -> list[str]:
    """A line a metric: the score with its interval, the bound, and what that means."""
    scores = verdict.scores
    known = [*METRICS, *(name for name in scores if name not in METRICS)]
    told = {item.metric for item in verdict.complaints}
    rows = [
        _metric_row(name, scores[name], suite.threshold(case, name), name in told, result)
        for name in known
        if name in scores
    ]
    heads = [styled(name, "dim") for name in ("metric", "score", "needed", "", "raw")]
    looks = ({"": "", "ok": "green", "below": "bold red"}.get(row[3], "yellow") for row in rows)
    shown: list[list[str | Text]] = [
        [*row[:3], styled(row[3], look), row[4]] for row, look in zip(rows, looks, strict=True)
    ]
    return table([[*heads], *shown], markup=markup) if rows else []


def _metric_row(name: str, score: Interval, bound: Threshold, told: bool, result: CaseResult | None) -> tuple[str, ...]:
    needed = "" if bound.fail is None else f">= {bound.fail:.2f}"
    raw = [score.raw for score in scores_of([result], name).values() if score.raw is not None] if result else []
    word = bound_word(score, bound, told)
    return name, bounds_text(score), needed, word, f"{sum(raw) / len(raw):.3f}" if raw else ""


def bound_word(score: Interval, bound: Threshold, told: bool = False) -> str:
    """What a score says of its bound.

    Args:
        told: the verdict complains of this metric, so that it cannot be called good.
    """
    if bound.fail is not None and score.mean < bound.fail:
        return "below" if score.high is None or score.high < bound.fail else "below, but not surely"
    if bound.fail is not None and score.low is not None and score.low < bound.fail:
        return "open: the interval holds it"
    if bound.warn is not None and score.mean < bound.warn:
        return "worth a look"
    if bound.fail is None and bound.warn is None:
        return ""
    return "open" if told else "ok"


def _missing_traits(result: CaseResult) -> list[str]:
    """The traits that these pictures show too rarely."""
    low = sorted(
        (trait.mean, trait.name(name)) for name, trait in trait_means(result.scored).items() if trait.mean < GOOD
    )
    return ["  missing traits: " + ", ".join(f"{clean(name, 60)} {mean:.2f}" for mean, name in low)] if low else []


def _lost_samples(result: CaseResult, said: str) -> list[str]:
    """Seeds without a picture, those of one reason in one line; the reason once."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in result.samples:
        if sample.outcome is not Outcome.OK:
            groups.setdefault((sample.outcome.value, clean(sample.message)), []).append(sample)
    return [
        f"  seed{'s' * (len(lost) > 1)} {', '.join(str(sample.seed) for sample in lost)}: "
        f"{outcome} {'' if message in said else message}".rstrip()
        for (outcome, message), lost in groups.items()
    ]


def _worst_sample(result: CaseResult, image_path: Callable[[str], Path]) -> list[str]:
    scored = [sample for sample in result.scored if sample.image and sample.scores.get("quality")]
    known = [(score.value, sample) for sample in scored if (score := sample.scores["quality"]).value is not None]
    if not known:
        return []
    value, worst = min(known, key=lambda pair: pair[0])
    return [f"  worst sample: seed {worst.seed}, quality {value:.2f}: {image_path(worst.image or '')}"]


# --- what to do -----------------------------------------------------------------------------------------------------


def what_to_do(
    suite: Suite, case: Case | None, verdict: Verdict, result: CaseResult | None, cause: str | None = None
) -> Sequence[str]:
    """Advice in words, for errors by outcome and for failures by metric; where a cause is known, that alone."""
    if result and result.outcome is not Outcome.OK:
        return [OUTCOME_ADVICE[result.outcome.value]]
    if result and foreign(result.scored):
        return ["choose a profile whose models know such pictures: training and more seeds change nothing here"]
    if cause:
        return [MEND_FIRST]
    if verdict.decision is Decision.NOT_JUDGED:
        return []
    if verdict.decision is Decision.INCONCLUSIVE:
        return ["more seeds decide it: --samples with twice the number"]
    short = []
    for name in suite.metrics(case):
        bound = suite.threshold(case, name).fail
        if bound is not None and name in verdict.scores and verdict.scores[name].mean < bound:
            short.append(name)
    advice = [advice_for(name)[1] for name in short if name != "quality" or len(short) == 1]
    unseen = ", unless the gate names a cause to mend first" if case and cause is None else ""
    hint = f"or let `--retrain 2` try it{unseen}"
    return [*advice, hint] if short and verdict.decision is Decision.FAIL else advice
