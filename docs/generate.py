"""What pages have of the code: settings, metrics, families, suites, experiments, commands.

A page says where by a comment on a line of its own: ``<!-- made of the code: settings vader -->``
Each word of ``PARTS`` is a function here that returns Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from docs.source import (
    PACKAGE,
    Registered,
    SettingField,
    docstring,
    fields,
    lineage,
    metrics,
    registered,
    sentences,
    settings_of_function,
)
from vader_bench.config.extends import EXTENDS, extended
from vader_bench.pocket.vocabulary import ACTIONS, COLOURS, NOUNS, SCENES

__all__ = ["MARK", "PARTS", "filled", "section"]

ROOT = PACKAGE.parent
MARK = re.compile(r"^<!-- made of the code: ([\w-]+)(?: ([\w./-]+))? -->$", re.MULTILINE)
_METHODS = PACKAGE / "methods"
_SCHEMA = PACKAGE / "config" / "schema.py"
_TUNING = PACKAGE / "experiment" / "tuning" / "config.py"
_PLAIN_KEYS = {
    "experiment": "Its name, and that of the folder of its results.",
    "question": "What it answers, in a sentence: the heading of its report.",
    "suite": "Its name, and that of the folder of results on it.",
    "backbone": "The model; its settings have the key `weights`.",
    "rewards": "Rewards of the suite, by name; every arm trains on each of them.",
    "seeds": "One training each; five or more allow an interquartile mean.",
    "budget": "See below.",
    "evaluation": "See below.",
    "sampler": "See below.",
    "reward_queries": "Videos that a run has scored in training: a multiple of each arm's round.",
    "family": "A registered name.",
}
"""What keys mean of which the schema says nothing because their names do."""


def filled(page: str) -> str:
    """Return the Markdown of a page with each mark replaced by what the code says.

    Raises:
        LookupError: a mark asks for something that is not there.
    """
    return MARK.sub(lambda mark: PARTS[mark[1]](*filter(None, [mark[2]])), page)


def section(name: str) -> str:
    """Return the heading of something that is named as in files, with a stable anchor."""
    return f"### `{name}` {{ #{name.replace('.', '-')} }}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *(map(_without_tags, row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _without_tags(cell: str) -> str:
    """Return ``cell`` with ``<experiment>`` and the like as text, outside of code."""
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "&lt;", cell)


def _settings_table(found: Sequence[SettingField]) -> str:
    if not found:
        return "It has no settings."
    rows = [
        (
            f"`{one.name}`",
            one.kind + (f", {one.bounds}" if one.bounds else ""),
            f"`{one.default}`" if one.default else "must be given",
            one.text[:1].upper() + one.text[1:],
        )
        for one in found
    ]
    return _table(("setting", "value", "default", "meaning"), rows)


# --- methods ---


def _method(name: str) -> Registered:
    return registered("METHODS")[name]


def settings(name: str) -> str:
    """Return the table of settings of the method ``name``; of what all methods share where it is ``all``."""
    if name == "all":
        return _settings_table(fields(_METHODS / "base.py", "MethodConfig"))
    found = _method(name)
    shared = {one.name: one.text for one in fields(_METHODS / "base.py", "MethodConfig")}
    classes = lineage(found.path, f"{found.cls}Config", "MethodConfig")
    own = {one.name: one for place in reversed(classes) for one in fields(*place)}
    return _settings_table([one._replace(text=one.text or shared.get(one.name, "")) for one in own.values()])


def metrics_of(name: str) -> str:
    """Return the table of metrics of the method ``name``; of those that all have where it is ``all``."""
    classes = [(_METHODS / "base.py", "Method")] if name == "all" else lineage(*_method(name)[1:], "Method")
    rows = [(f"`train/{one.name}`", one.text) for place in classes for one in metrics(*place)]
    return _table(("metric", "meaning"), rows)


# --- rewards ---


def rewards() -> str:
    """Return a section for every reward family: what it measures, and its settings."""
    return "\n\n".join(_reward(one) for one in registered("REWARDS").values())


def _reward(one: Registered) -> str:
    text = sentences(docstring(one.path, one.cls))
    text = re.sub(r"see `(?:\w+\.)*\w+`", "see the source", text)
    return f"{section(one.name)}\n\n{text}\n\n{_settings_table(settings_of_function(one.path, one.cls))}"


def licences() -> str:
    """Return the weights that the packaged suites use, with size and licence as far as they are known."""
    known = yaml.safe_load((PACKAGE / "weights" / "known.yaml").read_text("utf-8"))["weights"]
    users = _weights_of_suites(known)
    rows = [
        (
            f"`{name}`",
            *(told.get(key, "unknown") for key in ("size", "licence")),
            ", ".join(users.get(name, [])),
        )
        for name, told in known.items()
    ]
    return _table(("weights on the Hugging Face hub", "size", "licence", "packaged suites"), rows)


def _weights_of_suites(known: Container[str]) -> dict[str, list[str]]:
    """Return by weights of the hub the packaged suites that use them.

    A file of a repository is told apart where the table of ``known`` weights has it.
    """
    found: dict[str, list[str]] = {}
    for name, suite in _suites().items():
        used = (weights if weights in known else weights.partition(":")[0] for weights in _hub_names(suite))
        for weights in dict.fromkeys(used):
            found.setdefault(weights, []).append(name)
    return found


def _hub_names(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("hf:"):
        yield value.removeprefix("hf:")
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _hub_names(inner)


# --- backbones and suites ---


def backbones() -> str:
    """Return a section for every family of backbones: what a folder holds, and its settings."""
    return "\n\n".join(_backbone(one) for one in registered("BACKBONES").values())


def _backbone(one: Registered) -> str:
    factory = sentences(docstring(one.path, one.cls))
    stem = one.cls.removesuffix("Factory")
    keys = fields(one.path, f"{stem}Settings")
    text = sentences(docstring(one.path, stem))
    return f"{section(one.name)}\n\n{text}\n\n{factory}\n\n{_settings_table(keys)}"


def _suites() -> dict[str, dict[str, Any]]:
    """Return the packaged suites as they are read, by name."""
    return {path.stem: _suite(path) for path in sorted((PACKAGE / "suites").glob("*.yaml"))}


def _suite(path: Path) -> dict[str, Any]:
    own: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    base = own.pop(EXTENDS, None)
    return own if base is None else extended(_suite(path.with_name(f"{base}.yaml")), own)


def suites() -> str:
    """Return the table of packaged suites."""
    rows = [
        (
            f"`{name}`",
            f"[what it needs](suites/{name}.md)",
            f"`{suite['backbone']['family']}`",
            ", ".join(f"`{reward}`" for reward in suite["rewards"]),
            ", ".join(f"`{prompts}`" for prompts in dict.fromkeys(suite["prompts"].values())),
        )
        for name, suite in _suites().items()
    ]
    return _table(("suite", "before you download", "backbone", "rewards", "prompt sets"), rows)


CARDS = ("rtx-4080", "rtx-4090", "a6000", "a100-80", "h200")
"""Of 16, 24, 48, 80 and 141 GB."""


def needs(name: str) -> str:
    """Return what the suite ``name`` needs: its weights, their sizes, and how many parameters they have."""
    suite, counts = _suites()[name], _plans().get(name, {}).get("parameters", {})
    known = yaml.safe_load((PACKAGE / "weights" / "known.yaml").read_text("utf-8"))["weights"]
    rows = []
    for part, component in {"backbone": suite["backbone"], **suite["rewards"]}.items():
        names, count = list(_weight_names(component.get("settings", {}))), counts.get(part)
        sizes = [known.get(one, known.get(one.partition(":")[0], {})).get("size") for one in names]
        if names and count is not None and sizes[0] is None:
            sizes[0] = f"{2 * count:.2g} GB in half precision, {4 * count:.2g} in float32"
        hub = names and not names[0].startswith("pocket/")
        rows.append(
            (
                f"`{part}`",
                " and ".join(f"`{one}`" for one in names) or "none",
                "" if count is None else _count(count),
                " and ".join(size or "not known" for size in sizes) if hub else "nothing",
            )
        )
    return _table(("part", "weights", "parameters", "download"), rows)


def plan_of(name: str) -> str:
    """Return what ``fig7`` would need on the suite ``name``, by card, as ``docs/plans.py`` found it."""
    plan = _plans().get(name)
    if plan is None:
        return "Not estimated yet for this page; the command below does it for your card."
    frames, height, width = plan["video"]
    rewards = dict.fromkeys(arm["reward"] for arm in plan["arms"])
    most = max(plan["arms"], key=lambda arm: arm["gib"])
    rows = []
    for card in CARDS:
        found = plan["cards"][card]
        fits = "as it is" if not found["switches"] else f"with {', '.join(found['switches'])}"
        if found["never"]:
            fits = f"not {', '.join(found['never'])}" if len(found["never"]) < len(plan["arms"]) else "no"
        rows.append((f"`{card}`", fits, _hours(found["hours"])))
    said = (
        "Estimates for `fig7` by `vader-bench plan`, not measurements: videos of "
        f"{frames} frames of {height} x {width}, {len(plan['arms'])} runs a seed, {plan['seeds']} seeds, "
        f"rewards {', '.join(f'`{name}`' for name in rewards)}. "
        f"The largest run, {most['method']} on {most['reward']}, needs {most['gib']:g} GiB as the suite is. "
        "Hours are of training all runs one after the other, without looks, at the share of a card's peak "
        "rate that `plan` assumes, for the precision that the suite's frozen weights have."
    )
    return f"{said}\n\n{_table(('card', 'fits', 'all runs'), rows)}"


def _count(billions: float) -> str:
    return f"{billions:.3g} billion" if billions >= 0.1 else f"{max(1, 1000 * billions):.3g} million"


def _hours(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.2g} minutes"
    return f"{hours:.2g} hours" if hours < 48 else f"{hours / 24:.0f} days"


def _weight_names(settings: Any) -> Iterator[str]:
    """Yield the weights that settings name, without the ``hf:`` of the hub."""
    if isinstance(settings, str) and "/" in settings:
        yield settings.removeprefix("hf:")
    elif isinstance(settings, dict | list):
        for inner in settings.values() if isinstance(settings, dict) else settings:
            yield from _weight_names(inner)


def _plans() -> dict[str, Any]:
    plans: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "plans.yaml").read_text("utf-8"))
    return plans


def suite_file(name: str) -> str:
    """Return the packaged suite ``name`` as its file has it."""
    return _code("yaml", (PACKAGE / "suites" / f"{name}.yaml").read_text("utf-8"))


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def starter(kind: str) -> str:
    """Return the example that ``vader-bench new`` writes for the name ``best-of``."""
    from vader_bench.cli.new import Kind, starter_text

    return _code("python", starter_text(Kind(kind), "best-of")[1])


def keys(cls: str) -> str:
    """Return the table of keys of a table in a file, by the name of its class in one of two modules."""
    home = _TUNING if f"class {cls}(" in _TUNING.read_text("utf-8") else _SCHEMA
    found = [one._replace(text=one.text or _PLAIN_KEYS.get(one.name, "")) for one in fields(home, cls)]
    return _settings_table(found).replace("| setting |", "| key |", 1)


def cards() -> str:
    """Return the table of cards that ``plan --gpu`` knows."""
    text = (PACKAGE / "cost" / "gpus.py").read_text("utf-8")
    found = re.findall(r'"([\w-]+)": Gpu\(([\d.]+), ([\d.]+), ([\d.]+), ([\d.]+)\)', text)
    heads = ("`--gpu`", "memory, GiB", "fp32, TFLOP/s", "fp16", "bf16")
    return _table(heads, [(f"`{name}`", f"{float(mib) / 1024:.1f}", *rates) for name, mib, *rates in found])


# --- experiments ---


def experiments() -> str:
    """Return a section for every packaged experiment: its question, its commands and its file."""
    return "\n\n".join(map(_experiment, sorted((ROOT / "experiments").glob("*.yaml"))))


def _experiment(path: Path) -> str:
    text = path.read_text("utf-8")
    data = yaml.safe_load(text)
    question = " ".join(data["question"].split())
    verb = "tune" if "seed" in data else "run"  # an experiment has `seeds`
    commands = f"vader-bench {verb} {path.stem}\nnox -s {_session(path.stem)}"
    return f"{section(path.stem)}\n\n{question}\n\n{_code('sh', commands)}\n\n" + _folded(
        f"experiments/{path.name}", _code("yaml", text)
    )


def _session(stem: str) -> str:
    """Return the job of ``noxfile.py`` that runs the experiment file of that name."""
    jobs = (ROOT / "noxfile.py").read_text("utf-8")
    listed = re.findall(r'^    "([\w-]+)": \(\s*\(([^)]*)\)', jobs, re.MULTILINE)
    return next((job for job, files in listed if f'"{stem}"' in files), stem)


def _folded(title: str, text: str) -> str:
    inner = "\n".join(f"    {line}" if line else "" for line in text.splitlines())
    return f'??? note "{title}"\n\n{inner}'


# --- commands ---


def commands() -> str:
    """Return a section for every verb of the command line: what it does, its arguments and options."""
    import typer

    from vader_bench.cli import app

    return "\n\n".join(_command(path, command) for path, command in walk(typer.main.get_command(app)))


def walk(command: Any, path: tuple[str, ...] = ("vader-bench",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every verb below ``command``, with the words that call it, in order of use."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from walk(inner, (*path, name))
    else:
        yield path, command


def _command(path: tuple[str, ...], command: Any) -> str:
    context = command.make_context(path[-1], [], resilient_parsing=True)
    pieces = [re.sub(r"[{}]", "", piece).upper() for piece in command.collect_usage_pieces(context)]
    usage = " ".join([*path, *pieces])
    title = f"### `{' '.join(path)}` {{ #{'-'.join(path[1:])} }}"
    text = re.sub(r"\s+", " ", command.help or "")
    rows = [_parameter(one) for one in command.params]
    table = _table(("argument or option", "meaning", "default"), rows)
    return f"{title}\n\n{text}\n\n{_code('text', usage)}\n\n{table if rows else 'It has no options.'}"


def _parameter(one: Any) -> tuple[str, str, str]:
    names = one.opts if one.param_type_name == "option" else [one.name.upper()]
    shown = one.default is not None and one.default is not False and not callable(one.default)
    return (
        " ".join(f"`{name}`" for name in names),
        getattr(one, "help", "") or "",
        f"`{one.default}`" if shown else "",
    )


def pocket_words() -> str:
    """Return a table of the words that a sentence of the pocket world is made of."""
    kinds = {"colour": COLOURS, "noun": NOUNS, "action": ACTIONS, "scene": SCENES}
    return _table(("part", "one of"), [(name, ", ".join(words)) for name, words in kinds.items()])


PARTS: dict[str, Callable[..., str]] = {
    "settings": settings,
    "metrics": metrics_of,
    "rewards": rewards,
    "licences": licences,
    "backbones": backbones,
    "suites": suites,
    "starter": starter,
    "suite-file": suite_file,
    "needs": needs,
    "plan": plan_of,
    "keys": keys,
    "cards": cards,
    "experiments": experiments,
    "commands": commands,
    "pocket-words": pocket_words,
}
"""What a mark can ask for."""
