"""A store whose findings do not count: whoever asks computes them again, from the pictures and from nothing else.

Pictures are believed, because their names are the hashes of their bytes, and so are the records of who drew them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.core.values import Score, to_record
from harness.store.store import Store

if TYPE_CHECKING:
    import numpy as np

TOLERANCE = 5e-3  # between two machines' numbers; scores lie in [0, 1]
Found = tuple[str, str, str]  # table, kind (of scores the picture) and key


class RecomputingStore(Store):
    """Another store's folder, where memos, arrays and scores are known only once they were found here."""

    def __init__(self, store: Store, *, keep: bool) -> None:
        """
        Args:
            keep: write what is found over what the store says, else hold it in memory, to be compared with that.
        """
        self.__dict__.update(store.__dict__)
        self._believed, self._keep = store, keep
        self._found: dict[Found, Any] = {}

    def memo(self, kind: str, key: str) -> Any | None:
        return self._found.get(("memos", kind, key))

    def put_memo(self, kind: str, key: str, value: Any) -> None:
        self._found["memos", kind, key] = to_record(value)
        if self._keep:
            self._believed.put_memo(kind, key, value)

    def array(self, kind: str, key: str) -> np.ndarray[Any, Any] | None:
        return self._found.get(("arrays", kind, key))

    def put_array(self, kind: str, key: str, value: np.ndarray[Any, Any]) -> None:
        self._found["arrays", kind, key] = value
        if self._keep:
            self._believed.put_array(kind, key, value)

    def scores(self, image: str, scorer: str) -> Mapping[str, Score] | None:
        return self._found.get(("scores", image, scorer))

    def put_many_scores(self, found: Sequence[tuple[str, str, Mapping[str, Score]]]) -> None:
        self._found.update({("scores", image, scorer): scores for image, scorer, scores in found})
        if self._keep:
            self._believed.put_many_scores(found)

    @property
    def differences(self) -> list[str]:
        """What the store says otherwise than was found here, each as a row's name and the first difference."""
        results = []
        for (table, kind, key), value in sorted(self._found.items(), key=lambda item: item[0]):
            known = self._known(table, kind, key)
            words = "" if known is None else difference(known, plain(value))
            results += [f"{table} {kind[:16]} {key[:16]}: {words}"] if words else []
        return results

    def _known(self, table: str, kind: str, key: str) -> Any | None:
        store = self._believed
        if table == "memos":
            return store.memo(kind, key)
        known = store.array(kind, key) if table == "arrays" else store.scores(kind, key)
        return None if known is None else plain(known)


def plain(value: Any) -> Any:
    """As JSON would give it back; of scores the values, because what they carry beside them decides nothing."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping) and any(isinstance(item, Score) for item in value.values()):
        return {name: score.value for name, score in value.items()}
    return to_record(value)


def difference(said: Any, found: Any, place: str = "") -> str:
    """The first place where two plain values differ by more than two machines do, in words; "" for none."""
    if isinstance(said, Mapping) and isinstance(found, Mapping):
        names = [*found, *(name for name in said if name not in found)]
        pairs = [(f"{place}.{name}".lstrip("."), said.get(name), found.get(name)) for name in names]
    elif isinstance(said, list | tuple) and isinstance(found, list | tuple) and len(said) == len(found):
        pairs = [(f"{place}[{number}]", *pair) for number, pair in enumerate(zip(said, found, strict=True))]
    elif is_number(said) and is_number(found):
        near = math.isclose(said, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        return "" if near else f"{place or 'it'} says {said:.4g}, found {found:.4g}"
    else:
        return "" if said == found else f"{place or 'it'} says {said!r:.40}, found {found!r:.40}"
    return next((words for where, *two in pairs if (words := difference(two[0], two[1], where))), "")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
