"""Does a run of one's own agree with the reference result? Decided by interval, method by method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vader_bench.records.inputs import other_inputs
from vader_bench.records.record import Evaluation, Record, VideoScore
from vader_bench.report.load import Results
from vader_bench.stats import LEVEL, Estimate, Resampler
from vader_bench.stats.looks import Video, common_videos, looks_of, scores_by_prompt, video_scores

__all__ = ["ReferenceAgreement", "agreement_lines", "compare_results"]

_MISSING = Estimate.none("missing")


@dataclass(frozen=True)
class ReferenceAgreement:
    """One method on one reward, here and in the reference."""

    reward: str
    method: str
    queries: int = 0
    """The reward queries at which both are compared: the most that both were looked at after."""
    own: Estimate = _MISSING
    """Held-out reward here, with its own 95 % interval."""
    reference: Estimate = _MISSING
    difference: Estimate = _MISSING
    """``own`` minus ``reference``. Its interval is widened for the number of comparisons (Bonferroni), so
    that all of them hold together with 95 %. Where one side has a single seed, the spread of the other
    side's runs stands for it."""
    seeds: tuple[int, int] = (0, 0)
    """Number of seeds here and in the reference."""
    same_seeds: int = 0
    """Seeds that both have."""
    identical_seeds: int = 0
    """Those of them whose scores at this look are equal to the last bit."""
    unlike: str = ""
    """Why the two cannot be compared; empty where they were."""
    settings: str = ""
    """Which settings are others here than in the reference; empty where none is."""

    @property
    def agrees(self) -> bool | None:
        """Whether the interval of the difference holds zero; ``None`` where nothing was compared."""
        if self.unlike:
            return None
        return self.difference.low <= 0 <= self.difference.high

    @property
    def proviso(self) -> str:
        """Return what follows a verdict: that it is one about other settings, or nothing."""
        return ", with other settings" if self.settings else ""


def compare_results(own: Results, reference: Results) -> list[ReferenceAgreement]:
    """Return the comparison for every reward and method of ``own``, by held-out reward."""
    pairs = [(reward, method) for reward in own.experiment.rewards for method in own.methods]
    return [
        _compare(reward, method, own.compared(reward, method), _of(reference, reward, method), len(pairs))
        for reward, method in pairs
    ]


def _of(reference: Results, reward: str, method: str) -> list[Record]:
    return reference.compared(reward, method) if method in reference.methods else []


def agreement_lines(agreements: Sequence[ReferenceAgreement]) -> list[str]:
    """Return what the comparison allows to be said."""
    compared = [a for a in agreements if a.agrees is not None]
    apart = [a for a in compared if not a.agrees]
    odd = sum(bool(a.settings) for a in compared)
    proviso = f"; {odd} of them {'has' if odd == 1 else 'have'} other settings" if odd else ""
    lines = []
    if compared and not apart:
        lines.append(f"Agrees with the reference in all {len(compared)} comparisons, by interval{proviso}.")
    if apart:
        names = ", ".join(f"{a.method} on {a.reward}{a.proviso}" for a in apart)
        lines.append(f"Differs from the reference in {len(apart)} of {len(compared)} comparisons: {names}.")
    same, identical = sum(a.same_seeds for a in compared), sum(a.identical_seeds for a in compared)
    if same:
        lines.append(
            f"{identical} of {same} runs with a seed of the reference have the same scores, bit for bit."
        )
    if any(a.seeds == (1, 1) for a in compared):
        lines.append(
            "With one seed on either side the intervals cover prompts only, not another training run."
        )
    lines += [
        f"{a.method} on {a.reward} has other settings than in the reference: {a.settings}."
        for a in agreements
        if a.settings
    ]
    lines += [f"{a.method} on {a.reward} was not compared: {a.unlike}." for a in agreements if a.unlike]
    return lines


def _compare(
    reward: str, method: str, own: Sequence[Record], reference: Sequence[Record], comparisons: int
) -> ReferenceAgreement:
    unlike = _unlike(own, reference)
    if unlike:
        return ReferenceAgreement(reward, method, unlike=unlike)
    looks = [{look.queries: look for look in looks_of(record)} for record in (*own, *reference)]
    queries = max(set.intersection(*(set(run) for run in looks)), default=0)
    if queries == 0:
        return ReferenceAgreement(
            reward, method, unlike="there is no number of queries after which both were judged"
        )
    videos = common_videos([look for run in looks for look in run.values()])
    if not videos:
        return ReferenceAgreement(reward, method, unlike="they were judged on other videos")
    at = [run[queries] for run in looks]
    prompts, means = scores_by_prompt(at, _reward, videos)
    assert means is not None  # every video has a reward
    scores = means[: len(own)], means[len(own) :]
    seeds = [record.seed for record in own], [record.seed for record in reference]
    ours, theirs = (
        Resampler(seeds[side], for_one_run=len(seeds[1 - side]) == 1).seeds_and_prompts(scores[side], prompts)
        for side in (0, 1)
    )
    sides = at[: len(own)], at[len(own) :]
    here, there = (dict(zip(seeds[side], sides[side], strict=True)) for side in (0, 1))
    same = here.keys() & there.keys()
    return ReferenceAgreement(
        reward,
        method,
        queries=queries,
        own=Resampler(seeds[0]).seeds_and_prompts(scores[0], prompts).estimate(),
        reference=Resampler(seeds[1]).seeds_and_prompts(scores[1], prompts).estimate(),
        difference=(ours - theirs).estimate(1 - (1 - LEVEL) / comparisons),
        seeds=(len(own), len(reference)),
        same_seeds=len(same),
        identical_seeds=sum(_scored_alike(here[seed], there[seed], videos) for seed in same),
        settings=_other_settings(own[0], reference[0]),
    )


def _reward(score: VideoScore) -> float:
    return score.reward


def _scored_alike(first: Evaluation, second: Evaluation, videos: Sequence[Video]) -> bool:
    return video_scores(first, _reward, videos) == video_scores(second, _reward, videos)


def _unlike(own: Sequence[Record], reference: Sequence[Record]) -> str:
    """Return why two sets of runs cannot be compared; empty where they can."""
    if not own:
        return "it is missing here"
    if not reference:
        return "it is missing in the reference"
    models = [record.asked.suite.backbone.family for record in (own[0], reference[0])]
    if models[0] != models[1]:
        return f"it is of another model: {models[0]} here, {models[1]} there"
    names = [*other_inputs(own[0], reference[0].digests)]
    names += ["adapter"] if own[0].digests.get("adapter") != reference[0].digests.get("adapter") else []
    return f"{', '.join(names)} differ" if names else ""


def _other_settings(own: Record, reference: Record) -> str:
    """Return what differs of the settings that both records name; older ones do not name all."""
    here, there = own.asked.settings, reference.asked.settings
    odd = [name for name in sorted(here.keys() & there.keys()) if here[name] != there[name]]
    return ", ".join(f"{name} {here[name]} instead of {there[name]}" for name in odd)
