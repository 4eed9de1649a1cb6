"""The tables that engines exchange: schemas, rows in the order of their commits, and questions about them.

Every case is data, the same whoever writes it. What a reader must see at a version follows from the case alone.
"""
import dataclasses
import datetime
import decimal
import math
import random

import pyarrow as pa

from predicates import OPERATORS, Probe, raw_rows, storage

NAN, INFINITY = math.nan, math.inf
DAY = 86_400_000_000


def days(year, month, day):
    return (datetime.date(year, month, day) - datetime.date(1970, 1, 1)).days


def micros(year, month, day, hour=0, minute=0, second=0, micro=0):
    passed = datetime.datetime(year, month, day, hour, minute, second, micro) - datetime.datetime(1970, 1, 1)
    return passed // datetime.timedelta(microseconds=1)


def decimals(precision, scale):
    """Edges of a decimal type, as slices; neighbours that a double cannot tell apart lie in different ones."""
    unit = decimal.Decimal(1).scaleb(-scale)
    top = decimal.Context(prec=76).multiply(decimal.Decimal(10**precision - 1), unit)
    below = decimal.Context(prec=76).subtract(top, unit)
    return [[top.copy_negate(), below.copy_negate()], [-unit, 0 * unit, unit], [below], [top], [None], [None, unit, top]]


MOMENTS = [
    [micros(1, 1, 1), micros(1582, 10, 4), micros(1582, 10, 15)],
    [micros(1677, 9, 21, 0, 12, 43, 145_223), micros(1899, 12, 31, 23, 59, 59, 999_999)],
    [-1, 0, 1],
    [micros(2013, 6, 30, 12, 34, 56, 789_123), micros(2013, 6, 30, 12, 34, 56, 789_999)],
    [micros(2013, 6, 30, 12, 34, 56, 790_000), micros(2024, 2, 29, 1, 2, 3)],
    [micros(2262, 4, 11, 23, 47, 16, 854_776), micros(9999, 12, 31, 23, 59, 59, 999_999)],
    [None],
    [None, micros(1970, 1, 2), micros(9999, 12, 31)],
]

# Per type: its name, the Arrow type, and slices of values. A slice becomes one file, so that bounds differ per file.
TYPES = [
    ("boolean", pa.bool_(), [[False], [True], [None], [True, False, None]]),
    ("byte", pa.int8(), [[-128, -127], [-1, 0, 1], [126], [127], [None], [None, 5]]),
    ("short", pa.int16(), [[-32768, -32767], [-1, 0, 1], [32766], [32767], [None], [None, 5]]),
    ("integer", pa.int32(), [[-(2**31), 1 - 2**31], [-1, 0, 1], [2**31 - 2], [2**31 - 1], [None], [None, 5]]),
    ("long", pa.int64(), [[-(2**63), 1 - 2**63], [-1, 0, 1], [2**53], [2**53 + 1], [2**63 - 2], [2**63 - 1], [None], [None, 5]]),
    ("float", pa.float32(), [[-3.4028234663852886e38, -1.5], [-0.0, 0.0], [-0.0], [0.0], [1.401298464324817e-45, 0.10000000149011612],
                             [NAN, 2.5], [NAN], [INFINITY, 3.4028234663852886e38], [-INFINITY, 7.25], [None], [None, NAN, 1.0, -0.0]]),
    ("double", pa.float64(), [[-1.7976931348623157e308, -1.5], [-0.0, 0.0], [-0.0], [0.0], [5e-324, 0.1], [2.0**53, 2.0**53 + 2],
                              [NAN, 2.5], [NAN], [INFINITY, 1.7976931348623157e308], [-INFINITY, 7.25], [None], [None, NAN, 1.0, -0.0]]),
    ("decimal_1_0", pa.decimal128(1, 0), decimals(1, 0)),
    ("decimal_9_2", pa.decimal128(9, 2), decimals(9, 2)),
    ("decimal_18_9", pa.decimal128(18, 9), decimals(18, 9)),
    ("decimal_19_0", pa.decimal128(19, 0), decimals(19, 0)),
    ("decimal_38_0", pa.decimal128(38, 0), decimals(38, 0)),
    ("decimal_38_18", pa.decimal128(38, 18), decimals(38, 18)),
    ("decimal_38_38", pa.decimal128(38, 38), decimals(38, 38)),
    ("string", pa.string(), [["", " ", "a"], ["b", "b" * 31, "b" * 32, "b" * 33, "b" * 40], ["c\n\t\"'\\", "d'quote"],
                             ["\u00e9", "e\u0301", "\u65e5\u672c\u8a9e"], ["\U0001f600"], ["\uffff" * 40], ["\U0010ffff" * 40, "\U0010ffff" * 33],
                             [None], [None, "NULL", "null", ""]]),
    ("binary", pa.binary(), [[b"", b"\x00"], [b"a" * 40, bytes(range(256))], [b"\xff" * 40], [None], [None, b"NULL"]]),
    ("date", pa.date32(), [[days(1, 1, 1), days(1582, 10, 4)], [days(1582, 10, 15), days(1900, 2, 28)], [-1, 0, 1], [days(2000, 2, 29)],
                           [days(9999, 12, 31)], [None], [None, days(2013, 6, 30)]]),
    ("timestamp", pa.timestamp("us", "UTC"), MOMENTS),
    ("timestamp_ntz", pa.timestamp("us"), MOMENTS),
]

AWKWARD_TEXT = [
    "plain", "two words", " leading", "trailing ", "100%", "%20", "%2F", "a/b", "a\\b", "a=b", "a:b", "a#b?c&d", "a+b", "\u00fcmlaut", "e\u0301",
    "\u65e5\u672c", "\U0001f600", "it's", 'say "hi"', "new\nline", "tab\t", "\x7f", "..", ".", "~", "*", "[x]{y}", "null", "NULL", "A", "a",
    "__HIVE_DEFAULT_PARTITION__x", "", None,
]

POSITIVE = {(p, s): [value for values in decimals(p, s) for value in values if value is None or 0 <= value] for p, s in [(9, 2), (18, 9), (38, 18), (38, 38)]}

# Values of partition columns, per type, where they are not those of TYPES.
PARTITIONS = {
    "string": AWKWARD_TEXT,
    "binary": [b"plain", b"two words", b"%/=", b"\x01\x02", "\u00fc".encode(), None],
    "float": [-1.5, 0.0, 0.10000000149011612, 16777216.0, NAN, INFINITY, -INFINITY, None],
    "double": [-1.5, 0.0, 0.1, 2.0**53, NAN, INFINITY, -INFINITY, None],
    "decimal_9_2": POSITIVE[9, 2],
    "decimal_18_9": POSITIVE[18, 9],
    "decimal_38_18": POSITIVE[38, 18],
    "decimal_38_38": POSITIVE[38, 38],
}

# Values that some engines cannot write as a partition, kept apart from the others for their sake.
HARD_PARTITIONS = [
    ("float-extreme", pa.float32(), [[1.401298464324817e-45, 3.4028234663852886e38, -0.0]]),
    ("double-extreme", pa.float64(), [[5e-324, 1.7976931348623157e308, -0.0]]),
    ("decimal-negative", pa.decimal128(38, 18), decimals(38, 18)),
]


@dataclasses.dataclass
class Case:
    name: str
    steps: list  # ("append", table) | ("widen", table): append and add columns | ("checkpoint",)
    partition_by: list = dataclasses.field(default_factory=list)
    properties: dict = dataclasses.field(default_factory=dict)
    probes: list = dataclasses.field(default_factory=list)

    @property
    def schema(self):
        """The schema at version 0, when headwater creates the table before it appends."""
        return self.steps[0][1].schema

    def commits(self):
        return [table for kind, *rest in self.steps for table in rest]

    def expected(self, commits):
        """What the table holds after so many commits."""
        tables = self.commits()[: max(commits, 1)]
        schema = tables[-1].schema if commits else self.schema
        fitted = [fit(table, schema) for table in tables] if commits else [schema.empty_table()]
        table = pa.concat_tables(fitted)
        for name in self.partition_by:
            index = table.schema.get_field_index(name)
            if pa.types.is_string(table.schema.types[index]):  # the protocol reads an empty value as null
                values = [value or None for value in table.column(index).to_pylist()]
                table = table.set_column(index, schema.field(index), pa.array(values, schema.types[index]))
        return table


def fit(table, schema):
    """The table with the columns of a wider schema."""
    return pa.Table.from_arrays([_widen(table.column(f.name).combine_chunks(), f.type) if f.name in table.schema.names
                                 else pa.nulls(len(table), f.type) for f in schema], schema=schema)


def _widen(array, kind):
    if array.type == kind or not pa.types.is_struct(kind):
        return array
    known = array.type.names
    children = [_widen(array.field(f.name), f.type) if f.name in known else pa.nulls(len(array), f.type) for f in kind]
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())


def column(values, kind):
    below = storage(kind)
    return pa.array(values, below).cast(kind) if below else pa.array(values, kind)


def table(schema, columns):
    fields = list(schema)
    return pa.Table.from_arrays([column(values, f.type) for f, values in zip(fields, columns)], schema=schema)


def with_checkpoint(tables):
    """Appends, with a checkpoint before the last of them."""
    appends = [("append", each) for each in tables]
    return appends[:-1] + [("checkpoint",), appends[-1]]


def questions(path, kind, values, operators=OPERATORS):
    """Every operator, against a handful of values from one end to the other, and both tests for null."""
    known = sorted({repr(v): v for v in values if v is not None}.items(), key=lambda pair: str(pair[1]))
    known = [value for _, value in known]
    picked = known if len(known) <= 6 else known[:: math.ceil(len(known) / 6)]
    asked = [Probe(path, operator, kind, value) for value in picked for operator in operators]
    return asked + [Probe(path, "is null", kind), Probe(path, "is not null", kind)]


def of_type(name, kind, slices):
    schema = pa.schema([pa.field("id", pa.int64(), False), pa.field("v", kind)])
    first, tables = 0, []
    for values in slices:
        tables.append(table(schema, [list(range(first, first + len(values))), values]))
        first += len(values)
    return Case(f"type-{name}", with_checkpoint(tables), probes=questions(("v",), kind, sum(slices, [])))


def of_partition(name, kind, slices):
    values = PARTITIONS.get(name) or list(dict.fromkeys(sum(slices, [])))
    schema = pa.schema([pa.field("id", pa.int64(), False), pa.field("p", kind), pa.field("v", pa.string())])
    tables = [table(schema, [[turn * 1000 + i for i in range(len(values))], values, [f"{turn}-{i}" for i in range(len(values))]]) for turn in range(3)]
    asked = [value for value in values if value != ""]
    if name in ("binary", "decimal-negative"):  # whole tables that some engines cannot read: one question will do
        asked = asked[:1]
    return Case(f"partition-{name}", with_checkpoint(tables), ["p"], probes=questions(("p",), kind, asked))


def everything():
    """One struct, arrays and maps with every type at their ends."""
    inside = pa.struct([pa.field(name, kind) for name, kind, _ in TYPES])
    fields = [pa.field("id", pa.int64(), False), pa.field("s", inside)]
    fields += [pa.field(f"a_{name}", pa.list_(pa.field("element", kind))) for name, kind, _ in TYPES]
    fields += [pa.field(f"m_{name}", pa.map_(pa.string(), kind)) for name, kind, _ in TYPES]
    schema = pa.schema(fields)
    tables = []
    for turn in range(4):
        slices = [each[turn % len(each)] for _, _, each in TYPES]
        structs = pa.StructArray.from_arrays(
            [column([values[0], values[-1], None, None], kind) for (_, kind, _), values in zip(TYPES, slices)],
            fields=list(inside), mask=pa.array([False, False, False, True]))
        arrays = [_lists([values, [None, *values], [], None], kind) for (_, kind, _), values in zip(TYPES, slices)]
        maps = [_maps([values, [None, *values], [], None], kind) for (_, kind, _), values in zip(TYPES, slices)]
        ids = pa.array(range(turn * 10, turn * 10 + 4), pa.int64())
        tables.append(pa.Table.from_arrays([ids, structs, *arrays, *maps], schema=schema))
    asked = [probe for name, kind, slices in TYPES for probe in questions(("s", name), kind, [slices[2][0]], ("=", "<="))]
    return Case("nested-everything", with_checkpoint(tables), probes=asked)


def _offsets(groups):
    offsets, at = [], 0
    for group in groups:
        offsets.append(None if group is None else at)
        at += len(group or [])
    return pa.array([*offsets, at], pa.int32()), [value for group in groups for value in group or []]


def _lists(groups, kind):
    offsets, flat = _offsets(groups)
    return pa.ListArray.from_arrays(offsets, column(flat, kind), type=pa.list_(pa.field("element", kind)))


def _maps(groups, kind):
    offsets, flat = _offsets(groups)
    keys = pa.array([f"k{index}" for index in range(len(flat))])
    return pa.MapArray.from_arrays(offsets, keys, column(flat, kind), type=pa.map_(pa.string(), kind))


def deep():
    """Lists of structs of maps of lists, structs five deep, nulls at every level."""
    point = pa.struct([pa.field("x", pa.int32(), False), pa.field("y", pa.int32())])
    tower = pa.struct([("b", pa.struct([("c", pa.struct([("d", pa.struct([("e", pa.int64())]))]))]))])
    schema = pa.schema([
        pa.field("id", pa.int64(), False),
        pa.field("tower", tower),
        pa.field("path", pa.list_(pa.field("element", point))),
        pa.field("grid", pa.list_(pa.field("element", pa.list_(pa.field("element", pa.int32()))))),
        pa.field("index", pa.map_(pa.string(), pa.list_(pa.field("element", point)))),
        pa.field("byte_keys", pa.map_(pa.int32(), pa.map_(pa.string(), pa.float64()))),
        pa.field("never_null", pa.list_(pa.field("element", pa.string(), False)), False),
    ])
    rows = [
        [1, {"b": {"c": {"d": {"e": 2**60}}}}, [{"x": 1, "y": None}, None], [[1, None], [], None], [("k", [{"x": 1, "y": 2}]), ("n", None)],
         [(-1, [("z", -0.0)]), (2**31 - 1, None)], ["a", ""]],
        [2, {"b": {"c": {"d": None}}}, [], [], [], [], []],
        [3, {"b": None}, None, None, None, None, ["\u00fc"]],
        [4, None, [{"x": -5, "y": 7}], [[]], [("", [None])], [(0, [])], ["x"]],
    ]

    def build(some):
        return pa.Table.from_arrays([pa.array(values, f.type) for f, values in zip(schema, zip(*some))], schema=schema)

    tables = [build([row]) for row in rows] + [build(rows)]
    path = ("tower", "b", "c", "d", "e")
    return Case("nested-deep", with_checkpoint(tables), probes=questions(path, pa.int64(), [2**60, 0]))


def evolving():
    """Columns and fields of structs come later; older rows have nulls there."""
    one = pa.schema([pa.field("id", pa.int64(), False), pa.field("s", pa.struct([("a", pa.int32())])), pa.field("p", pa.string())])
    two = pa.schema([*one, pa.field("late", pa.decimal128(20, 4))])
    three = pa.schema([one.field(0), pa.field("s", pa.struct([("a", pa.int32()), ("b", pa.string())])), one.field(2), two.field(3), pa.field("l\u00e4ter", pa.date32())])
    first = table(one, [[1, 2], [{"a": 1}, None], ["x", "y"]])
    second = table(two, [[3], [{"a": None}], ["x"], [decimal.Decimal("1234567890123456.7891")]])
    third = table(three, [[4, 5], [{"a": 4, "b": "four"}, None], ["z", None], [None, decimal.Decimal("-0.0001")], [days(9999, 12, 31), None]])
    steps = [("append", first), ("widen", second), ("checkpoint",), ("widen", third)]
    asked = questions(("late",), pa.decimal128(20, 4), [decimal.Decimal("-0.0001"), decimal.Decimal("2.0000")])
    asked += questions(("l\u00e4ter",), pa.date32(), [0]) + questions(("s", "b"), pa.string(), ["four"]) + questions(("s", "a"), pa.int32(), [1])
    return Case("evolving", steps, ["p"], probes=asked)


def partitions_of_many():
    """Several partition columns with names as awkward as their values."""
    names = ["day of", "\u00fcn\u00ef", "a=b", "p%q", "Upper"]
    schema = pa.schema([pa.field("id", pa.int64(), False), pa.field(names[0], pa.date32()), pa.field(names[1], pa.string()), pa.field("v", pa.int32()),
                        pa.field(names[2], pa.int32()), pa.field(names[3], pa.bool_()), pa.field(names[4], pa.decimal128(10, 2))])
    values = [[0, days(1, 1, 1), None], ["a/b=c", None, "%"], [1, None, 3], [-1, None, 7], [True, False, None], [decimal.Decimal("1.50"), None, decimal.Decimal("0.01")]]
    tables = [table(schema, [[turn * 3 + i for i in range(3)], *values]) for turn in range(3)]
    asked = questions(("\u00fcn\u00ef",), pa.string(), ["a/b=c", "%"]) + questions(("day of",), pa.date32(), [0, days(1, 1, 1)])
    asked += questions(("Upper",), pa.decimal128(10, 2), [decimal.Decimal("1.50")])
    return Case("partition-many", with_checkpoint(tables), names, probes=asked)


def names_of_columns():
    names = ["two words", "\u00fcn\u00ef", "dash-ed", "Upper", "it's", "dollar$", "\u65e5\u672c", "per%cent", "select"]
    schema = pa.schema([pa.field("id", pa.int64(), False), *[pa.field(name, pa.int32()) for name in names]])
    tables = [table(schema, [[turn], *[[turn * 10 + i] for i in range(len(names))]]) for turn in range(3)]
    asked = [probe for index, name in enumerate(names) for probe in questions((name,), pa.int32(), [10 + index])]
    return Case("names", with_checkpoint(tables), probes=asked)


def many_columns():
    """More columns than statistics are kept for."""
    schema = pa.schema([pa.field(f"c{index}", pa.int64()) for index in range(40)])
    tables = [table(schema, [[turn * 100 + index] for index in range(40)]) for turn in range(4)]
    asked = questions(("c3",), pa.int64(), [103]) + questions(("c38",), pa.int64(), [138])
    return Case("many-columns", with_checkpoint(tables), probes=asked)


def bulk():
    """Enough rows for several files, row groups and pages in one append."""
    dice = random.Random(7)
    schema = pa.schema([pa.field("id", pa.int64(), False), pa.field("score", pa.float64()), pa.field("word", pa.string())])
    tables = []
    for turn in range(3):
        ids = list(range(turn * 20_000, (turn + 1) * 20_000))
        scores = [dice.random() for _ in ids]
        words = [None if index % 97 == 0 else f"w{index % 1000:04d}" for index in range(20_000)]
        tables.append(pa.table([ids, scores, words], schema=schema))
    asked = [Probe(("id",), "=", pa.int64(), 20_001), Probe(("id",), ">", pa.int64(), 59_990), Probe(("score",), "<", pa.float64(), 0.001),
             Probe(("word",), "=", pa.string(), "w0500"), Probe(("word",), "is null", pa.string())]
    return Case("bulk", with_checkpoint(tables), properties={"delta.targetFileSize": "100000"}, probes=asked)


def properties(name, settings):
    """A few typed columns, with table properties that change what is written."""
    schema = pa.schema([pa.field("id", pa.int64(), False), pa.field("d", pa.decimal128(38, 2)), pa.field("t", pa.timestamp("us", "UTC")),
                        pa.field("s", pa.struct([("x", pa.float64())])), pa.field("p", pa.date32())])
    tables = []
    for turn in range(4):
        columns = [[turn * 2, turn * 2 + 1], [decimal.Decimal(10**35 + turn).scaleb(-2, decimal.Context(prec=40)), None],
                   [micros(2013, 1, 1 + turn, 0, 0, 0, 999_999), None], [{"x": turn + 0.5}, None], [days(2013, 1, 1 + turn), None]]
        tables.append(table(schema, columns))
    asked = questions(("d",), pa.decimal128(38, 2), [decimal.Decimal(10**35 + 2).scaleb(-2, decimal.Context(prec=40))])
    asked += questions(("t",), pa.timestamp("us", "UTC"), [micros(2013, 1, 2, 0, 0, 0, 999_999)])
    asked += questions(("s", "x"), pa.float64(), [2.5]) + questions(("p",), pa.date32(), [days(2013, 1, 2)])
    return Case(f"property-{name}", with_checkpoint(tables), ["p"], settings, asked)


def all_cases():
    cases = [of_type(*each) for each in TYPES]
    cases += [of_partition(*each) for each in TYPES + HARD_PARTITIONS]
    cases += [everything(), deep(), evolving(), partitions_of_many(), names_of_columns(), many_columns(), bulk()]
    cases += [
        properties("json-stats", {"delta.checkpoint.writeStatsAsStruct": "false"}),
        properties("struct-stats", {"delta.checkpoint.writeStatsAsJson": "false", "delta.checkpoint.writeStatsAsStruct": "true"}),
        properties("no-stats", {"delta.dataSkippingNumIndexedCols": "0"}),
        properties("append-only", {"delta.appendOnly": "true"}),
        properties("often", {"delta.checkpointInterval": "1"}),
    ]
    return {case.name: case for case in cases}


def matching(table, probe, order):
    """The rows for which a probe is true."""
    return table.filter(pa.array([probe.holds(row, order) for row in raw_rows(table)], pa.bool_()))
