"""What retraining did to a suite: causes, changes and gains, kept in the store as soon as each round has ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from harness.core.project import belongs_to_another, project_path
from harness.core.values import Suite, canonical_json, digest, to_record
from harness.engine.context import ImproveContext
from harness.store import Store

KIND = "improve-rounds"  # of the memos that hold a suite's rounds
MOST = 200  # rounds that are remembered, the newest


def key_of(suite: Suite) -> str:
    """The rounds of one subject in suites of one name; each says of which file."""
    return digest([suite.name, suite.subject.name])


def remember(context: ImproveContext, record: Mapping[str, object]) -> None:
    """Keep a round, or what is new of it; the curve of its loss is left to the report of its run."""
    details = {name: value for name, value in to_record(dict(record)).items() if name not in ("loss", "sets")}
    details["file"] = project_path(context.suite.path)
    plain: dict[str, object] = json.loads(canonical_json(details))  # as the store gives it back
    store, key = context.store, key_of(context.suite)
    known: list[dict[str, object]] = store.memo(KIND, key) or []
    at = datetime.now(UTC).replace(microsecond=0).isoformat()
    earlier = known[:-1] if known and says_more(plain, known[-1]) else known
    store.put_memo(KIND, key, [*earlier, {"at": at, **plain}][-MOST:])


def says_more(record: Mapping[str, object], known: Mapping[str, object]) -> bool:
    """Whether this is the known round, now that more is known of it.

    Its numbers do not tell: a round that failed is no attempt, so the next session's first round bears the same ones.
    """
    before = {name: value for name, value in known.items() if name != "at"}
    return len(record) > len(before) and all(name in record and record[name] == before[name] for name in before)


def read_rounds(store: Store, suite: Suite) -> list[dict[str, object]]:
    """The rounds of a suite that this store has seen, the oldest first."""
    result: list[dict[str, object]] = store.memo(KIND, key_of(suite)) or []
    return [each for each in result if not belongs_to_another(str(each.get("file", "")), suite.path)]


# --- harness history ------------------------------------------------------------------------------------------------
