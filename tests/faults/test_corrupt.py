"""Files of a run that were damaged: the record is what it would have been, or one line says what to do."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Whole
from tests.support.apart import apart
from tests.support.deaths import Counted, Death, contents, die_in, own_files, train
from tests.support.small_backbone import small_run, write_small
from vader_bench.errors import UserError
from vader_bench.records.folder import RunFolder

Damage = Callable[[bytes, random.Random], bytes]


def cut(data: bytes, moment: random.Random) -> bytes:
    return data[: moment.randrange(len(data))]


def flipped(data: bytes, moment: random.Random) -> bytes:
    place = moment.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << moment.randrange(7)]) + data[place + 1 :]


def zeros_at_the_end(data: bytes, moment: random.Random) -> bytes:
    """As after a power cut, where a file has its length and not yet its bytes."""
    kept = moment.randrange(len(data))
    return data[:kept] + bytes(len(data) - kept)


def noise(data: bytes, moment: random.Random) -> bytes:
    return moment.randbytes(len(data))


BEGUN = ("checkpoint", "metrics.jsonl", "config.json", "origin.json", "adapters/*", "../.base-model/*")
"""What a run that is trained halfway goes on from."""
TRAINED = ("training.json", "metrics.jsonl", "lora.safetensors", "adapters/*", "measurements/*")
"""What a trained run is measured with."""
FINISHED = ("record.json",)
GROSS: dict[str, Damage] = {"emptied": lambda *_: b"", "cut": cut, "zeros": zeros_at_the_end, "noise": noise}
DIGESTED = {*BEGUN, *TRAINED} - {"config.json", "origin.json", "training.json"}
"""A digest of these stands in the file itself or beside it, so that a single bit is noticed."""
CASES = [
    *(("begun", name, kind) for name in BEGUN for kind in GROSS),
    *(("trained", name, kind) for name in TRAINED for kind in GROSS),
    *(("finished", name, kind) for name in FINISHED for kind in GROSS),
    *(("begun", name, "flipped") for name in BEGUN if name in DIGESTED),
    *(("trained", name, "flipped") for name in TRAINED if name in DIGESTED),
]


def die_before_the_record() -> None:
    """Let this process be killed when all is measured."""

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    RunFolder.write_record = die  # type: ignore[method-assign, assignment]


@pytest.fixture(scope="module")
def places(
    whole: Callable[[str], Whole], counted: Counted, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Folders of a run that is trained halfway, trained, and finished."""
    undisturbed, place = whole("vader"), tmp_path_factory.mktemp("places")
    last = undisturbed.moments["update"] - 1  # in the last step, so that there are adapters of a first look
    faults: dict[str, Callable[[], object]] = {
        "begun": partial(die_in, "vader", Death("update", last)),
        "trained": die_before_the_record,
        "finished": int,
    }
    for name, fault in faults.items():
        made = apart(partial(train, undisturbed.config, place / name / "vader", counted, fault))
        assert made.code == (0 if name == "finished" else -signal.SIGKILL)
    assert RunFolder(place / "begun" / "vader").resumable
    return {name: place / name / "vader" for name in faults}


def follow(error: UserError, folder: Path) -> None:
    """Do what the message says."""
    assert "\n" not in str(error)
    assert str(folder.parent) in error.given, "it names the file"
    if "delete it" in error.remedy:
        Path(error.given).unlink()
    else:
        assert "delete the run's folder" in error.remedy
        shutil.rmtree(folder)


@pytest.mark.parametrize(("state", "name", "kind"), CASES)
def test_a_damaged_file_changes_no_record(
    state: str, name: str, kind: str, places: dict[str, Path], whole: Callable[[str], Whole],
    counted: Counted, tmp_path: Path,
) -> None:  # fmt: skip
    undisturbed, moment = whole("vader"), random.Random(f"{state} {name} {kind}")
    shutil.copytree(places[state].parent, tmp_path / "place")
    folder = tmp_path / "place" / "vader"
    path = moment.choice(sorted(folder.glob(name)))
    damage = GROSS.get(kind, flipped)
    path.write_bytes(damage(path.read_bytes(), moment))
    for _ in range(2):
        found = apart(partial(train, undisturbed.config, folder, counted))
        assert found.code == 0
        if found.error is None:
            break
        follow(found.error, folder)
    assert apart(partial(train, undisturbed.config, folder, counted)).error is None
    assert contents(folder) == undisturbed.left
    assert own_files(folder) == undisturbed.names


@pytest.mark.parametrize("kind", [*GROSS, "flipped"])
def test_weights_that_are_damaged_meanwhile(kind: str, counted: Counted, tmp_path: Path) -> None:
    weights, moment = write_small(tmp_path / "weights"), random.Random(f"weights {kind}")
    config, folder = small_run(weights), tmp_path / "results" / "vader"
    killed = partial(train, config, folder, counted, partial(die_in, "vader", Death("update", 12)))
    assert apart(killed).code == -signal.SIGKILL
    [path] = weights.iterdir()
    whole = path.read_bytes()
    path.write_bytes(GROSS.get(kind, flipped)(whole, moment))
    found = apart(partial(train, config, folder, counted))
    assert found.code == 0
    assert found.error is not None, "nothing was noticed"
    assert "\n" not in str(found.error)
    assert {"cannot be read as weights", "was made with other"} & {
        wrong for wrong in ("cannot be read as weights", "was made with other") if wrong in found.error.wrong
    }, found.error
    path.write_bytes(whole)
    assert apart(partial(train, config, folder, counted)).error is None
    other = tmp_path / "other" / "vader"
    assert apart(partial(train, config, other, counted)).error is None
    assert contents(folder) == contents(other)
