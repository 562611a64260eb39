"""What a study file may say."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from vader_bench.config.schema import Name, Strict
from vader_bench.config.yamlfile import Fault, nearest, parse, raise_faults, read_mapping, rule
from vader_bench.errors import UserError
from vader_bench.prompts.sets import known_names

__all__ = [
    "LONG_SEED", "PAPER_RESPONSES", "PLACEHOLDERS", "BlockConfig", "ConsentConfig", "ExclusionConfig",
    "GoldKind", "PayConfig", "Question", "StudyConfig", "VideoConfig", "arms_named", "block_cost",
    "load_study",
]  # fmt: skip

PAPER_RESPONSES = 100
"""Responses a comparison in Table 2 of the VADER paper."""
LONG_SEED = 2**64
"""Seeds below it can be tried one by one: the names of a package's files tell which one is right."""
PLACEHOLDERS = {
    "who": "YOUR NAME AND INSTITUTION",
    "ethics": "REFERENCE OF YOUR ETHICS BOARD'S DECISION, OR WHY NONE IS NEEDED",
    "contact": "YOUR ADDRESS",
}
"""What stands in the consent of a study file that was not filled in."""
POWERED_RESPONSES = 300
"""Finds a preference of 60 % with a power of about 0.8 at two questions, on 150 prompts and by the 60 people
whom blocks of five pairs ask for: see ``human_eval/README.md``."""

GoldKind = Literal["mismatch", "degraded"]
"""How a gold item is made: beside the right video, one of another prompt, or the same one spoiled."""


def _even(value: int) -> int:
    if value % 2:
        raise rule(f"is {value}", "it must be even, so that each side is shown equally often")
    return value


def _one_line(text: str) -> str:
    if not text.strip():
        raise rule("is empty", "write some text")
    if len(text.splitlines()) > 1:
        raise rule("has several lines", "write one line")
    return text


def _filled(text: str) -> str:
    if not text.strip():
        raise rule("is empty", "write some text")
    return text


def _address(address: str) -> str:
    """Refuse addresses that a browser would not load the videos from, or that hold a secret."""
    parts = urlsplit(address)
    loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    relative = not parts.scheme and not parts.netloc and address.startswith("/")
    if not (
        relative or (parts.scheme == "https" and parts.hostname) or (parts.scheme == "http" and loopback)
    ):
        raise rule(f"is {address!r}", "give an https:// address, or a path on the server such as /videos/")
    if parts.username is not None or parts.query or parts.fragment:
        raise rule("holds a name, a query or a fragment", "give a plain address: it is shown to everyone")
    if set(address) & set(" ;,'\"<>\\") or not address.isprintable() or not address.isascii():
        raise rule(f"is {address!r}", "percent-encode what is no letter, digit or one of ./-_~:")
    if not address.endswith("/"):
        raise rule(f"is {address!r}", "end it with a slash: file names are put behind it")
    return address


def _listed(value: Any) -> Any:
    return (
        sorted(value) if isinstance(value, list) and all(isinstance(name, str) for name in value) else value
    )


Line = Annotated[str, AfterValidator(_one_line)]
Text = Annotated[str, AfterValidator(_filled)]
Share = Annotated[float, Field(ge=0, le=1)]
Pair = Annotated[list[Name], BeforeValidator(_listed), Field(min_length=2, max_length=2)]


class Question(Strict):
    """One question about a pair of videos."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
    text: Line
    gold: GoldKind | None = None
    """The kind of gold item whose right answer to this question is known."""


class BlockConfig(Strict):
    """What one rater sees in one go."""

    items: int = Field(default=5, ge=2, le=30)
    """Most pairs of two arms; fewer where there are fewer prompts, as a rater sees each prompt once."""
    gold: int = Field(default=1, ge=0, le=4)
    """Pairs whose right answer is known."""
    repeats: int = Field(default=1, ge=0, le=4)
    """Pairs shown again with sides swapped."""
    per_rater: int = Field(default=1, ge=1)
    """Most blocks that one person may answer. The power of a study depends on how many people take part."""

    def fewest_people(self, blocks: int) -> int:
        """Return how many people answer ``blocks`` if each takes as many as they may."""
        return -(-blocks // self.per_rater)


class PayConfig(Strict):
    """What a rater gets for a block, in one currency."""

    reward: float = Field(gt=0)
    seconds_per_item: float = Field(default=20.0, gt=0)
    """Median time for one pair; take it from a pilot."""
    floor_per_hour: float = Field(default=15.0, gt=0)
    """A study that pays less is refused."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"


class ConsentConfig(Strict):
    """What raters are told before they begin, beside duration, pay and the right to stop."""

    version: Line
    who: Line
    """Who does the study."""
    purpose: Line
    ethics: Line
    """Reference of the ethics board's decision, or why none is needed."""
    contact: Line
    risks: Line = "Videos are made by a computer. Some may look odd or unpleasant."
    data: Line = (
        "Kept are your answers, when you gave them and how long you took, whether the videos played, the "
        "size of the window and how often you left it. Your account's name is replaced by a code, and "
        "nothing is published that names you."
    )


class ExclusionConfig(Strict):
    """Which blocks are not used in the main analysis. Fixed before any answer; none looks at arms."""

    gold_right: Share = 1.0
    """Least share of gold questions answered right."""
    watched: Annotated[float, Field(ge=0, le=0.9)] = 0.9
    """Least share of each video played; the page opens its questions at 0.9."""
    repeats_same: Share = 0.25
    """Least share of a rater's repeated questions answered the same; chance alone gives a half,"""
    repeats_answers: int = Field(default=4, ge=1)
    """after so many of them, over all blocks: two answers are too few to leave anyone out."""
    one_sided_p: Share = 0.001
    """A rater who takes one side so often that chance does it this rarely is left out,"""
    one_sided_items: int = Field(default=20, ge=1)
    """after so many answers."""


class VideoConfig(Strict):
    """How all videos are encoded; ``None`` is what all of them have already."""

    width: int | None = Field(default=None, ge=16, multiple_of=2)
    height: int | None = Field(default=None, ge=16, multiple_of=2)
    frames: int | None = Field(default=None, ge=2)
    """The first frames, counted after the frame rate is changed."""
    frames_per_second: int | None = Field(default=None, ge=1, le=60)
    crf: int = Field(default=18, ge=1, le=51)
    """x264's quality. 0 would be lossless, in a profile that Firefox and Safari do not play."""


class StudyConfig(Strict):
    """A study: who is compared with whom, on what, by how many answers."""

    study: Name
    title: Line
    arms: dict[Name, str] = Field(min_length=2)
    """Results folder of a run, or folder of videos, by name; relative to the study file. What others are
    compared with comes first: told is how often a later arm is preferred to it. Videos of a folder are
    named by the line of their prompt, from 0, and their noise: ``12.mp4`` or ``12-1.mp4``."""
    comparisons: list[Pair] = Field(default=[])
    """Pairs of arms; none named are all pairs."""
    prompts: str | None = None
    """Held-out prompts: a .txt file, one a line, relative to the study file, or the ``heldout`` split of a
    packaged set. Folders of videos need it; of runs it takes those prompts, by default all with a video."""
    samples: int | None = Field(default=None, ge=1, le=16)
    """So many videos of each prompt are made by the model of each arm that is a run, from its adapters and
    from noises that all arms share. Without it, arms show the few videos that their runs have left."""
    questions: list[Question] = Field(min_length=1)
    primary: str
    """The question that the study is about, by its id."""
    ties: bool = False
    """Whether raters may say that both are about the same."""
    responses: Annotated[int, AfterValidator(_even)] = Field(default=POWERED_RESPONSES, ge=2)
    """Answers wanted a comparison, golds and repeats not counted."""
    paper: bool = False
    """Whether to ask for the paper's 100 responses a comparison in place of ``responses``."""
    blocks: BlockConfig = BlockConfig()
    gold_arm: Name | None = None
    """The arm whose videos gold items are made of, in copies of their own; by default a drawn one for each.
    Name one only if the videos of another would not match their text: whoever compares the pictures of a
    package can find the videos that the copies are of."""
    hypotheses: list[Line] = Field(default=[])
    """What is expected, written before any answer. Raters may see it: name no arm."""
    instructions: Text = "Watch both videos to their end, as often as you like, then answer every question."
    consent: ConsentConfig
    pay: PayConfig
    exclusion: ExclusionConfig = ExclusionConfig()
    video: VideoConfig = VideoConfig()
    video_url: Annotated[str, AfterValidator(_address)] = "/videos/"
    """Where the videos are; the file's name is put behind it."""
    seed: int = Field(ge=0)
    """Root of all draws, names of files among them, of any length: below ``LONG_SEED`` it can be found by
    trying, and with it the arms. It stays in the key."""

    @property
    def responses_wanted(self) -> int:
        """Return the answers a comparison."""
        return PAPER_RESPONSES if self.paper else self.responses

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return the pairs of arms that are compared, each in the order of the names."""
        named = [(first, second) for first, second in self.comparisons]
        return named or list(itertools.combinations(sorted(self.arms), 2))

    @property
    def gold_kinds(self) -> list[GoldKind]:
        """Return the kinds of gold item, in the order of the questions."""
        return list(dict.fromkeys(question.gold for question in self.questions if question.gold))


def block_cost(study: StudyConfig, pairs: int | None = None) -> tuple[float, float]:
    """Return what a block of ``pairs``, by default a full one, pays an hour and the seconds it takes."""
    full = study.blocks.items + study.blocks.gold + study.blocks.repeats
    seconds = (full if pairs is None else pairs) * study.pay.seconds_per_item
    return study.pay.reward * 3600 / seconds, seconds


def load_study(path: str | Path, paper: bool = False) -> StudyConfig:
    """Return the study in a YAML file, checked as a whole; its paths are absolute.

    Args:
        path: the file.
        paper: ask for the paper's number of responses whatever the file says.

    Raises:
        UserError: every fault of the file, one a line.
    """
    path = Path(path)
    data, faults = read_mapping(path)
    if paper:
        data["paper"] = True
    if isinstance(arms := data.get("arms"), dict):
        data["arms"] = {name: _located(folder, path.parent) for name, folder in arms.items()}
    if isinstance(prompts := data.get("prompts"), str) and prompts not in known_names():
        data["prompts"] = _located(prompts, path.parent)
    study, found = parse(StudyConfig, data)
    problems: list[Fault | UserError] = [*faults, *found]
    if study is not None:
        problems += _faults(study)
    raise_faults(str(path), problems)
    assert study is not None
    return study


def _located(value: Any, folder: Path) -> Any:
    return str((folder / value).resolve()) if isinstance(value, str) else value


def _faults(study: StudyConfig) -> list[Fault]:
    """Return what is wrong with fields that are right by themselves."""
    ids = [question.id for question in study.questions]
    faults = [
        Fault("questions", f"has the id {name!r} twice", "give each its own")
        for name in sorted({name for name in ids if ids.count(name) > 1})
    ]
    if study.primary not in ids:
        faults.append(
            Fault("primary", f"is {study.primary!r}, which is no question", nearest(study.primary, ids))
        )
    if study.samples is not None and study.prompts is None:
        faults.append(Fault("samples", "asks for new videos, and there is no `prompts`", "name the prompts"))
    for key, text in _shown(study):
        faults += arms_named(study, key, text)
    faults += _comparison_faults(study)
    faults += _gold_faults(study)
    hourly, seconds = block_cost(study)
    if hourly < study.pay.floor_per_hour:
        wanted = study.pay.floor_per_hour * seconds / 3600
        wrong = f"pays {hourly:.2f} {study.pay.currency} an hour, below {study.pay.floor_per_hour:.2f}"
        faults.append(Fault("pay.reward", wrong, f"pay at least {wanted:.2f} for a block of {seconds:.0f} s"))
    return faults


def arms_named(study: StudyConfig, where: str, text: str) -> list[Fault]:
    """Return a fault for each arm whose name raters could read in ``text``."""
    remedy = "rename the arm, or say it otherwise"
    return [
        Fault(where, f"names the arm {arm!r}, which raters must not know", remedy)
        for arm in study.arms
        if re.search(rf"(?<![a-z0-9]){re.escape(arm)}(?![a-z0-9])", text, re.IGNORECASE)
    ]


def _shown(study: StudyConfig) -> Iterator[tuple[str, str]]:
    """Yield what the file says to raters, by key."""
    yield "title", study.title
    yield "instructions", study.instructions
    for index, question in enumerate(study.questions):
        yield f"questions.{index}.id", question.id
        yield f"questions.{index}.text", question.text
    for index, hypothesis in enumerate(study.hypotheses):
        yield f"hypotheses.{index}", hypothesis
    for name, text in study.consent:
        yield f"consent.{name}", text


def _comparison_faults(study: StudyConfig) -> list[Fault]:
    faults = []
    for index, pair in enumerate(study.comparisons):
        key = f"comparisons.{index}"
        unknown = [name for name in pair if name not in study.arms]
        faults += [
            Fault(key, f"names {name!r}, which is no arm", nearest(name, study.arms)) for name in unknown
        ]
        if pair[0] == pair[1]:
            faults.append(Fault(key, f"compares {pair[0]!r} with itself", "name two arms"))
        if pair in study.comparisons[:index]:
            faults.append(Fault(key, "is named before", "name it once"))
    return faults


def _gold_faults(study: StudyConfig) -> list[Fault]:
    if study.blocks.gold == 0:
        return []
    faults = []
    if not study.gold_kinds:
        remedy = "give a question `gold: mismatch` or `gold: degraded`, or set blocks.gold to 0"
        faults.append(Fault("questions", "has none whose right answer is known for gold items", remedy))
    if study.gold_arm is not None and study.gold_arm not in study.arms:
        wrong = f"is {study.gold_arm!r}, which is no arm"
        faults.append(Fault("gold_arm", wrong, nearest(study.gold_arm, study.arms)))
    return faults
