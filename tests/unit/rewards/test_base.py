from __future__ import annotations

from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.rewards import REWARDS, make_reward
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
