# SPDX-License-Identifier: MIT
"""If this fails, a figure that got worse is not noticed, or lines are counted wrongly."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import compare  # noqa: E402
import linux  # noqa: E402
import micro  # noqa: E402
import pytest  # noqa: E402
import qemu  # noqa: E402
import sizes  # noqa: E402
from table import Row, Table, as_json  # noqa: E402


def results(value, kind="count", native=100, key="k"):
    t = Table("part", "", "")
    t.add(Row(key, "text", native, value, None, kind))
    return {"about": {}, "tables": as_json([t])}


@pytest.mark.parametrize("kind, old, new, is_worse", [
    ("count", 100, 103, False), ("count", 100, 104, True), ("count", 100, 50, False),
    ("count", 8, 9, False), ("count", 8, 10, True), ("count", 0, 1, False), ("count", 0, 2, True),
    ("ratio", 100, 101, False), ("ratio", 100, 102, True),
    ("wall", 1, 9, False), ("info", 1, 9, False),
])
def test_what_is_worse(kind, old, new, is_worse):
    found = [compare.worse(a, b) for _, a, b in compare.pairs(results(old, kind), results(new, kind))]
    assert found == [is_worse]


def test_ratios_follow_native():
    (_, old, new), = compare.pairs(results(100, "ratio", 100), results(150, "ratio", 150))
    assert not compare.worse(old, new)


def test_a_row_that_vanished_fails(tmp_path):
    import json
    record = tmp_path / "old.json"
    record.write_text(json.dumps(results(1)))
    assert compare.report(record, results(1)) == 0
    assert compare.report(record, results(1, key="other")) == 1


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
