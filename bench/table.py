# SPDX-License-Identifier: MIT
"""What is measured: tables of rows, each with Diosix's figure beside the one without a hypervisor, and a budget."""

from dataclasses import dataclass, field


@dataclass
class Row:
    key: str
    text: str
    native: float | None  # None: there is no such thing without a hypervisor
    value: float
    budget: float | None = None  # the most that `value` may be
    kind: str = "count"  # count: exact; ratio: exact, as value / native; wall: varies, never compared; info: no judgement

    def missed(self):
        return self.budget is not None and self.value > self.budget


@dataclass
class Table:
    key: str
    title: str
    unit: str
    rows: list = field(default_factory=list)
    native_title: str = "OpenSBI"

    def add(self, row):
        self.rows.append(row)


def number(v):
    if v is None:
        return "-"
    if abs(v) >= 1_000_000:
        return f"{v / 1e6:,.2f} M"
    if float(v).is_integer():
        return f"{int(v):,}"
    return f"{v:,.3f}" if abs(v) < 10 else f"{v:,.1f}"


def ratio(row):
    return f"{row.value / row.native:.3f}" if row.native and row.kind != "wall" else "-"


def cells(row):
    mark = "MISSED" if row.missed() else "ok" if row.budget is not None else ""
    budget = "-" if row.budget is None else "<= " + number(row.budget)
    return row.text, number(row.native), number(row.value), ratio(row), budget, mark


def render(table):
    """As Markdown that can be read as it stands."""
    head = (f"{table.title}", table.native_title, "Diosix", "ratio", "budget", "")
    lines = [head] + [cells(r) for r in table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    def pad(line):
        return "| " + line[0].ljust(widths[0]) + " | " + " | ".join(c.rjust(w) for c, w in zip(line[1:], widths[1:])) + " |"
    rule = "|" + "-" * (widths[0] + 2) + "|" + "|".join("-" * (w + 1) + ":" for w in widths[1:]) + "|"
    return f"{table.title}: {table.unit}.\n\n" + "\n".join([pad(head), rule] + [pad(line) for line in lines[1:]]) + "\n"


def as_json(tables):
    return {
        t.key: {r.key: {"text": r.text, "native": r.native, "diosix": r.value, "budget": r.budget, "kind": r.kind,
                        "missed": r.missed()} for r in t.rows}
        for t in tables
    }
