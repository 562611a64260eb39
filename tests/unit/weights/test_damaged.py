"""Every file of a model's folder in turn: missing, cut, emptied, of another form. One line, or it loads."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contract.test_backbones import CASES, written
from vader_bench.backbones import BACKBONES, Backbone, BackboneFactory, ltx, modelscope, open_sora, svd, wan
from vader_bench.backbones.reading import load_family, outline_of, reader_of, skeleton_of
from vader_bench.errors import UserError
from vader_bench.rewards import clip, make_reward, videomae, vjepa, yolos
from vader_bench.rewards.base import frames_seen, prompt_reader
from vader_bench.weights.networks import load_network

_OTHERS: tuple[object, ...] = ("x", -1, [], {}, None)
_OF_A_NETWORK = ("config.json", "*.safetensors*", "*.bin*")
"""Files of which a network is read."""


@pytest.fixture(autouse=True)
def _whole_networks_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a network of a model again only when its own files have changed: most of the time goes there."""
    kept: dict[object, Any] = {}

    def load(kind: Any, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
        files = sorted(path for pattern in _OF_A_NETWORK for path in folder.glob(pattern))
        key = (kind, folder, dtype, *((path.name, path.read_bytes()) for path in files))
        if key not in kept:
            kept[key] = load_network(kind, folder, dtype)
        return kept[key]

    for module in (modelscope, ltx, svd, wan, open_sora, clip, videomae, vjepa, yolos):
        monkeypatch.setattr(module, "load_network", load)


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


_MOST = 12
"""Damages of a family's configurations that are tried: there are hundreds."""
_ODD: tuple[object, ...] = ("x", -1, 0, 2.5, 10**30, True, [], ["x"], [1], [0, 0, 0], {}, {"a": 1}, None)


def odd_configs(folder: Path, count: int) -> list[tuple[Path, str, bytes]]:
    """Return some of the ways in which one key of a configuration below ``folder`` has another value."""
    found = []
    for path in sorted(folder.rglob("*config.json")) + sorted(folder.glob("model_index.json")):
        if "tokenizer" in path.name:
            continue
        table = json.loads(path.read_bytes())
        for key in sorted(table):
            for value in _ODD:
                name = f"{path.relative_to(folder)}: {key} = {value!r}"
                found.append((path, name, json.dumps(table | {key: value}).encode()))
    return random.Random(0).sample(found, min(count, len(found)))


def calls(family: str, folder: Path, settings: dict[str, Any]) -> Iterator[Callable[[], object]]:
    """Yield what `run`, `plan` and `check` do with a backbone."""
    yield lambda: load_family(family, folder, settings)
    yield lambda: skeleton_of(family, str(folder), settings).frames
    yield lambda: outline_of(family, str(folder), settings).timesteps(3)
    yield lambda: reader_of(family, str(folder), settings)


def tracebacks(folder: Path, family: str, settings: dict[str, Any], count: int) -> list[str]:
    """Return what is not a line for the user, of a sample of odd configurations."""
    bad = []
    for path, name, content in odd_configs(folder, count):
        whole = path.read_bytes()
        path.write_bytes(content)
        for call in calls(family, folder, settings):
            try:
                call()
            except UserError as error:
                if len(str(error).split("\n")) > 3 or len(str(error)) > 900:
                    bad.append(f"{name}: {error}")
            except Exception as error:  # noqa: BLE001 - these are what is looked for
                bad.append(f"{name}: {type(error).__name__}: {error}")
        path.write_bytes(whole)
    return bad


@pytest.mark.filterwarnings("ignore")  # of sizes that are 0
@pytest.mark.parametrize("name", CASES)
def test_configurations_of_every_family(
    name: str, tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path
) -> None:
    model = written(name, tmp_path_factory, tiny_pipeline / "tokenizer")
    folder = Path(shutil.copytree(model.folder, tmp_path_factory.mktemp("copy") / "model"))
    for call in calls(model.family, folder, model.settings):
        call()  # undamaged it is read: what is refused below is so for its damage
    assert tracebacks(folder, model.family, model.settings, _MOST) == []


@pytest.mark.parametrize("key", ["num_frames", "id2label"])
def test_readers_of_classes_take_no_odd_configuration(key: str, tiny_videomae: Path, tmp_path: Path) -> None:
    """Before weights are read, ``check`` has asked for frames and names."""
    folder = Path(shutil.copytree(tiny_videomae, tmp_path / "model"))
    table, settings = json.loads((folder / "config.json").read_bytes()), {"model": str(folder)}
    for value in (3.5, "x", [1], {"0": 3}):
        (folder / "config.json").write_text(json.dumps(table | {key: value}), "utf-8")
        with pytest.raises(UserError, match=key):
            frames_seen("action", settings), prompt_reader("action", settings)


def test_errors_in_code_of_others_are_not_taken_for_damage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Broken(BackboneFactory):
        def load(self, folder: Path, dtype: torch.dtype = torch.float32, /, **settings: object) -> Backbone:
            raise TypeError("a fault of its author's")

    monkeypatch.setitem(BACKBONES._loaded, "guest", Broken())
    with pytest.raises(TypeError, match="a fault of its author's"):
        load_family("guest", tmp_path, {})


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
