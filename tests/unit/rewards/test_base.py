from __future__ import annotations

from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.rewards import REWARDS, make_reward
from vader_bench.rewards.base import frames_said
from vader_bench.rewards.clip import HumanPreference
from vader_bench.rewards.closed_form import Redness


def test_a_reward_is_made_from_its_family_and_settings(tiny_clip: Path) -> None:
    assert isinstance(make_reward("redness", {}), Redness)
    assert isinstance(make_reward("hps", {"model": str(tiny_clip)}), HumanPreference)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {},
            r"'hps': do not fit \(missing .* 'model'\); its settings are: model, tokenizer",
        ),
        ({"model": "a", "modle": "b"}, r"do not fit \(got an unexpected keyword argument 'modle'\)"),
    ],
)
def test_settings_of_another_family_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_reward("hps", settings)


def test_a_family_without_settings_says_so() -> None:
    with pytest.raises(UserError, match=r"its settings are: \(none\)"):
        make_reward("redness", {"colour": "red"})


def test_what_makes_no_reward_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REWARDS._entries, "guest", lambda: 3)
    with pytest.raises(UserError, match="reward 'guest': makes int, which is no Reward"):
        make_reward("guest", {})


@pytest.mark.parametrize(
    ("frames", "by_frame", "decoded", "said"),
    [
        (None, True, 2, "2 random frames of 8 in training, all of them at looks"),
        (None, True, None, "all of 8 frames in training and at looks"),
        (None, True, 8, "all of 8 frames in training and at looks"),
        (None, False, 2, "all of 8 frames in training and at looks"),
        (4, False, 2, "4 evenly spaced of 8 frames in training and at looks"),
        (8, False, 2, "all of 8 frames in training and at looks"),
    ],
)
def test_it_is_said_which_frames_are_judged(
    frames: int | None, by_frame: bool, decoded: int | None, said: str
) -> None:
    assert frames_said(frames, by_frame, decoded, 8) == said
