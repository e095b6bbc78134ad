"""What commands print for other programs."""

from __future__ import annotations

import json

from harness.core.streams import writes_unicode


def json_for(stream: object, record: object, indent: int | None = None) -> str:
    """A record as JSON that the stream can take: what is spelled out otherwise would be no JSON."""
    return json.dumps(record, indent=indent, ensure_ascii=not writes_unicode(stream))
