"""Every file of a model's folder in turn: missing, cut, emptied, of another form. One line, or it loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vader_bench.backbones import BACKBONES
from vader_bench.errors import UserError
from vader_bench.rewards import make_reward

_OTHERS: tuple[object, ...] = ("x", -1, [], {}, None)


def damages(path: Path) -> Iterator[bytes | None]:
    """Yield what may be in the place of ``path``; ``None`` is nothing."""
    whole = path.read_bytes()
    yield None
    yield b""
    yield whole[: len(whole) // 2]
    yield b"\xff\xfe\x00junk"
    if path.suffix == ".json":
        yield b"[]"
        yield b"null"
        yield b"{}"
        table = json.loads(whole)
        for place, key in enumerate(list(table)[:20]):
            yield json.dumps(table | {key: _OTHERS[place % len(_OTHERS)]}).encode()


def told(folder: Path, load: Any) -> list[str]:
    """Return what is not a line for the user, of every damage to every file below ``folder``."""
    bad, refused = [], 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for content in damages(path):
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)
            try:
                load(folder)
            except UserError as error:
                refused += 1
                if "\n" in str(error) or len(str(error)) > 500:
                    bad.append(f"{path.name}: {content!r:.80}: {error}")
            except Exception as error:  # noqa: BLE001 - these are what is looked for
                bad.append(f"{path.name}: {content!r:.80}: {type(error).__name__}: {error}")
            path.write_bytes(whole)
    assert refused > 10
    return bad


@pytest.mark.slow
def test_backbones(tiny_pipeline: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_pipeline, tmp_path / "model"))
    assert told(folder, lambda path: BACKBONES.get("modelscope").load(path, frames=4)) == []


@pytest.mark.slow
def test_rewards_on_clip(tiny_clip: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_clip, tmp_path / "model"))
    assert told(folder, lambda path: make_reward("hps", {"model": str(path)})) == []


@pytest.mark.slow
@pytest.mark.parametrize("family", ["action", "object-removal", "temporal-consistency"])
def test_other_rewards(family: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    name = {"action": "tiny_videomae", "object-removal": "tiny_yolos", "temporal-consistency": "tiny_vjepa"}
    settings: dict[str, dict[str, Any]] = {
        "action": {},
        "object-removal": {"target": "book"},
        "temporal-consistency": {"masks": 1},
    }
    folder = Path(shutil.copytree(request.getfixturevalue(name[family]), tmp_path / "model"))
    assert told(folder, lambda path: make_reward(family, {"model": str(path), **settings[family]})) == []
