"""Open-Sora 1.2's networks, schedule and sampler against what the original code computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.support.golden import FOLDER, Golden, golden
from vader_bench.backbones.stdit3 import Format, STDiT3, STDiT3Config


def weights(name: str) -> dict[str, Tensor]:
    tensors = load_file(FOLDER / f"{name}.safetensors")
    return {k.removeprefix("weights/"): v for k, v in tensors.items() if k.startswith("weights/")}


def denoiser(*, checkpointing: bool = False) -> tuple[Golden, STDiT3]:
    case = golden("stdit3_tiny_0")
    network = STDiT3(STDiT3Config.model_validate(case.config), checkpointing=checkpointing).eval()
    frequencies = network.rope.freqs.clone()
    network.load_state_dict(weights("stdit3_tiny_0"))
    torch.testing.assert_close(network.rope.freqs, frequencies)
    return case, network


def predict(case: Golden, network: STDiT3, call: dict[str, Any]) -> Tensor:
    given = case.inputs["x_mask"].bool()
    masks = {None: None, "inputs/x_mask": given, "all ones": torch.ones_like(given)}
    return network(  # type: ignore[no-any-return]
        case.inputs["x"],
        torch.tensor(call["timestep"]),
        case.inputs["y"][:, 0],
        Format(call["height"], call["width"], call["fps"]),
        words=case.inputs["mask"].bool() if call["uses_mask"] else None,
        generated=masks[call["x_mask"]],
    )


@torch.no_grad()
@pytest.mark.parametrize("index", range(5))
def test_the_denoiser_with_and_without_masks(index: int) -> None:
    case, network = denoiser()
    call = case.config["calls"][index]
    case.check(call["output"], predict(case, network, call))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_gradients_of_the_denoiser(checkpointing: bool) -> None:
    case, network = denoiser(checkpointing=checkpointing)
    x = case.inputs["x"].requires_grad_()
    (predict(case, network, case.config["calls"][0]) * case.inputs["grad_probe"]).sum().backward()
    assert x.grad is not None
    case.check("grad_x", x.grad)
    names = [key.removeprefix("grad/") for key in case.outputs if key.startswith("grad/")]
    assert len(names) == 4
    for name in names:
        gradient = network.get_parameter(name).grad
        assert gradient is not None
        case.check(f"grad/{name}", gradient)
