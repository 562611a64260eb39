from __future__ import annotations

from vader_bench.experiment.registered import backbone_families, method_configs, reward_families


def test_registered_names_are_read_from_the_registries() -> None:
    assert {"vader", "ddpo", "diffusion-dpo"} <= set(method_configs())
    assert "modelscope" in backbone_families()
    assert "aesthetic" in reward_families()
