"""Tables in Markdown."""

from collections.abc import Collection, Iterable, Sequence

LEFT, RIGHT = "---", "---:"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> str:
    """Lines with a cell for each of `heads`; `right`: the columns, counted from 0, whose cells stand to the right."""
    marks = [RIGHT if column in right else LEFT for column in range(len(heads))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, marks, *rows))
