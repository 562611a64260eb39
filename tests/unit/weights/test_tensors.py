"""Files of tensors: whatever wraps them, and never more than tensors."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vader_bench.errors import UserError
from vader_bench.weights.tensors import read_tensors, weight_faults

TENSORS = {"a": torch.arange(3.0), "b.weight": torch.ones(2, 2)}


def test_the_same_tensors_come_from_every_form(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "plain.safetensors")
    torch.save(TENSORS, tmp_path / "plain.pt")
    torch.save({"state_dict": TENSORS, "epoch": 3}, tmp_path / "lightning.ckpt")
    torch.save({"module": TENSORS}, tmp_path / "deepspeed.ckpt")
    for path in tmp_path.iterdir():
        found = read_tensors(path, "remedy")
        assert found.keys() == TENSORS.keys()
        assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS), path


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"state_dict": {"a": 1}}, {"epoch": 3}, torch.ones(1)])
def test_other_contents_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"x.pt: is not a table of tensors by name; look elsewhere"):
        read_tensors(tmp_path / "x.pt", "look elsewhere")


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be read as weights; look elsewhere"):
        read_tensors(tmp_path / name, "look elsewhere")


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    torch.save(TENSORS | {"run": shutil.rmtree}, tmp_path / "x.pt")
    with pytest.raises(UserError, match="cannot be read as weights"):
        read_tensors(tmp_path / "x.pt", "remedy")


def test_all_faults_are_reported_by_name_and_spare_ones_are_not() -> None:
    wanted = {name: tensor.shape for name, tensor in TENSORS.items()}
    assert weight_faults(wanted, TENSORS) == []
    stored = {"b.weight": torch.ones(3), "z": torch.ones(1), "table": torch.ones(1)}
    assert weight_faults(wanted, stored, lambda name: name == "table") == [
        "lacks a",
        "has an unknown z",
        "has b.weight of shape [3], not [2, 2]",
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty; download it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "Git LFS.*; run `git lfs pull` there",
        ),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "it is a web page; download the file itself"),
        (b"<HTML>", "it is a web page"),
        (None, r"\(No such file or directory\); look elsewhere"),
    ],
)
@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_what_is_there_in_place_of_weights_is_reported(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"cannot be read as weights.*{told}"):
        read_tensors(tmp_path / name, "look elsewhere")


@pytest.mark.parametrize("value", [Path("x"), Namespace(rate=1)])
def test_an_object_beside_the_tensors_is_named_with_a_way_to_save_again(
    tmp_path: Path, value: object
) -> None:
    torch.save({"state_dict": TENSORS, "options": value}, tmp_path / "x.pt")
    told = rf"holds an object of class {type(value).__module__}.*\.{type(value).__name__}, and reading that"
    with pytest.raises(UserError, match=told) as caught:
        read_tensors(tmp_path / "x.pt", "remedy")
    assert "weights_only=False" in caught.value.remedy
    # the way told
    x = torch.load(tmp_path / "x.pt", weights_only=False)
    torch.save(dict(x["state_dict"].items()), tmp_path / "new.pt")
    assert read_tensors(tmp_path / "new.pt", "remedy").keys() == TENSORS.keys()


def test_of_many_faults_the_first_are_reported() -> None:
    wanted = {f"{number:04}": torch.Size([1]) for number in range(900)}
    found = weight_faults(wanted, {})
    assert (len(found), found[0], found[-1]) == (13, "lacks 0000", "and 888 more")
