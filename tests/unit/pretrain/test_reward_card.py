"""The card tells of every measurement of the three models."""

from __future__ import annotations

from pathlib import Path

import pytest

from vader_bench.pretrain import reward_card
from vader_bench.pretrain.reward_card import measure_more_rewards, section

NAMES = {
    "pickscore": ("model", "judges", "others", "alike", "scale"),
    "yolos": ("found", "props_found", "invented", "books_invented"),
    "vjepa": ("variance", "error", "constant_error", "shuffled", "replaced"),
}


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the card gets where each model's figures are 0.11, 0.12 and so on."""
    for number, (part, names) in enumerate(NAMES.items(), start=1):
        values = {name: 0.1 * number + 0.01 * i for i, name in enumerate(names, start=1)}
        monkeypatch.setattr(reward_card, f"_measure_{part}", lambda _work, _out, values=values: values)
    return measure_more_rewards(tmp_path, tmp_path)


def test_every_model_is_measured_under_its_own_name(measured: dict[str, object]) -> None:
    assert set(measured) == {f"{part}_{name}" for part, names in NAMES.items() for name in names}
    assert measured["yolos_found"] == pytest.approx(0.21)


def test_the_section_says_them_all(measured: dict[str, object]) -> None:
    text = section(measured)
    for said in ("11.0%", "12.0%", "0.14", "21.0%", "24.0%", "0.31", "0.320", "0.330", "34.0%", "35.0%"):
        assert said in text
    assert "{" not in text
