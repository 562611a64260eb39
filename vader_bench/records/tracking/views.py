"""What MLflow shows of an experiment at first sight: its kind, a note with links, views that compare methods.

A view is an entry of the page's own menu "Views": an experiment tag in the form that the web page of MLflow 3
reads (``mlflow/server/js``). A page that knows no such views shows the runs as it shows any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

__all__ = ["missing_tags", "view_address"]

_Groups = Mapping[str, str | Sequence[Mapping[str, str]]]
_KIND = "mlflow.experimentKind"
_NOTE = "mlflow.note.content"
_VIEW = "mlflow.sharedViewState."
_QUERIES, _SECONDS = "ledger/queries", "ledger/device_seconds"
_SECTION = "methods"
_CHARTS = (
    ("reward", _QUERIES), ("reward", _SECONDS),
    ("gain", _QUERIES), ("gold", _QUERIES),
)  # fmt: skip
"""Of single runs: metrics up and across."""
_MEANS = (("reward", ""), ("gain", ""), ("gold", ""), ("evaluation/heldout/prompt_share", ""))
"""Of means over seeds: up alone, since the page averages points of the same step, which are queries here."""
_BESIDE = ("curve/queries", "curve/seconds")
"""What the charts of the section show already."""
_FOLDED = ("evaluation/heldout", "evaluation/train", "ledger", "train")
"""Sections that are closed at first."""
_COLUMNS = (
    *(("metrics", name) for name in ("reward", "gain", "gold", _QUERIES)),
    *(("tags", name) for name in ("method", "reward", "seed")),
)
_BY_ARM: _Groups = {
    "aggregateFunction": "average",
    "groupByKeys": [{"mode": "tag", "groupByData": "arm"}],
}
_OPENING = "Held-out rewards at equal budget, written by vader-bench. Compare methods:"


def missing_tags(present: Mapping[str, str], experiment_id: str, created: int, reward: str) -> dict[str, str]:
    """Return the tags that an experiment's page lacks to compare methods on ``reward``.

    Args:
        present: the experiment's tags; what a user changed of ours stays.
        experiment_id: as the store calls it.
        created: when the experiment was made, in milliseconds since 1970.
        reward: name of a reward that runs of the experiment train on.
    """
    wanted = {
        _KIND: "custom_model_development",
        f"{_VIEW}{_runs(reward)}": _view(f"{reward}: runs", created + 1, reward, _CHARTS),
        f"{_VIEW}means-{reward}": _view(f"{reward}: means over seeds", created, reward, _MEANS, _BY_ARM),
    }
    missing = {key: value for key, value in wanted.items() if key not in present}
    note = present.get(_NOTE, _OPENING)
    link = f"[{reward}]({_place(experiment_id, reward)})"
    if note.startswith(_OPENING) and link not in note:
        missing[_NOTE] = f"{note} {link}"
    return missing


def view_address(page: str, experiment_id: str, reward: str) -> str:
    """Return where a browser shows the charts that compare methods on ``reward``.

    Args:
        page: address of the store's web page.
        experiment_id: as the store calls it.
        reward: its name.
    """
    return f"{page.rstrip('/')}/{_place(experiment_id, reward)}"


def _place(experiment_id: str, reward: str) -> str:
    asked = f"viewStateShareKey={quote(_runs(reward))}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"#/experiments/{experiment_id}/runs?{asked}"


def _runs(reward: str) -> str:
    return f"runs-{reward}"


def _view(
    name: str, made: int, reward: str, charts: Sequence[tuple[str, str]], groups: _Groups | None = None
) -> str:
    first = {"uuid": _SECTION, "name": "Methods compared", "display": True, "columns": 2, "cardHeight": 400}
    hidden = [(metric, "") for metric in _BESIDE]
    state = {
        "searchFilter": f"tags.kind = 'run' AND tags.reward = '{reward}'",
        "orderByKey": "tags.`mlflow.runName`",
        "orderByAsc": True,
        "selectedColumns": [f"{kind}.`{column}`" for kind, column in _COLUMNS],
        "groupBy": groups,
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,  # else the page sorts the sections by name
        "compareRunSections": [
            first,
            *({"uuid": section, "name": section, "display": False} for section in _FOLDED),
        ],
        "compareRunCharts": [
            *(_chart(f"chart-{place}", *axes) for place, axes in enumerate(charts)),
            *(_chart(f"hidden-{place}", *axes, deleted=True) for place, axes in enumerate(hidden)),
        ],
    }
    return json.dumps({"name": name, "createdAt": made, "updatedAt": made, "state": json.dumps(state)})


def _chart(identity: str, metric: str, across: str, *, deleted: bool = False) -> dict[str, object]:
    """Return a card of the page, with all keys that it reads."""
    return {
        "uuid": identity,
        "type": "LINE",
        "metricSectionId": _SECTION,
        "isGenerated": False,
        "deleted": deleted,
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "metric" if across else "step",
        "selectedXAxisMetricKey": across,
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": True,
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisScaleType": "linear",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
        "runsCountToCompare": 100,
    }
