"""Models on the hub, known by their sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vader_bench.backbones import BACKBONES
from vader_bench.errors import UserError
from vader_bench.experiment.load import load_suite, suite_names
from vader_bench.weights.hub import HUB_PREFIX
from vader_bench.weights.sizes import known_names, local_folder, read_sizes, sizes_in

MILLIONS: dict[str, tuple[str, dict[str, Any], list[float]]] = {
    "damo-vilab/text-to-video-ms-1.7b": ("modelscope", {}, [1413, 340, 83.7]),
    "VideoCrafter/VideoCrafter2": ("videocrafter2", {}, [1413, 354, 83.7]),
    "stabilityai/stable-video-diffusion-img2vid": ("svd", {"pictures": "pocket"}, [1525, 632, 0, 97.7]),
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": ("wan", {}, [1419, 5681, 127]),
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": (
        "wan",
        {"frames": 121, "height": 704, "width": 1280},
        [5000, 5681, 705],
    ),
    "Wan-AI/Wan2.2-T2V-A14B-Diffusers": ("wan", {}, [2 * 14288, 5681, 127]),
    "Lightricks/LTX-Video": ("ltx", {}, [1923, 4762, 419]),
}
"""Family, settings, and millions of parameters: as papers and model cards say, or in sum as they say."""


@pytest.fixture(autouse=True)
def _nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", MILLIONS)
def test_released_models_have_the_sizes_that_they_are_said_to_have(name: str) -> None:
    family, settings, millions = MILLIONS[name]
    modules = BACKBONES.get(family).skeleton(HUB_PREFIX + name, **settings).modules()
    found = [sum(weight.numel() for weight in module.parameters()) / 1e6 for module in modules]
    assert found == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize("name", [name for name in suite_names() if not name.startswith("pocket")])
def test_the_weights_of_packaged_suites_are_known(name: str) -> None:
    suite = load_suite(name)
    backbone = suite.backbone.settings
    assert all(
        value.removeprefix(HUB_PREFIX) in known_names()
        for key, value in backbone.items()
        if key in {"weights", "vae", "text_encoder"}
    )


def test_a_folder_speaks_for_itself(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text('{"width": 3}', "utf-8")
    files = {"unet": "unet/config.json", "more": "more.json"}
    assert local_folder(str(tmp_path)) == tmp_path
    assert read_sizes(str(tmp_path), files, optional=["more"]) == {"unet": {"width": 3}}
    with pytest.raises(UserError, match=r"more\.json"):
        sizes_in(tmp_path, files)


def test_what_is_neither_here_nor_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hf download some/model"):
        read_sizes("hf:some/model", {})
    assert local_folder("hf:xswu/HPSv2:HPS_v2_compressed.pt") is None
    file = tmp_path / "model.pt"
    file.touch()
    with pytest.raises(UserError, match=r"do not say their sizes; give a folder with a config\.json"):
        local_folder(str(file))


def test_a_configuration_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]", "utf-8")
    with pytest.raises(UserError, match="is not a table"):
        sizes_in(tmp_path, {"model": "config.json"})
