from __future__ import annotations

from vader_bench.report.tables import Table, csv_text, latex, markdown, plain

TABLE = Table("A & B", ["", "x_1", "50 %"], [["first", "1 [0, 2]", "a|b"], ["p < 0.1", "{2}", "\\"]])


def test_markdown_keeps_a_bar_from_making_a_column() -> None:
    assert markdown(TABLE) == [
        "|  | x_1 | 50 % |",
        "| --- | ---: | ---: |",
        "| first | 1 [0, 2] | a/b |",
        "| p < 0.1 | {2} | \\ |",
    ]


def test_a_terminal_gets_columns_under_each_other() -> None:
    assert plain(TABLE) == [
        "A & B",
        "         x_1       50 %",
        "first    1 [0, 2]  a|b",
        "p < 0.1  {2}       \\",
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


def test_csv_keeps_numbers_and_makes_no_formula_of_text() -> None:
    text = csv_text(["a", "b"], [["=1+1", -0.25], ['@x, "y"', float("nan")], ["-", 3], ["plain", 1 / 3]])
    assert text.splitlines() == ["a,b", "'=1+1,-0.25", '"\'@x, ""y""",', "'-,3", "plain,0.333333333"]
