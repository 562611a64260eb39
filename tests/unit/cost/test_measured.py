"""Measurements in files, and what plans make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vader_bench.cost.gpus import GPUS, card_of
from vader_bench.cost.measured import ArmMeasurement, Spent, Utilisation, keep, kept, measured_file
from vader_bench.errors import UserError


def spent(rate: float) -> Spent:
    return Spent(videos=2, seconds=4.0, flops=int(4 * rate), estimated_flops=1, bytes=1, estimated_bytes=1)


def arm(name: str = "vader", training: float = 1e12, look: float = 1e12, **changes: Any) -> ArmMeasurement:
    fields: dict[str, Any] = {
        "suite": "wan2.1",
        "arm": name,
        "reward": "hps",
        "precision": "bf16",
        "memory": "no switch",
        "video": (81, 480, 832),
        "batch": 1,
        "random_weights": True,
        "training": spent(training),
        "look": spent(look),
    }
    return ArmMeasurement(**(fields | changes))


def test_rates_are_by_time() -> None:
    assert spent(3e12).rate == 3e12
    assert spent(3e12).seconds_a_video == 2.0


def test_what_is_kept_is_read_again_and_replaced_by_newer(tmp_path: Path) -> None:
    path = measured_file(tmp_path, "NVIDIA H100 80GB HBM3")
    assert path == tmp_path / "measured" / "h100.json"
    assert kept(path) == []
    keep(path, "NVIDIA H100 80GB HBM3", [arm(), arm("ddpo")])
    newer = arm(training=2e12)
    keep(path, "NVIDIA H100 80GB HBM3", [newer])
    assert kept(path) == [newer, arm("ddpo")]
    assert measured_file(tmp_path, "Some Card (2)").name == "some-card-2.json"


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h100.json"
    path.write_text('{"arms": 3}', "utf-8")
    with pytest.raises(UserError, match=r"h100\.json: .*arms"):
        kept(path)


def test_utilisation_is_the_median_of_the_arms_of_a_suite() -> None:
    card = GPUS["h100"]  # 989 TFLOP/s in bf16
    arms = [arm(str(share), training=share * 989e12, look=989e11) for share in (0.2, 0.3, 0.7)]
    found = Utilisation([*arms, arm(precision="fp32"), arm(suite="ltx")], card)
    assert found.training("wan2.1", "bf16") == pytest.approx(0.3)
    assert found.looks("wan2.1", "bf16") == pytest.approx(0.1)
    assert found.training("svd", "bf16") is None
    assert found.looks("wan2.1", "fp16") is None


@pytest.mark.parametrize(
    ("device", "card"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA H200", "h200"),
        ("NVIDIA H200 NVL", None),
        ("NVIDIA A100-SXM4-80GB", "a100-80"),
        ("NVIDIA A100 80GB PCIe", "a100-80"),
        ("NVIDIA A100-PCIE-40GB", "a100-40"),
        ("A100-SXM4-40GB", "a100-40"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("Tesla V100-SXM2-16GB", "v100-16"),
        ("Tesla V100-SXM2-32GB", None),
        ("Tesla V100-PCIE-16GB", None),
        ("NVIDIA GeForce RTX 4080", "rtx-4080"),
        ("NVIDIA GeForce RTX 4080 SUPER", None),
        ("NVIDIA GeForce RTX 4080 Laptop GPU", None),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA RTX A6000", "a6000"),
        ("NVIDIA RTX 6000 Ada Generation", None),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L40", None),
        ("NVIDIA L4", "l4"),
        ("Tesla T4", "t4"),
        ("NVIDIA T400", None),
        ("cpu", None),
    ],
)
def test_cards_are_known_by_what_drivers_call_them(device: str, card: str | None) -> None:
    assert card_of(device) == card
