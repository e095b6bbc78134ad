"""A file that is replaced is there whole at every moment, and nothing else is left of the attempt."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from harness.core.files import replacing, write_file


def test_text_and_bytes_are_written_as_they_are_and_folders_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"

    write_file(path, "Алдар\n\ud800\r\n")
    write_file(path.with_suffix(".bin"), b"\r\n\xff")

    assert path.read_bytes() == "Алдар\n?\r\n".encode()
    assert path.with_suffix(".bin").read_bytes() == b"\r\n\xff"
    assert len(list(path.parent.iterdir())) == 2


def test_what_fails_halfway_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")

    with pytest.raises(RuntimeError), replacing(path) as draft:
        draft.write_text("half", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"
        raise RuntimeError

    assert path.read_text(encoding="utf-8") == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("lasting", [True, False])
def test_many_writers_at_once_leave_one_of_theirs_and_a_reader_never_sees_less(tmp_path: Path, lasting: bool) -> None:
    path, texts = tmp_path / "a.txt", [str(number) * 100_000 for number in range(8)]
    write_file(path, texts[0])
    threads = [threading.Thread(target=write_file, args=(path, text, lasting)) for text in texts]

    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert path.read_text(encoding="utf-8") in texts
    for thread in threads:
        thread.join()

    assert path.read_text(encoding="utf-8") in texts and list(tmp_path.iterdir()) == [path]
