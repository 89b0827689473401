# SPDX-License-Identifier: MIT
"""What is measured: tables of rows, each with a figure for every column that has one, and what it may be at most."""

from dataclasses import dataclass, field
from configs import BACKENDS, CONFIGS, NATIVE


@dataclass
class Row:
    key: str
    text: str
    values: dict  # column to figure; where there is no such thing, no figure
    budgets: dict = field(default_factory=dict)  # column to the most that its figure may be; of a "ratio", its ratio to native
    kind: str = "count"  # count: exact; ratio: exact, as a ratio to native; wall: varies, never compared; info: no judgement

    def ratio(self, column):
        """To native, as it is shown and judged."""
        native = self.values.get(NATIVE)
        if column == NATIVE or column not in self.values or not native or self.kind == "wall":
            return None
        return round(self.values[column] / native, 3)

    def judged(self, column):
        return self.ratio(column) if self.kind == "ratio" else self.values.get(column)

    def missed(self):
        """The columns whose budget is not kept."""
        return [c for c, most in self.budgets.items() if (self.judged(c) or 0) > most]


def for_all(budget, columns=BACKENDS):
    """Budgets of a row that has the same in every column, or none."""
    return {} if budget is None else dict.fromkeys(columns, budget)


@dataclass
class Table:
    key: str
    title: str
    unit: str
    columns: tuple = tuple(CONFIGS)
    rows: list = field(default_factory=list)
    titles: dict = field(default_factory=dict)  # of columns, where it is not their name
    notes: list = field(default_factory=list)  # lines below

    def add(self, *row):
        self.rows.append(Row(*row))


def number(v):
    if v is None:
        return "-"
    if abs(v) >= 1_000_000:
        return f"{v / 1e6:,.2f} M"
    if float(v).is_integer():
        return f"{int(v):,}"
    return f"{v:,.3f}" if abs(v) < 10 else f"{v:,.1f}"


def figure(row, column):
    """The figure, and its ratio to native."""
    ratio = row.ratio(column)
    return number(row.values.get(column)) + (f" ({ratio:.3f})" if ratio is not None else "")


def budget(row, columns):
    """One for all, or one for each column."""
    most = [number(row.budgets.get(c)) for c in columns if c != NATIVE]
    if set(most) == {"-"}:
        return "-"
    return "<= " + (most[0] if len(set(most)) == 1 else " / ".join(most))


def cells(row, columns):
    missed = row.missed()
    mark = "MISSED: " + ", ".join(missed) if missed else "ok" if row.budgets else ""
    return row.text, *(figure(row, c) for c in columns), budget(row, columns), mark


def render(table):
    """As Markdown that can be read as it stands."""
    head = (table.title, *(table.titles.get(c, c) for c in table.columns), "budget", "")
    lines = [head] + [cells(r, table.columns) for r in table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    def pad(line):
        return "| " + line[0].ljust(widths[0]) + " | " + " | ".join(c.rjust(w) for c, w in zip(line[1:], widths[1:])) + " |"
    rule = "|" + "-" * (widths[0] + 2) + "|" + "|".join("-" * (w + 1) + ":" for w in widths[1:]) + "|"
    notes = "".join(f"\n{n}\n" for n in table.notes)
    return f"{table.title}: {table.unit}.\n\n" + "\n".join([pad(head), rule] + [pad(line) for line in lines[1:]]) + "\n" + notes


def as_json(tables):
    return {
        t.key: {r.key: {"text": r.text, "values": r.values, "budgets": r.budgets, "kind": r.kind, "missed": r.missed()}
                for r in t.rows}
        for t in tables
    }
