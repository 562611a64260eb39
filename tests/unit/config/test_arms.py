"""An entry of an experiment is read as a method, its settings and what it changes in the suite."""

from __future__ import annotations

from vader_bench.config.arms import for_reward, read_arm


def test_an_arm_is_called_after_its_method_unless_it_names_one() -> None:
    assert read_arm("vader", {"k": 2}) == ("vader", {"k": 2}, {})
    assert read_arm("two-steps", {"method": "vader", "k": 2}) == ("vader", {"k": 2}, {})


def test_what_an_arm_changes_in_the_suite_is_no_setting() -> None:
    arm = read_arm("one-frame", {"method": "vader", "suite": {"decode_frames": 1}, "by_reward": {}})
    assert arm.suite == {"decode_frames": 1}
    assert arm.settings == {"by_reward": {}}


def test_overrides_win_for_their_reward_alone() -> None:
    settings = {"k": 1, "learning_rate": 0.1, "by_reward": {"action": {"k": 3}}}
    assert for_reward(settings, "action") == {"k": 3, "learning_rate": 0.1}
    assert for_reward(settings, "aesthetic") == {"k": 1, "learning_rate": 0.1}
