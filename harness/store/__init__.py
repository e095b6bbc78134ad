"""Where pictures and records are kept: images by hash, records in SQLite, one journal a run.

store/records.sqlite           samples, scores, memos, arrays' hashes
store/images/ab/abcd....png    named by the SHA-256 of its bytes
store/arrays/ab/abcd....npy    the same for arrays
store/journal/<run>.jsonl      the truth of a run, append-only
store/engine.lock              held by the run that draws
"""

from harness.store.journal import Journal
from harness.store.store import Store, image_path

__all__ = ["Journal", "Store", "image_path"]
