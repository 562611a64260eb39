from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.registry import Registry, load_own, own_code, own_digest

GROUP = "vader_bench.test_things"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a package with these entry points where Python finds packages."""

    def put(entries: str) -> None:
        info = tmp_path / "guest-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n", "utf-8")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}\n", "utf-8")
        source = "loaded = True\nnumber = 3\ndef make():\n    return 'made'\n"
        (tmp_path / "guest_package_of_a_test.py").write_text(source, "utf-8")
        (tmp_path / "broken_package_of_a_test.py").write_text("1 / 0\n", "utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "guest_package_of_a_test", raising=False)

    return put


def make_registry() -> Registry[Callable[[], object]]:
    """A table of things that can be called."""
    refusal = lambda found: "" if callable(found) else "cannot be called"  # noqa: E731
    return Registry("thing", {"own": "fractions:Fraction"}, group=GROUP, refusal=refusal)


def test_a_line_of_the_table_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys; from vader_bench.registry import Registry\n"
        "r = Registry('thing', {'own': 'colorsys:hsv_to_rgb'}, group='none', refusal=lambda found: '')\n"
        "assert r.names() == ['own'] and 'colorsys' not in sys.modules\n"
        "assert r.get('own')(0, 0, 1) == (1, 1, 1) and 'colorsys' in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_an_entry_may_be_an_instance_which_is_made_once() -> None:
    registry: Registry[object] = Registry(
        "thing", {"own": "fractions:Fraction"}, group=GROUP, refusal=lambda found: "", instances=True
    )
    assert registry.get("own") == 0
    assert registry.get("own") is registry.get("own")


def test_an_installed_package_adds_a_name_and_is_imported_when_asked_for(
    install: Callable[[str], None],
) -> None:
    install("guest = guest_package_of_a_test:make")
    registry = make_registry()
    assert registry.names() == ["guest", "own"]
    assert "guest_package_of_a_test" not in sys.modules
    assert registry.get("guest")() == "made"
    assert registry.get("guest") is registry.get("guest")


def test_the_projects_own_names_come_first(install: Callable[[str], None]) -> None:
    install("own = guest_package_of_a_test:make")
    assert make_registry().names() == ["own"]
    assert make_registry().get("own")() == 0


def test_a_misspelt_guest_is_suggested(install: Callable[[str], None]) -> None:
    install("guest = guest_package_of_a_test:make")
    with pytest.raises(
        UserError, match=r"thing 'gest': is not known; did you mean 'guest'\? choose one of: guest, own"
    ):
        make_registry().get("gest")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_package_of_a_test:make", "cannot be loaded from no_such_package_of_a_test:make"),
        ("guest_package_of_a_test:fake", "cannot be loaded from guest_package_of_a_test:fake"),
        (
            "broken_package_of_a_test:make",
            r"cannot be loaded from .*ZeroDivisionError: division by zero",
        ),
        ("guest_package_of_a_test:number", "cannot be called"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(
    install: Callable[[str], None], value: str, message: str
) -> None:
    install(f"guest = {value}")
    with pytest.raises(UserError, match=f"thing 'guest' of package guest: {message}"):
        make_registry().get("guest")


@pytest.mark.parametrize(
    ("text", "file", "name"),
    [
        ("mine.py:Mine", "mine.py", "Mine"),
        ("/a b/c:d/mine.py:_x1", "/a b/c:d/mine.py", "_x1"),
        ("mine.py", None, ""),
        ("mine.py:", None, ""),
        ("mine.py:two words", None, ""),
        ("package.module:Mine", None, ""),
    ],
)
def test_code_in_a_file_is_named_by_file_and_name(text: str, file: str | None, name: str) -> None:
    assert own_code(text) == (None if file is None else (Path(file), name))


SOURCE = """
from dataclasses import dataclass
from abc import ABC, abstractmethod

@dataclass
class Made:
    value: int = 3

class Half(ABC):
    @abstractmethod
    def step(self): ...
    @abstractmethod
    def state(self): ...

number = 4
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my things.py"
    path.write_text(SOURCE, "utf-8")
    return path


def test_a_file_offers_what_it_names(file: Path) -> None:
    made = make_registry().get(f"{file}:Made")
    assert repr(made()) == "Made(value=3)"
    assert make_registry().get(f"{file}:Made") is made, "the file is run once"
    assert list(file.parent.iterdir()) == [file], "nothing is left beside it"


def test_a_changed_file_is_another_one(file: Path) -> None:
    before = make_registry().get(f"{file}:Made")
    file.write_text(SOURCE.replace("3", "5"), "utf-8")
    after = make_registry().get(f"{file}:Made")
    assert [repr(made()) for made in (before, after)] == ["Made(value=3)", "Made(value=5)"]
    assert own_digest(before) != own_digest(after)
    assert own_digest(Path) == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Mode", "has no class 'Mode'; name one of: Half, Made"),
        ("number", "cannot be called; see how the project's own things are written"),
        ("Half", "leaves out state, step"),
    ],
)
def test_what_a_file_lacks_is_told(file: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make_registry().get(f"{file}:{name}")
    assert "my things.py" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x = 1\ny = x.z\n",
            r"fails when it is run \(AttributeError: .* attribute 'z', line 2\)",
        ),
        ("def f(:\n", r"fails when it is run \(SyntaxError: "),
        (
            "import no_such_package_of_a_test\n",
            r"ModuleNotFoundError: No module named",
        ),
        ("raise ValueError('one\\ntwo')\n", r"ValueError: one two, line 1"),
        (None, "does not exist; give the path of a .py file"),
    ],
)
def test_a_file_that_cannot_be_run_is_told_in_a_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "bad.py"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(UserError, match=message) as caught:
        make_registry().get(f"{path}:Made")
    assert "\n" not in str(caught.value)


def test_a_file_does_not_inherit_how_this_package_reads_annotations(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("def f(x: int): ...\n", "utf-8")
    assert load_own("thing", tmp_path / "plain.py").f.__annotations__ == {"x": int}


def test_entry_points_of_all_four_kinds_are_named_after_their_folders() -> None:
    from vader_bench.backbones import BACKBONES
    from vader_bench.methods import METHODS
    from vader_bench.prompts.sets import GROUP as PROMPTS
    from vader_bench.rewards import REWARDS

    groups = [METHODS.group, REWARDS.group, BACKBONES.group, PROMPTS]
    assert groups == [f"vader_bench.{kind}" for kind in ("methods", "rewards", "backbones", "prompts")]
    assert list(entry_points(group="vader_bench.nothing")) == []


def test_settings_of_a_method_in_a_file_reach_another_process(tmp_path: Path) -> None:
    source = "from vader_bench.config.settings import Settings\nclass Own(Settings):\n    k: int = 1\n"
    (tmp_path / "own.py").write_text(source, "utf-8")
    settings = load_own("method", tmp_path / "own.py").Own(k=7)
    (tmp_path / "pickled").write_bytes(pickle.dumps(settings))
    code = "import pickle, sys; print(repr(pickle.load(open(sys.argv[1], 'rb'))))"
    command = [sys.executable, "-c", code, str(tmp_path / "pickled")]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout == "Own(k=7)\n"
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize("room", ["methods", "rewards", "backbones"])
def test_listing_names_imports_no_torch(room: str) -> None:
    code = f"import sys, vader_bench.{room} as r; r.{room.upper()}.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
