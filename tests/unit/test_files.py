"""A file is whole or absent, whatever the disk says."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vader_bench import files
from vader_bench.errors import UserError

NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refuse(*_: Any, **__: Any) -> Any:
    raise NO_SPACE


def test_write_replaces_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text"
    files.write_text(path, "old")
    files.write_text(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert names(path.parent) == ["text"]


def test_written_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    files.write_text(tmp_path / "written", "x")
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_is_private_is_so_from_the_first_byte_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, seen = tmp_path / "a" / "private", []
    files.make_folder(folder)
    files.make_private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "key").write_text("open to all")
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(os.fstat(handle).st_mode & 0o777))
    files.write_private(folder / "key", "größer\n")
    assert seen[0] == 0o600
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    assert files.read_text(folder / "key") == "größer\n"


def test_a_private_folder_is_never_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    files.make_private_folder(tmp_path / "made" / "private")
    assert (tmp_path / "made" / "private").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        files.make_private_folder(tmp_path / "file")


@pytest.mark.parametrize("call", ["os.replace", "os.fsync"])
def test_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "record.json"
    files.write_json(path, {"old": 1})
    monkeypatch.setattr(call, refuse)
    with pytest.raises(UserError, match=r"record\.json: cannot be written \(No space left.*free some disk"):
        files.write_json(path, {"new": 2})
    monkeypatch.undo()
    assert files.read_json(path) == {"old": 1}
    assert names(tmp_path) == ["record.json"]


def test_full_disk_while_the_bytes_are_written(tmp_path: Path) -> None:
    # /dev/full refuses every byte; a link to it stands for a file on a full disk
    (tmp_path / "metrics").symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left"):
        files.append_line(tmp_path / "metrics", "{}")


def test_append_takes_a_partial_line_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics"
    files.append_line(path, "first")
    write: Callable[[int, bytes], int] = os.write
    calls = 0

    def half(handle: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise NO_SPACE
        return write(handle, data[:3])

    monkeypatch.setattr("os.write", half)
    with pytest.raises(UserError, match="No space left"):
        files.append_line(path, "second")
    assert path.read_text() == "first\n"


def test_append_writes_all_even_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write: Callable[[int, bytes], int] = os.write
    monkeypatch.setattr("os.write", lambda handle, data: write(handle, data[:2]))
    files.append_line(tmp_path / "metrics", "a long line")
    assert (tmp_path / "metrics").read_text() == "a long line\n"


def test_append_refuses_two_lines(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not one line"):
        files.append_line(tmp_path / "metrics", "one\ntwo")
    assert not (tmp_path / "metrics").exists()


def test_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.replace", _denied)
    with pytest.raises(UserError, match="write permission"):
        files.write_text(tmp_path / "text", "x")


def _denied(*_: Any) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(UserError, match="file of that name"):
        files.make_folder(tmp_path / "results")
    with pytest.raises(UserError, match="file of that name"):
        files.write_text(tmp_path / "results" / "x", "x")


def test_json_is_sorted_and_readable(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x.json", {"b": [1], "a": "ä"})
    assert (tmp_path / "x.json").read_text("utf-8") == '{\n  "a": "ä",\n  "b": [\n    1\n  ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "nan.json", {"reward": float("nan")})
    assert not (tmp_path / "nan.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist; check the path"),
        (b'{"a": 1,\n oops}', r"is not JSON \(line 2: "),
        (b'{"a": "\xff"}', r"is not UTF-8 text \(byte 7\)"),
        (b"[" * 100_000, "is nested too deep"),
        (b"[" * 101 + b"]" * 101, "is nested too deep"),
        (b"9" * 5000, "holds a number of thousands of digits"),
        (b'{"a": [NaN]}', "holds a number that is not finite"),
        (b'{"a": 1e999}', "holds a number that is not finite"),
        (b'{"\\uD800": 1}', "has half a character in it"),
    ],
)
def test_unreadable_json(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        files.read_json(path)


def test_json_of_others_may_hold_infinities(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"limit": [0.0, Infinity], "pair": "\\ud83d\\ude00"}', "utf-8")
    assert files.read_json(path, finite=False) == {"limit": [0.0, float("inf")], "pair": "\U0001f600"}
    path.write_text("[" * 100 + "]" * 100, "utf-8")
    assert files.read_json(path) != []


def test_a_new_folder_is_there_with_all_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError), files.new_folder(tmp_path / "a" / "b") as folder:
        files.write_bytes(folder / "x.txt", files.read_bytes(tmp_path / "nowhere"))
    assert list((tmp_path / "a").iterdir()) == []
    with files.new_folder(tmp_path / "a" / "b") as folder:
        files.write_text(folder / "x.txt", "x")
        assert not (tmp_path / "a" / "b").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b" / "x.txt").read_text("utf-8") == "x"
    with (
        pytest.raises(UserError, match="cannot be written"),
        files.new_folder(tmp_path / "a" / "b") as folder,
    ):
        pass


def test_folder_where_a_file_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        files.read_text(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        files.sha256_file(tmp_path)


def test_canonical_json_does_not_depend_on_order() -> None:
    assert files.canonical_json({"b": 1.5, "a": "ä"}) == files.canonical_json({"a": "ä", "b": 1.5})
    assert files.canonical_json({"a": 1}) != files.canonical_json({"a": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.canonical_json(float("inf"))


def test_digests_are_sha256(tmp_path: Path) -> None:
    files.write_text(tmp_path / "x", "abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_text("abc") == files.sha256_file(tmp_path / "x") == expected
    assert files.sha256_text("ä") == hashlib.sha256("ä".encode()).hexdigest()
    with pytest.raises(UserError, match="does not exist"):
        files.sha256_file(tmp_path / "y")


def test_cut_shortens(tmp_path: Path) -> None:
    files.write_text(tmp_path / "x", "abcdef")
    files.cut(tmp_path / "x", 2)
    assert (tmp_path / "x").read_text() == "ab"


WRITER = """
import os, sys
from pathlib import Path
from vader_bench import files
def stop(*_):
    sys.stdout.write("writing\\n")
    sys.stdout.flush()
    os.read(0, 1)
os.fsync = stop
files.write_text(Path(sys.argv[1]), "half")
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the middle of writing ``file``."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "file")]
    root = str(Path(files.__file__).parents[1])
    process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    yield process
    process.kill()
    process.communicate()


def test_what_a_killed_writer_left_goes_with_the_next_write(
    tmp_path: Path, writer: subprocess.Popen[bytes]
) -> None:
    files.write_text(tmp_path / "other.file", "x")
    files.write_text(tmp_path / "file", "x")
    assert len(names(tmp_path)) == 3, "what is being written stays"
    writer.kill()
    writer.wait()
    files.write_text(tmp_path / "other.file", "y")
    assert len(names(tmp_path)) == 3, "another file's is left to its own writers"
    files.write_text(tmp_path / "file", "y")
    assert names(tmp_path) == ["file", "other.file"]


def test_remove_temporaries_takes_what_was_left_and_nothing_else(
    tmp_path: Path, writer: subprocess.Popen[bytes]
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / f".x.1234{files.TEMPORARY_SUFFIX}").write_text("half")
    (tmp_path / f"x{files.TEMPORARY_SUFFIX}").write_text("a user's")
    files.remove_temporaries(tmp_path)
    assert names(tmp_path / "below") == []
    assert len(names(tmp_path)) == 3, "what is being written stays"
    writer.kill()
    writer.wait()
    files.remove_temporaries(tmp_path)
    assert names(tmp_path) == ["below", f"x{files.TEMPORARY_SUFFIX}"]


def test_what_was_left_without_a_byte_goes_at_once(tmp_path: Path) -> None:
    for name in ("file", "other"):
        (tmp_path / f".{name}.1234{files.TEMPORARY_SUFFIX}").touch()
    files.write_text(tmp_path / "file", "x")
    files.remove_temporaries(tmp_path)
    assert names(tmp_path) == ["file"]


def test_a_writer_that_lost_its_file_before_it_was_locked_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = os.open, list[str]()

    def make_and_lose(path: Any, flags: int, *more: int) -> int:
        handle = make(path, flags, *more)
        if flags & os.O_EXCL:
            made.append(str(path))
            if len(made) == 1:
                files.remove_temporaries(tmp_path)
        return handle

    monkeypatch.setattr(os, "open", make_and_lose)
    files.write_text(tmp_path / "file", "x")
    assert (tmp_path / "file").read_text() == "x"
    assert len(set(made)) == 2
    assert names(tmp_path) == ["file"]


def test_what_cannot_be_cleared_away_stops_no_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / f".file.1234{files.TEMPORARY_SUFFIX}"
    left.write_text("another user's")
    unlink = Path.unlink

    def refuse_that(path: Path, *arguments: Any, **named: Any) -> None:
        if path == left:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(path, *arguments, **named)

    monkeypatch.setattr(Path, "unlink", refuse_that)
    files.write_text(tmp_path / "file", "x")
    files.remove_temporaries(tmp_path)
    assert names(tmp_path) == [left.name, "file"]


def test_a_table_has_a_line_for_each_key(tmp_path: Path) -> None:
    table = {"b": {"d": [1, 2], "c": "ä, b"}, "a": 0.5}
    files.write_table(tmp_path / "table.json", table)
    assert (tmp_path / "table.json").read_text("utf-8") == '{\n"a":0.5,\n"b":{"c":"ä, b","d":[1,2]}\n}\n'
    assert files.read_json(tmp_path / "table.json") == table
