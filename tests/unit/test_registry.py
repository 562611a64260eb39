from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.registry import Registry

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
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "guest_package_of_a_test", raising=False)

    return put


def make_registry() -> Registry[Callable[[], str]]:
    registry: Registry[Callable[[], str]] = Registry("thing", group=GROUP)
    registry.register("own")(lambda: "own")
    return registry


def test_a_name_is_taken_once() -> None:
    registry = make_registry()
    with pytest.raises(ValueError, match="thing 'own' is registered twice"):
        registry.register("own")(lambda: "again")


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
    assert make_registry().get("own")() == "own"


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
        ("guest_package_of_a_test:number", "guest_package_of_a_test:number cannot be called"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(
    install: Callable[[str], None], value: str, message: str
) -> None:
    install(f"guest = {value}")
    with pytest.raises(UserError, match=f"thing 'guest' of package guest: {message}"):
        make_registry().get("guest")


def test_a_closed_table_takes_no_guests() -> None:
    registry: Registry[str] = Registry("thing")
    registry.register("own")("value")
    assert registry.names() == ["own"]


def test_listing_the_rewards_imports_no_transformers() -> None:
    code = "import sys, vader_bench.rewards as r; r.REWARDS.names(); sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
