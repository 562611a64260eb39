"""What ``import vader_bench`` offers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import vader_bench


@pytest.mark.parametrize("name", sorted(vader_bench.INTERFACE))
def test_every_name_is_what_its_module_has(name: str) -> None:
    found = getattr(vader_bench, name)
    assert callable(found)
    assert found.__name__ == name
    assert found.__module__ == f"vader_bench.{vader_bench.INTERFACE[name]}"
    assert name in dir(vader_bench)


def test_type_checkers_see_the_same_names() -> None:
    stub = Path(vader_bench.__file__).with_suffix(".pyi").read_text("utf-8")
    assert sorted(re.findall(r"import (\w+) as \1", stub)) == sorted(vader_bench.INTERFACE)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'load_video'"):
        vader_bench.load_video  # type: ignore[attr-defined] # noqa: B018


def test_importing_it_needs_nothing_heavy() -> None:
    code = "import sys, vader_bench; print({'torch', 'pandas', 'yaml', 'pydantic'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
