# SPDX-License-Identifier: MIT
"""If this fails, a figure that got worse is not noticed, or lines are counted wrongly."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import clones  # noqa: E402
import compare  # noqa: E402
import configs  # noqa: E402
import linux  # noqa: E402
import lxfork  # noqa: E402
import micro  # noqa: E402
import mmode  # noqa: E402
import pytest  # noqa: E402
import qemu  # noqa: E402
import sizes  # noqa: E402
import tree  # noqa: E402
from configs import NATIVE  # noqa: E402
from table import Row, Table, as_json, render  # noqa: E402


def results(value, kind="count", native=100, key="k", column="pmp"):
    t = Table("part", "", "")
    t.add(key, "text", {NATIVE: native, "gstage": native, column: value}, {}, kind)
    return {"about": {}, "tables": as_json([t])}


@pytest.mark.parametrize("kind, old, new, is_worse", [
    ("count", 100, 103, False), ("count", 100, 104, True), ("count", 100, 50, False),
    ("count", 8, 9, False), ("count", 8, 10, True), ("count", 0, 1, False), ("count", 0, 2, True),
    ("ratio", 100, 101, False), ("ratio", 100, 102, True),
    ("wall", 1, 9, False), ("info", 1, 9, False),
])
def test_what_is_worse(kind, old, new, is_worse):
    found = {column: compare.worse(a, b, column) for _, column, a, b in compare.pairs(results(old, kind), results(new, kind))}
    assert found == {"gstage": False, "pmp": is_worse}


def test_ratios_follow_native():
    for _, column, old, new in compare.pairs(results(100, "ratio", 100), results(150, "ratio", 150)):
        assert not compare.worse(old, new, column)


@pytest.mark.parametrize("native, value, missed", [(1000, 1010, []), (1000, 1010.4, []), (1000, 1011, ["pmp"]), (10, 10.2, ["pmp"])])
def test_a_ratio_s_budget_is_judged_as_it_is_shown(native, value, missed):
    row = Row("k", "text", {NATIVE: native, "gstage": 10 * native, "pmp": value}, {"pmp": 1.01}, "ratio")
    assert row.missed() == missed


def test_columns_of_a_table():
    t = Table("part", "Title", "unit")
    t.add("k", "text", {NATIVE: 100, "gstage": 101, "shadow": 140}, {"gstage": 1.02, "shadow": 1.3}, "ratio")
    line = [cell.strip() for cell in render(t).splitlines()[-1].split("|")[1:-1]]
    assert line == ["text", "100", "101 (1.010)", "-", "140 (1.400)", "<= 1.020 / - / 1.300", "MISSED: shadow"]


def test_goals_that_are_missed_are_named():
    found = {c: dict.fromkeys([*linux.NAMES, "boot_init", "boot_login"], 100) for c in configs.CONFIGS}
    found["shadow"] |= {"fork": 200, "pipe": 131}
    t = linux.fill(Table("linux", "", ""), found, None)
    assert t.notes == ["Goals of pmp: 16 of 16 met.", "Goals of shadow: 4 of 5 met; missed: pipe round trip."]


def test_every_column_but_the_native_one_names_its_backend():
    assert all(configs.CONFIGS[c].options == f"backend={c}" for c in configs.BACKENDS)
    assert [c for c, config in configs.CONFIGS.items() if config.options is None] == [NATIVE]


def test_a_row_that_vanished_fails(tmp_path):
    import json
    record = tmp_path / "old.json"
    record.write_text(json.dumps(results(1)))
    assert compare.report(record, results(1)) == 0
    assert compare.report(record, results(1, key="other")) == 1
    assert compare.report(record, results(1, column="shadow")) == 1


def test_a_part_not_measured_does_not_fail():
    assert compare.missing(results(1), {"about": {}, "tables": {}}) == []


def test_lines_of_code(tmp_path):
    f = tmp_path / "a.c"
    f.write_text('int a; /* one */\n\n/* two\n * lines */\nchar *s = "/* no comment";\n// none\nint b; // three\n')
    assert sizes.code_lines(str(f)) == 3


def test_a_guest_that_stops_half_way_is_an_error():
    rows = "row base 2000 2000 1\n"
    assert micro.parse(rows + "done\n")["base"] == (100, 1, 2000)
    with pytest.raises(qemu.Failed):
        micro.parse(rows)
    with pytest.raises(qemu.Failed):
        linux.parse("mark init 5\nsyscall 244.0\n")


def test_mean_delay():
    # A delay of nothing: the phase of the tick, and the sample's two instructions.
    assert micro.parse("row delay_x 5150 10000 0\ndone\n")["delay_x"][0] == 0


FORK, KILL, CHILD, SETTLED = 1, 5, 32, 33


def done(kind):
    return tree.RETURNED + kind


MARKS = [(FORK, 100), (done(FORK), 150), (CHILD, 160), (SETTLED, 170), (KILL, 200), (done(KILL), 201), (SETTLED, 900), (KILL, 1000),
         (done(KILL), 1003), (SETTLED, 1100)]


def test_marks_become_operations():
    fork, first, second = tree.samples([(SETTLED, 1), *MARKS])
    assert fork == (FORK, {"returned": 50, "child": 60, "settled": 70})
    assert first == (KILL, {"returned": 1, "settled": 700})
    assert second.stages["returned"] == 3
    assert tree.stage([first, second]) == 2
    assert tree.worst([first, second]) == 3


def test_rows_take_the_operations_in_order():
    text = f"row fork 1 {FORK} 1\nrow kill 1 {KILL} 1\nrow filler 0 {KILL} 1\nlate 7\ndone\n"
    rows = tree.parse(text, MARKS)
    assert rows["kill", 1][0].stages["settled"] == 700
    assert rows["late"] == 700
    assert ("filler", 0) not in rows


@pytest.mark.parametrize("text", [
    f"row fork 1 {FORK} 1\nrow kill 1 {KILL} 2\n",  # it did not finish
    f"row fork 1 {FORK} 1\nrow kill 1 {KILL} 1\ndone\n",  # one kill is of no row
    f"row fork 1 {FORK} 2\nrow kill 1 {KILL} 1\ndone\n",  # a kill is no fork
    f"row fork 1 {FORK} 1\nrow kill 1 {KILL} 3\ndone\n",  # there were only two
])
def test_rows_that_do_not_fit_the_marks_are_an_error(text):
    with pytest.raises(qemu.Failed):
        tree.parse(text, MARKS)


def test_cost_of_a_leaf():
    def of(count):
        return [tree.Sample(FORK, {"returned": count})]
    # Of 4 superpages of 2 MiB two are written, and the guest's own is split as well.
    assert tree.per_leaf({("fork", 0): of(1000), ("fork_split", 0): of(1000 + 20 * 3 * 511)}, 8) == 20


def test_what_grows_with_the_number_of_vms_misses_its_budget():
    def of(count):
        return [tree.Sample(FORK, {"returned": count, "settled": count})]
    def run(growth):
        return {(name, n): of(10_000 + growth * n) for name in ("fork", "copy", "kill") for n in tree.LIVE}
    t = Table("tree", "", "")
    tree.live_rows(t, {("gstage", *tree.SHAPES[0]): run(0), ("pmp", *tree.SHAPES[0]): {}, ("shadow", *tree.SHAPES[0]): run(20)})
    assert [r.missed() for r in t.rows] == [[], [], ["shadow"], ["shadow"]] * 4
    assert not any("pmp" in r.values for r in t.rows), "where there is no such row"


def test_linux_of_its_own():
    text = "lxfork fork 64 18000 1\nlxfork copy 64 5120 256\n"
    assert lxfork.parse(text + "done\n", [64]) == {"fork_64": 1_800_000, "copy_64": 2000}
    with pytest.raises(qemu.Failed):
        lxfork.parse(text, [64])
    with pytest.raises(qemu.Failed):
        lxfork.parse(text + "done\n", [64, 256])


def test_memory_of_copies():
    lines = [f'clone {who} {s} {{"pages": {40 + s}, "pages_private": {s}}}' for who in ("clone", "fork") for s in clones.SECONDS]
    t = Table("clones", "", "")
    clones.add_rows(t, {"shadow": clones.parse("\n".join([*lines, "done"]))})
    found = {r.key: r for r in t.rows}
    assert found["clone_0"].values == {"shadow": 0}
    assert found["clone_10"].values == {"shadow": 40}
    assert found["clone_all_0"].missed() == ["shadow"], "160 KiB at birth"
    assert not found["clone_all_10"].missed()
    with pytest.raises(qemu.Failed):
        clones.parse("\n".join([*lines[1:], "done"]))
    with pytest.raises(qemu.Failed):
        clones.parse("\n".join(lines))


def test_the_plugin_s_counts(tmp_path):
    path = tmp_path / "counts"
    path.write_text("mark 1 50\nmark 17 90\nmode VS 7\nmode M 95\nguest M 60\nexits 2\nlongest 40 12\nblock longest 80000000 40\n"
                    "block 1 80000000 40 3\n")
    counts = mmode.read(path)
    assert counts["mark"] == [(1, 50), (17, 90)]
    assert (counts["guest"], counts["longest"], counts["block"]["1"]) == (60, 40, [(0x80000000, 40)])
    path.write_text("mark 1 50\n")
    with pytest.raises(qemu.Failed):
        mmode.read(path)
