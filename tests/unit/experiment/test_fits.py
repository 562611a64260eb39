"""What a run would fail on is told before any run starts: by ``check``, ``plan`` and ``run`` alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from tests.unit.cli.conftest import experiment_data, write_project, write_yaml
from vader_bench.cli import main
from vader_bench.config.yamlfile import Fault
from vader_bench.errors import UserError
from vader_bench.experiment.fits import fit_faults
from vader_bench.experiment.load import LoadedExperiment, load_experiment, load_suite
from vader_bench.experiment.resolve import resolve_experiment
from vader_bench.experiment.tuning.candidates import check_candidates, find_candidates
from vader_bench.experiment.tuning.config import load_tune
from vader_bench.methods import optimizers

ROOT = Path(__file__).parents[3]
LAYER = "transformer_in.transformer_blocks.0.attn1.to_q"
FIG7 = ROOT / "experiments" / "fig7.yaml"


class Project:
    """A suite on the tiny model and an experiment, as files that a test changes."""

    def __init__(self, folder: Path, pipeline: Path) -> None:
        self.folder = folder
        self.path = write_project(folder, pipeline)
        self.suite: dict[str, Any] = yaml.safe_load((folder / "tiny.yaml").read_text("utf-8"))
        self.experiment = experiment_data()

    def told(self) -> list[str]:
        """Return what is wrong, by line."""
        write_yaml(self.folder / "tiny.yaml", self.suite)
        write_yaml(self.path, self.experiment)
        try:
            resolve_experiment(self.path, with_weights=False)
        except UserError as error:
            return str(error).split("\n")
        return []

    def prompts(self, **splits: list[str]) -> None:
        """Give the suite a prompt set of its own."""
        write_yaml(self.folder / "mine.yaml", {"splits": splits})
        self.suite["prompts"] = {"default": "mine.yaml"}


def faults_of(loaded: LoadedExperiment) -> list[Fault | UserError]:
    prompts = {reward: loaded.suite.prompts_for(reward) for reward in loaded.config.rewards}
    return fit_faults(loaded.suite, loaded.arms, prompts, loaded.config.evaluation)


@pytest.fixture
def project(tmp_path: Path, tiny_pipeline: Path) -> Project:
    return Project(tmp_path, tiny_pipeline)


def test_what_fits_is_no_fault(project: Project) -> None:
    assert project.told() == []


def test_prompts_that_are_too_long_are_reported_by_place_and_none_is_quoted_at_length(
    project: Project,
) -> None:
    long = " ".join(["a very long sentence"] * 60)
    train = [f"a cat {number}" for number in range(40)]
    train[32] = long
    project.prompts(train=train, heldout=["a hen", "x " * 300, "a pig"])
    lines = project.told()
    assert len(lines) == 2
    assert "prompt set mine.yaml: train, prompt 33 (line 35): 'a very long" in lines[0]
    assert "tokens, the text encoder reads" in lines[0]
    assert "heldout, prompt 2" in lines[1]
    assert all(len(line) < 300 for line in lines)


def test_prompts_that_name_no_class_are_reported(project: Project, tiny_videomae: Path) -> None:
    project.suite["rewards"]["act"] = {"family": "action", "settings": {"model": str(tiny_videomae)}}
    labels = load_labels(tiny_videomae)
    project.experiment["rewards"] = ["act"]
    project.prompts(train=[f"a cat {labels[0]}", "a cat sits"], heldout=[f"a hen {labels[1]}"])
    [line] = project.told()
    assert "train, prompt 2 (line 4): 'a cat sits' names no action that the classifier knows; use" in line
    project.prompts(train=[f"a cat {labels[0]}"], heldout=[f"a hen {labels[1]}"])
    assert project.told() == []


def load_labels(folder: Path) -> list[str]:
    import json

    return list(json.loads((folder / "config.json").read_text("utf-8"))["id2label"].values())


def test_judges_read_the_prompts_too(project: Project, tiny_videomae: Path) -> None:
    project.suite["rewards"]["act"] = {"family": "action", "settings": {"model": str(tiny_videomae)}}
    project.experiment["evaluation"]["measure"] = {"judges": ["act"]}
    assert any("names no action that the classifier knows" in line for line in project.told())


def test_measures_of_the_pocket_world_read_its_sentences_alone(project: Project) -> None:
    project.suite["prompt_share"] = {"family": "oracle"}
    assert any("is not a sentence of the pocket world" in line for line in project.told())
    project.suite["prompt_share"] = {"family": "audience-rating"}  # whatever was asked
    project.suite["backbone"]["settings"]["frames"] = 8  # as the pocket world has them
    assert project.told() == []


@pytest.mark.parametrize("arm", [False, True])
def test_more_frames_than_a_video_has(project: Project, arm: bool) -> None:
    if arm:
        project.experiment["compares"] = ["method", "decode_frames"]
        for one, frames in zip(project.experiment["methods"].values(), (99, 2), strict=True):
            one["suite"] = {"decode_frames": frames}
    else:
        project.suite["decode_frames"] = 99
    key = "methods.vader.suite.decode_frames" if arm else "decode_frames of suite tiny"
    assert project.told() == [f"{project.path}: {key}: is 99, and a video has 4 frames; choose 4 at most"]


def test_more_steps_than_the_schedule(project: Project) -> None:
    project.suite["sampler"]["steps"] = 5000
    assert any("sampler steps = 5000: out of range" in line for line in project.told())


def test_a_stochastic_equation_for_a_model_that_is_no_flow(project: Project) -> None:
    project.suite["sampler"]["sde"] = "dance-grpo"
    wrong = "is 'dance-grpo', and models of the family 'modelscope' are no flow models; leave it out"
    assert project.told() == [f"{project.path}: sampler.sde of suite tiny: {wrong}"]
    project.suite["sampler"]["sde"] = "flow-grpo"
    assert project.told() == []


def test_longer_videos_of_a_model_that_starts_from_no_picture(project: Project) -> None:
    project.experiment["evaluation"]["measure"] = {"chunks": 3}
    wrong = "is 3, and modelscope of suite tiny makes videos of texts alone; leave it out, or use an image-to"
    assert project.told() == [f"{project.path}: evaluation.measure.chunks: {wrong}-video suite"]
    project.experiment["evaluation"]["measure"] = {"chunks": 1}
    assert project.told() == []


def test_longer_videos_of_models_that_start_from_a_picture_are_no_fault() -> None:
    for suite in ("pocket-i2v", "svd"):
        assert "chunks" not in str(faults_of(load_experiment("fig9", suite=suite)))


def test_the_suites_of_flow_models_take_either_equation(tmp_path: Path) -> None:
    """Whether their weights are here or not."""
    experiment = yaml.safe_load(FIG7.read_text("utf-8")) | {"suite": "./flow.yaml", "tuning": []}
    experiment |= {"rewards": ["hps"]}
    suite = {"suite": "flow", "sampler": {"sde": "dance-grpo"}}
    write_yaml(tmp_path / "mine.yaml", experiment)
    for name in ("pocket-wan", "wan2.1", "wan2.2", "ltx", "open-sora-1.2"):
        write_yaml(tmp_path / "flow.yaml", suite | {"extends": name})
        loaded = load_experiment(tmp_path / "mine.yaml")
        assert loaded.suite.sampler.sde == "dance-grpo"
        assert "sde" not in str(faults_of(loaded))


def test_settings_that_a_family_does_not_know(project: Project) -> None:
    project.suite["backbone"]["settings"]["frams"] = 4
    assert any(
        "backbone.settings: frams: is not a known key; did you mean 'frames'?" in line
        for line in project.told()
    )
    project.suite["backbone"]["settings"].pop("frams")
    project.suite["rewards"]["red"]["settings"] = {"colour": "red"}
    [line] = project.told()
    assert "rewards.red: of suite tiny: settings of reward 'redness' do not fit" in line


def test_a_reward_without_gradient_is_nothing_for_vader(project: Project) -> None:
    project.suite["rewards"]["small"] = {"family": "jpeg-compressibility"}
    project.experiment["rewards"] = ["small"]
    remedy = "use ddpo or diffusion-dpo or grpo or nft or raft with it, and no arm vader"
    told = f"{project.path}: rewards: names 'small', which has no gradient; {remedy}"
    assert project.told() == [told]
    mix: dict[str, Any] = {
        "parts": {"redness": {}, "jpeg-compressibility": {}},
        "weights": {"redness": 1.0, "jpeg-compressibility": 1.0},
    }
    project.suite["rewards"]["small"] = {"family": "mix", "settings": mix}
    assert "has no gradient" in project.told()[0]
    del mix["parts"]["jpeg-compressibility"], mix["weights"]["jpeg-compressibility"]
    assert project.told() == []


def test_more_steps_with_gradient_than_the_sampler_has(project: Project) -> None:
    project.experiment["methods"]["vader"]["k"] = 99
    assert project.told() == [
        f"{project.path}: methods.vader.k: is 99 on red: is out of range; choose 1 to 2, or random"
    ]
    for good in (1, 2, "random"):
        project.experiment["methods"]["vader"]["k"] = good
        assert project.told() == []


PLUGIN = """\
import torch
from torch import nn as networks

print("run")
LIMIT: float = 0.5
smooth, other = (lambda video, prompts: video.mean((1, 2, 3, 4)),) * 2


def bright(video, prompts):
    return video.mean((1, 2, 3, 4))
"""


def test_functions_of_plugins_are_looked_for_and_the_file_is_not_run(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"file": "mine.py", "function": "brght"}
    project.suite["rewards"]["red"] = {"family": "plugin", "settings": settings}
    assert any("mine.py': does not exist; give the path of a .py file" in line for line in project.told())
    (project.folder / "mine.py").write_text(PLUGIN, "utf-8")
    [line] = project.told()
    assert line.endswith(
        "has no function 'brght'; name one of: LIMIT, bright, networks, other, smooth, torch"
    )
    for name in ("bright", "smooth", "other"):
        settings["function"] = name
        assert project.told() == []
    settings["function"], settings["differentiable"] = "bright", False
    assert "which has no gradient" in project.told()[0]
    settings["differentiable"] = True
    (project.folder / "mine.py").write_text("def bright(:\n", "utf-8")
    assert "is not Python" in project.told()[0]
    assert capsys.readouterr().out == ""


def test_frames_that_a_backbone_cannot_make_are_reported_without_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    text = (ROOT / "vader_bench" / "suites" / "wan2.1.yaml").read_text("utf-8")
    (tmp_path / "mine.yaml").write_text(text.replace("frames: 81", "frames: 80"), "utf-8")
    with pytest.raises(UserError, match=r"backbone.settings.frames = 80: is not a multiple of 4 plus 1"):
        resolve_experiment(FIG7, str(tmp_path / "mine.yaml"), with_weights=False)


def test_pictures_that_are_missing_are_reported_as_pictures(tmp_path: Path) -> None:
    suite = load_suite("pocket-i2v").model_dump(mode="json", exclude_none=True)
    suite["backbone"]["settings"]["pictures"] = "./pictures"
    suite["prompts"] = {"default": "mine.yaml"}
    suite.pop("gold", None), suite.pop("prompt_share", None)
    write_yaml(tmp_path / "i2v.yaml", suite | {"suite": "mine"})
    write_yaml(tmp_path / "mine.yaml", {"splits": {"train": ["cat"], "heldout": ["hen"]}})
    experiment = experiment_data() | {"suite": "i2v.yaml", "rewards": [next(iter(suite["rewards"]))]}
    experiment["evaluation"]["final_splits"] = ["heldout"]
    path = write_yaml(tmp_path / "small.yaml", experiment)
    with pytest.raises(
        UserError, match=r"pictures = .\./pictures.: is not a folder; give a folder of pictures"
    ):
        resolve_experiment(path, with_weights=False)
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UserError, match=r"train, prompt 1.*'cat' names no picture in"):
        resolve_experiment(path, with_weights=False)


def test_what_prompts_have_beside_their_text_is_checked_too(project: Project, tmp_path: Path) -> None:
    """A picture of its own needs no folder; a model of texts has no use for it, svd none for a text."""
    Image.new("RGB", (8, 8)).save(tmp_path / "cat.png")
    lines = {
        "train": [{"prompt": "cat", "image": "cat.png"}, {"prompt": "dog"}],
        "heldout": [{"prompt": "hen", "image": "cat.png", "negative_prompt": "grey"}],
    }
    for split, said in lines.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in said), "utf-8")
    project.suite["prompts"] = {"default": "mine.yaml"}
    write_yaml(tmp_path / "mine.yaml", {"splits": {"train": "train.jsonl", "heldout": "heldout.jsonl"}})
    assert any(
        "'cat' has an image, and modelscope makes videos of texts alone" in line for line in project.told()
    )
    suite = load_suite("pocket-i2v").model_dump(mode="json", exclude_none=True)
    suite["backbone"]["settings"]["pictures"] = "prompts"
    suite.pop("gold", None), suite.pop("prompt_share", None)
    suite["rewards"] = {"red": {"family": "redness"}}
    suite["prompts"] = {"default": "mine.yaml"}
    project.suite, project.experiment["rewards"] = suite | {"suite": "tiny"}, ["red"]
    told = project.told()
    assert any(
        "train, prompt 2: 'dog' has no picture: backbone.settings.pictures is 'prompts'" in one
        for one in told
    )
    assert any("'hen' has a negative prompt, and svd reads no texts" in line for line in told)
    assert not any("'cat'" in line for line in told)


def test_rewards_are_those_of_the_suite_that_is_given(project: Project) -> None:
    """The suite that the file names need not have them, nor be there."""
    other = project.suite | {"suite": "other", "rewards": {"am": {"family": "redness"}}}
    other["methods"] = project.experiment["methods"]  # rounds that looks do not cut
    write_yaml(project.folder / "other.yaml", other)
    for own in ("tiny.yaml", "nowhere.yaml"):
        experiment = project.experiment | {"rewards": ["am"], "suite": own}
        write_yaml(project.path, experiment | {"quick": {"rewards": ["am"]}})
        with pytest.raises(UserError):
            load_experiment(project.path)
        resolved = resolve_experiment(project.path, str(project.folder / "other.yaml"))
        assert (resolved.moved, resolved.suite.suite) == (True, "other")
        assert {run.reward for run in resolved.runs} == {"am"}


def test_a_suite_given_by_its_own_path_is_no_other_one(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    for given in ("tiny.yaml", "./tiny.yaml", str(project.folder / "tiny.yaml")):
        assert not resolve_experiment(project.path, given).moved


def test_text_files_of_prompts_have_a_way_out(project: Project) -> None:
    (project.folder / "mine.txt").write_text("a cat\n", "utf-8")
    project.suite["prompts"] = {"default": "mine.txt"}
    lines = project.told()
    assert any(
        "a .txt file is the split 'train' alone: write a .yaml file with "
        "`splits: {train: mine.txt, heldout: another.txt}`" in line
        for line in lines
    )


def test_all_faults_are_reported_at_once(project: Project) -> None:
    project.suite["decode_frames"] = 99
    project.experiment["methods"]["vader"]["k"] = 99
    project.prompts(train=["a cat", "x " * 300], heldout=["a hen"])
    assert len(project.told()) == 3


def test_adapters_are_held_against_the_model(project: Project) -> None:
    pair = {"lora_A": torch.ones(1, 8), "lora_B": torch.ones(8, 1)}
    weights = {f"unet.{LAYER}.{side}.weight": weight for side, weight in pair.items()}
    save_file(weights, project.folder / "lora.safetensors")
    project.experiment["methods"]["published"] = {"adapter": "./lora.safetensors"}
    [line] = project.told()
    assert "methods.published.adapter: is './lora.safetensors', which has " in line
    assert f"{LAYER} of shape [8, 8], not" in line
    (project.folder / "lora.safetensors").write_bytes(b"no tensors")
    [line] = project.told()
    assert "methods.published.adapter: is './lora.safetensors', which cannot be read as weights" in line


@pytest.mark.parametrize("role", ["reward", "judge", "gold"])
def test_judges_that_want_more_frames_than_a_video_has(project: Project, role: str) -> None:
    settings: dict[str, Any] = {"model": "pocket/vjepa", "frames": 16}
    long = {"family": "temporal-consistency", "settings": settings}
    key = "gold.red" if role == "gold" else "rewards.long"
    if role == "gold":
        project.suite["gold"] = {"red": long}
    else:
        project.suite["rewards"]["long"] = long
    if role == "reward":
        project.experiment["rewards"] = ["red", "long"]
    if role == "judge":
        project.experiment["evaluation"]["measure"] = {"judges": ["long"]}
    told = f"{key}: of suite tiny: 16 frames to judge, and a video has 4; choose at most 4, or another reward"
    assert project.told() == [f"{project.path}: {told}"]
    settings["frames"] = 0
    assert project.told()[0].endswith("a video has 4; choose 1 to 4, or another reward")
    settings["frames"] = 4
    assert project.told() == []


OWN_FRAMES = """
from vader_bench.rewards.closed_form import Brightness
def make(frames=None):
    return Brightness()
"""


def test_weights_of_a_mixture_that_go_with_no_part(project: Project) -> None:
    mix = {"parts": {"redness": {}}, "weights": {"brightness": 1.0}}
    project.suite["rewards"]["red"] = {"family": "mix", "settings": mix}
    told = f"{project.path}: rewards.red: of suite tiny: mix: weights and parts differ in brightness, redness"
    assert any(line.startswith(told) for line in project.told())
    project.suite["backbone"] = {
        "family": "wan",
        "settings": {"weights": "hf:no/where"},
    }  # sizes nobody knows
    assert any(line.startswith(told) for line in project.told())


@pytest.mark.parametrize("frames", ["all", [1, 2], True])
def test_a_plug_in_may_mean_something_else_by_frames(project: Project, frames: object) -> None:
    """Then nobody knows how many it judges, and it is no fault."""
    (project.path.parent / "own.py").write_text(OWN_FRAMES, "utf-8")
    project.suite["rewards"]["red"] = {"family": "./own.py:make", "settings": {"frames": frames}}
    assert project.told() == []


@pytest.mark.parametrize(
    ("family", "settings", "told"),
    [
        ("temporal-consistency", {"model": "pocket/vjepa", "frames": [1]}, "frames: {} is [1], not a whole"),
        ("temporal-consistency", {"model": "pocket/vjepa", "masks": "2"}, "masks: {} is '2', not a whole"),
        ("action", {"model": 3}, "model: {} is 3, not text; write text"),
        ("action", {"model": "pocket/videomae", "keywords": {"a": 1}}, "keywords.a: {} is 1, not text"),
        ("plugin", {"file": 3, "function": "f"}, "file: {} is 3, not text"),
        ("plugin", {"file": "f.py", "function": [1]}, "function: {} is [1], not text"),
        ("plugin", {"file": "f.py", "function": "f", "by_frame": 1}, "by_frame: {} is 1, not true or false"),
        ("mix", {"parts": 3, "weights": {}}, "parts: {} is 3, not `key: value` lines"),
        ("mix", {"parts": {"redness": 3}, "weights": {}}, "parts.redness: {} is 3, not `key: value` lines"),
        ("mix", {"parts": {"action": {"model": 3}}, "weights": {}}, "parts.action.model: {} is 3, not text"),
        ("mix", {"parts": {"mix": {"parts": 3, "weights": {}}}, "weights": {}}, "parts.mix.parts: {} is 3"),
        ("mix", {"parts": {"redness": {}}, "weights": {"redness": True}}, "weights.redness: {} is True"),
    ],
)  # fmt: skip
def test_settings_of_rewards_are_of_their_types(
    project: Project, family: str, settings: dict[str, Any], told: str
) -> None:
    project.suite["rewards"]["red"] = {"family": family, "settings": settings}
    [line] = project.told()
    assert f"{project.path}: rewards.red.settings.{told.format('of suite tiny')}" in line


def test_types_of_parts_and_backbones_are_told_together(project: Project) -> None:
    parts = {"jpeg-compressibility": {}, "action": {"model": 3, "keywords": []}}
    project.suite["rewards"]["red"] = {"family": "mix", "settings": {"parts": parts, "weights": {}}}
    project.suite["backbone"]["settings"]["weights"] = 3
    backbone, model, keywords = project.told()
    assert "backbone.settings.weights: is 3, not text" in backbone
    assert "parts.action.model" in model
    assert "parts.action.keywords" in keywords


@pytest.mark.parametrize(
    ("key", "name", "path"),
    [
        ("head", "head.safetensors", "./head.safetensors"), ("clip", "clip", "./clip"),
        ("head", "$HEAD", "$HEAD/"), ("head", "~", "~/"),
    ],
)  # fmt: skip
def test_names_of_weights_have_a_slash(project: Project, key: str, name: str, path: str) -> None:
    """Without one they would be looked for in the working directory, and be in no record."""
    settings = {"clip": "pocket/clip", "head": "pocket/aesthetic/head.safetensors"} | {key: name}
    project.suite["rewards"]["red"] = {"family": "aesthetic", "settings": settings}
    [line] = project.told()
    assert f"rewards.red.settings.{key}: of suite tiny is '{name}', and names of weights have a slash" in line
    assert f"write {path} for a file or folder beside this file, or one of pocket/" in line


def test_the_weights_of_a_backbone_have_a_slash_too(project: Project) -> None:
    project.suite["backbone"]["settings"]["weights"] = "model"
    [line] = project.told()
    assert "backbone.settings.weights: is 'model', and names of weights have a slash; write ./model" in line
    settings = {"weights": "hf:owner/name", "tokenizer": "tokenizer"}
    project.suite["backbone"] = {"family": "videocrafter2", "settings": settings}
    assert any(
        "backbone.settings: tokenizer: is 'tokenizer', and names of" in line for line in project.told()
    )


def tuning_of(project: Project, **changes: Any) -> Path:
    """Write a tuning of two methods on the project's suite, with ``changes``."""
    keys = ("question", "suite", "rewards", "evaluation", "budget")
    tuning = {key: project.experiment[key] for key in keys} | {"experiment": "tune", "seed": 7}
    shared = {"batch_size": 2, "lora_rank": 2, "learning_rate": 0.1}
    tuning["methods"] = {
        "vader": {"settings": shared, "grid": {"k": [1, 2]}},
        "refl": {"settings": shared, "grid": {"max_grad_norm": [0.1, 1.0]}},
    }
    write_yaml(project.folder / "tiny.yaml", project.suite)
    return write_yaml(project.folder / "tune.yaml", tuning | changes)


def told_of(tuning: Path) -> list[str]:
    """Return what is wrong with the candidates of ``tuning``, by line."""
    config = load_tune(tuning)
    try:
        check_candidates(config, find_candidates(config, load_suite(config.suite)))
    except UserError as error:
        return str(error).split("\n")
    return []


def test_candidates_of_a_tuning_are_tried_before_any_of_them_runs(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told_of(tuning_of(project)) == []
    shared = {"batch_size": 2, "lora_rank": 2}
    rates = {"learning_rate": [0.1, 0.01]}
    methods = {
        "vader": {"settings": shared, "grid": {"k": [1, 50], **rates}},
        "refl": {"settings": shared, "grid": {"max_grad_norm": [0.1, 1.0], **rates}},
    }
    out = project.folder / "results"
    assert main(["tune", str(tuning_of(project, methods=methods)), "--out", str(out)]) == 2
    [line] = capsys.readouterr().err.splitlines()  # two settings have it
    assert line.startswith("error: tuning tune: methods.vader.k: is 50 on red: ")
    assert not out.exists()


def test_what_a_tuning_shares_is_checked_as_in_an_experiment(project: Project) -> None:
    evaluation = project.experiment["evaluation"]
    for measure, wrong in (
        (
            {"chunks": 2},
            "evaluation.measure.chunks: is 2, and modelscope of suite tiny makes videos of texts",
        ),
        ({"judges": ["blue"]}, "evaluation.measure.judges: names 'blue', which is no reward of suite tiny"),
    ):
        [line] = told_of(tuning_of(project, evaluation=evaluation | {"measure": measure}))
        assert line.startswith(f"tuning tune: {wrong}")
    [line] = told_of(tuning_of(project, evaluation=evaluation | {"splits": ["heldout", "noun"]}))
    assert line.startswith("tuning tune: evaluation.splits: names 'noun', which is no split of prompt set")
    project.suite["backbone"]["settings"]["frams"] = 4
    assert "backbone.settings: frams: is not a known key" in told_of(tuning_of(project))[0]


def test_a_tuning_needs_the_package_of_its_optimiser(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(optimizers, "find_spec", lambda name: None)
    project.suite["memory"] = {"optimizer": "adamw8bit"}
    out = project.folder / "results"
    assert main(["tune", str(tuning_of(project)), "--out", str(out)]) == 3
    assert "needs bitsandbytes" in capsys.readouterr().err
    assert not out.exists()
