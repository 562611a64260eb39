"""A measurement is kept as long as its weights are those that it was made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from vader_bench.files import write_json
from vader_bench.pretrain.kept import MEASURED, keep_or_measure
from vader_bench.weights.resolve import write_digests


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two parts, one measurement of the first."""
    for part in ("one", "two"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "model.safetensors").write_bytes(part.encode())
    write_json(tmp_path / MEASURED, {"score": 1.0, "bytes": 3})
    write_digests(tmp_path)
    return tmp_path


def measured(out: Path, part: str = "one", key: str = "score") -> object:
    return keep_or_measure(out, [part], [key], lambda: {key: 2.0})[key]


def test_it_is_kept_of_unchanged_weights(out: Path) -> None:
    assert measured(out) == 1
    (out / "two" / "model.safetensors").write_bytes(b"other")
    assert measured(out) == 1


@pytest.mark.parametrize("change", ["rewritten", "added", "removed", "undigested"])
def test_it_is_made_again_of_changed_weights(out: Path, change: str) -> None:
    if change == "rewritten":
        (out / "one" / "model.safetensors").write_bytes(b"other")
    elif change == "added":
        (out / "one" / "more").write_bytes(b"")
    elif change == "removed":
        (out / "one" / "model.safetensors").unlink()
    else:
        (out / "digests.json").unlink()
    assert measured(out) == 2


def test_what_was_never_measured_is_measured(out: Path) -> None:
    assert measured(out, "two", "other") == 2
    (out / MEASURED).unlink()
    assert measured(out) == 2


def test_other_keys_than_wanted_are_a_fault(out: Path) -> None:
    with pytest.raises(ValueError, match=r"measured \['b'\], wanted \['a'\]"):
        keep_or_measure(out, ["one"], ["a"], lambda: {"b": 1.0})
