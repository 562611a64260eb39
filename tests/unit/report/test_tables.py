from __future__ import annotations

from vader_bench.report.tables import Table, latex, markdown

TABLE = Table("A & B", ["", "x_1", "50 %"], [["first", "1 [0, 2]", "a|b"], ["p < 0.1", "{2}", "\\"]])


def test_markdown_keeps_a_bar_from_making_a_column() -> None:
    assert markdown(TABLE) == [
        "|  | x_1 | 50 % |",
        "| --- | ---: | ---: |",
        "| first | 1 [0, 2] | a/b |",
        "| p < 0.1 | {2} | \\ |",
    ]


def test_latex_escapes_what_means_something_to_it() -> None:
    lines = latex(TABLE, "mine").splitlines()
    assert r"\caption{A \& B}" in lines
    assert r"\label{tab:mine}" in lines
    assert r"\begin{tabular}{lrr}" in lines
    assert r" & x\_1 & 50 \% \\" in lines
    assert r"p $<$ 0.1 & \{2\} & \textbackslash{} \\" in lines
    assert lines[0] == r"\begin{table}"
    assert lines[-1] == r"\end{table}"
