"""Adapters, checkpoints, videos and their lists that are damaged or mean harm."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import torch as safetensors
from torch import Tensor, nn

from tests.support.fuzz import examples, hold
from tests.support.fuzz_damage import NO_FILES, TOKENS, pickled, put, retold, torn
from tests.support.studies import write_clip
from vader_bench.diffusion.lora import Lora
from vader_bench.errors import UserError
from vader_bench.training.checkpoint import read_state
from vader_bench.weights.adapters import read_stored
from vader_bench.weights.tensors import read_tensors


def refused(call: Callable[[], object], names: str) -> None:
    """Demand of ``call`` that it returns, or raises one short error for the user that names the file."""
    told = names
    try:
        call()
    except UserError as error:
        told = str(error)
    assert "\n" not in told
    assert names in told


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("own") / "lora.safetensors"
    Lora(network(), ("0", "1"), 2, torch.Generator()).save(path)
    return path.read_bytes()


def with_head(head: bytes, whole: bytes, length: int | None = None) -> bytes:
    size = int.from_bytes(whole[:8], "little")
    told = len(head) if length is None else length
    return told.to_bytes(8, "little") + head + whole[8 + size :]


@examples(80)
@given(data=st.data())
def test_own_adapters(tmp_path: Path, adapter: bytes, data: st.DataObject) -> None:
    path = tmp_path / "lora.safetensors"
    size = int.from_bytes(adapter[:8], "little")
    head = json.loads(adapter[8 : 8 + size])
    how = data.draw(st.sampled_from(["torn", "head", "metadata", "length"]))
    if how == "torn":
        put(path, data.draw(torn(adapter)))
    elif how == "head":
        put(path, with_head(data.draw(retold(head)), adapter))
    elif how == "metadata":
        key = data.draw(st.sampled_from(sorted(head["__metadata__"])))
        head["__metadata__"][key] = data.draw(
            st.sampled_from([*TOKENS, "1000000000", "-2", "٢", '["nowhere"]'])
        )
        put(path, with_head(json.dumps(head).encode("utf-8", "surrogatepass"), adapter))
    else:
        length = data.draw(st.sampled_from([0, 1, size - 1, size + 1, 2**31, 2**63, 2**64 - 1]))
        put(path, with_head(json.dumps(head).encode(), adapter, length))
    refused(lambda: Lora.from_file(network(), path), "lora.safetensors")
    refused(lambda: read_stored(str(path), None), "lora.safetensors")


ODD_TENSORS: list[Callable[[Tensor], Tensor]] = [
    lambda t: t * float("nan"), lambda t: t + float("inf"), lambda t: t[:1], lambda t: t[..., :0],
    lambda t: t.to(torch.int64), lambda t: t.to(torch.complex64), lambda t: t.bool(), lambda t: t.flatten(),
    lambda t: t[None], lambda t: t.half(), lambda t: torch.cat([t, t]), lambda t: t.T.contiguous(),
    lambda t: t.to(torch.float8_e4m3fn),
]  # fmt: skip
ODD_KEYS = ["", "x", "unet.x", "0.alpha", "base_model.model.0.lora_A.weight", "\u202e", "0.lora_C.weight"]


@examples(60)
@given(data=st.data())
def test_adapters_of_other_shapes_and_keys(tmp_path: Path, adapter: bytes, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["own", "diffusers", "peft"]))
    size = int.from_bytes(adapter[:8], "little")
    metadata = json.loads(adapter[8 : 8 + size])["__metadata__"] if form == "own" else {"format": "pt"}
    first = {"own": "", "diffusers": "unet.", "peft": "base_model.model."}[form]
    tensors = {first + key: tensor for key, tensor in safetensors.load(adapter).items()}
    name = data.draw(st.sampled_from(sorted(tensors)))
    how = data.draw(st.sampled_from(["tensor", "tensor", "less", "more", "renamed"]))
    if how == "tensor":
        tensors[name] = data.draw(st.sampled_from(ODD_TENSORS))(tensors[name])
    elif how == "less":
        del tensors[name]
    elif how == "more":
        tensors[first + data.draw(st.sampled_from(ODD_KEYS))] = torch.ones(data.draw(st.sampled_from([1, 2])))
    else:
        tensors[data.draw(st.sampled_from(ODD_KEYS))] = tensors.pop(name)
    path = tmp_path / "lora.safetensors"
    put(path, safetensors.save({key: tensor.contiguous() for key, tensor in tensors.items()}, metadata))
    refused(lambda: read_stored(str(path), 8.0), "lora.safetensors")
    refused(lambda: Lora.from_file(network(), path), "lora.safetensors")


@pytest.fixture(scope="module")
def saved() -> bytes:
    stream = io.BytesIO()
    torch.save({"state_dict": {"a": torch.ones(2, 3)}}, stream)
    return stream.getvalue()


def zipped(data: bytes, name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
        archive.writestr("archive/version", b"3\n")
    return stream.getvalue()


@examples(60)
@given(data=st.data())
def test_pickles(tmp_path: Path, saved: bytes, data: st.DataObject) -> None:
    put(tmp_path / "model.bin", data.draw(torn(saved)))
    refused(lambda: read_tensors(tmp_path / "model.bin", "copy it again"), "model.bin")
    refused(lambda: read_stored(str(tmp_path / "model.bin"), 8.0), "model.bin")


@pytest.mark.parametrize("name", ["model.bin", "model.safetensors", "lora.safetensors"])
def test_nothing_in_weights_is_run(tmp_path: Path, name: str) -> None:
    made = tmp_path / "made"
    harm = pickled(made)
    pickle.loads(harm)  # the payload works where it is read without care
    assert made.is_dir()
    made.rmdir()
    for data in (harm, zipped(harm, "archive/data.pkl"), b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00exittR."):
        put(tmp_path / name, data)
        for read in (lambda p: read_tensors(p, "copy it again"), lambda p: read_stored(str(p), 8.0)):
            with pytest.raises(UserError, match=name):
                read(tmp_path / name)
        with pytest.raises(UserError, match="checkpoint"):
            read_state(data, "checkpoint")
    assert not made.exists()


def test_archives_that_swell_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "model.bin", zipped(b"\0" * 50_000_000, "archive/data.pkl"))
    assert (tmp_path / "model.bin").stat().st_size < 100_000
    with pytest.raises(UserError, match=r"model\.bin"):
        read_tensors(tmp_path / "model.bin", "copy it again")


@examples(60)
@given(data=st.data())
def test_states_of_trainings(data: st.DataObject) -> None:
    stream = io.BytesIO()
    odd: dict[str, Any] = {"ledger": {}, "prompts": {}, "points": [], "method": {"a": torch.ones(2)}}
    torch.save(odd, stream)
    refused(lambda: read_state(data.draw(torn(stream.getvalue())), "checkpoint"), "checkpoint")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "00.mp4", 90, size=(64, 64))
    put(folder / "videos.csv", b"video,prompt\n00.mp4,a red cat jumping in the park\n")
    assert hold("score", folder, "--reward", "red", "--suite", suite(folder), "--device", "cpu").code == 0
    return folder


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["00.mp4", "videos.csv", "prompts.txt"])
@examples(15)
@given(data=st.data())
def test_videos_and_what_they_show(tmp_path: Path, clips: Path, name: str, data: st.DataObject) -> None:
    for path in clips.iterdir():
        put(tmp_path / path.name, path.read_bytes())
    prompts = tmp_path / "prompts.txt"
    put(prompts, b"a red cat\n")
    put(tmp_path / name, data.draw(torn((tmp_path / name).read_bytes())))
    given_too: list[str | Path] = ["--prompts", prompts] if name == "prompts.txt" else []
    call: list[str | Path] = [
        "score",
        tmp_path,
        "--reward",
        "red",
        "--suite",
        suite(tmp_path),
        "--device",
        "cpu",
    ]
    out = tmp_path / "scores.csv"
    hold(*call, *given_too, "--out", out, names=(name, str(tmp_path), "prompt"))


@pytest.mark.parametrize("form", NO_FILES)
@pytest.mark.parametrize("name", ["00.mp4", "videos.csv"])
def test_no_file_where_a_video_is_looked_for(tmp_path: Path, clips: Path, name: str, form: str) -> None:
    for path in clips.iterdir():
        put(tmp_path / path.name, path.read_bytes())
    NO_FILES[form](tmp_path / name)
    hold("score", tmp_path, "--reward", "red", "--suite", suite(tmp_path), "--device", "cpu")


def suite(folder: Path) -> Path:
    path = folder / "tiny.yaml"
    put(
        path,
        b"suite: tiny\nbackbone: {family: modelscope, settings: {weights: pocket/text-to-video, frames: 4}}\n"
        b"rewards: {red: {family: redness}}\nprompts: {default: pocket}\n"
        b"sampler: {steps: 2, eta: 1.0, guidance: 1.0}\n",
    )
    return path
