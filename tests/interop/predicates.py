"""Conditions over rows, in the dialect of every engine, and what they mean.

A probe compares one column (a path of names) with one value. `holds` is the meaning, worked out row by row; engines
differ in how they order floats, so the meaning takes the order as an argument:

- "spark": NaN equals itself and exceeds everything, -0.0 equals 0.0 (headwater, DuckDB, DataFusion)
- "ieee": a comparison with NaN is false, but for <> (pyarrow)
"""
import dataclasses
import datetime
import decimal
import math
import typing

import pyarrow as pa
import pyarrow.compute as pc

OPERATORS = ("=", "<>", "<", "<=", ">", ">=")


@dataclasses.dataclass(frozen=True)
class Probe:
    path: tuple
    operator: str  # one of OPERATORS, "is null", "is not null"
    kind: pa.DataType
    value: typing.Any = None  # a Python value; integers for timestamps (microseconds) and for dates (days)

    def name(self):
        if self.operator.startswith("is"):
            return f"{'.'.join(self.path)} {self.operator}"
        text = f"{self.value:f}" if isinstance(self.value, decimal.Decimal) else ascii(self.value)
        if 60 < len(text):  # of two long values, the names must differ
            text = f"{text[:40]}..{len(text)} characters"
        return f"{'.'.join(self.path)} {self.operator} {text}"

    def sql(self, dialect):
        quote = "`" if dialect == "headwater" else '"'
        column = ".".join(quote + name.replace(quote, quote * 2) + quote for name in self.path)
        if dialect == "datafusion" and 1 < len(self.path):
            head, *rest = self.path
            column = f'"{head}"' + "".join(f"['{name}']" for name in rest)
        if self.operator.startswith("is"):
            return f"{column} {self.operator}"
        return f"{column} {self.operator} {literal(self.value, self.kind, dialect)}"

    def expression(self):
        field = pc.field(*self.path)
        if self.operator == "is null":
            return field.is_null()
        if self.operator == "is not null":
            return field.is_valid()
        value = pa.scalar(self.value, storage(self.kind)).cast(self.kind) if storage(self.kind) else pa.scalar(self.value, self.kind)
        function = {"=": "equal", "<>": "not_equal", "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"}
        return getattr(pc, function[self.operator])(field, value)

    def holds(self, raw, order):
        """Whether the condition is true for a row of raw values."""
        value = raw
        for name in self.path:
            value = None if value is None else value[name]
        if self.operator == "is null":
            return value is None
        if self.operator == "is not null":
            return value is not None
        if value is None:
            return False
        if order == "ieee" and _nan(value, self.value):
            return self.operator == "<>"
        left, right = _key(value), _key(self.value)
        return {"=": left == right, "<>": left != right, "<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[self.operator]


def storage(kind):
    """The integer type under dates and timestamps, whose raw values are integers."""
    if pa.types.is_timestamp(kind):
        return pa.int64()
    return pa.int32() if pa.types.is_date(kind) else None


def _nan(*values):
    return any(isinstance(value, float) and math.isnan(value) for value in values)


def _key(value):
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, float):
        return (1, 0.0) if math.isnan(value) else (0, value)
    return value


def literal(value, kind, dialect):
    """A value as SQL text."""
    if pa.types.is_boolean(kind):
        return "true" if value else "false"
    if pa.types.is_integer(kind):
        return str(value)
    if pa.types.is_floating(kind):
        name = "FLOAT" if pa.types.is_float32(kind) else "DOUBLE"
        text = "NaN" if math.isnan(value) else ("Infinity" if 0 < value else "-Infinity") if math.isinf(value) else repr(value)
        return f"CAST('{text}' AS {name})"
    if pa.types.is_decimal(kind):
        return f"CAST('{value:f}' AS DECIMAL({kind.precision},{kind.scale}))"
    if pa.types.is_string(kind):
        return "'" + value.replace("'", "''") + "'"
    if pa.types.is_binary(kind):
        if dialect == "duckdb":
            return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::BLOB"
        return f"X'{value.hex()}'"
    if pa.types.is_date(kind):
        return f"DATE '{_date(value)}'"
    if pa.types.is_timestamp(kind):
        if dialect == "datafusion":
            zone = "None" if kind.tz is None else 'Some("UTC")'
            return f"arrow_cast({value}, 'Timestamp(Microsecond, {zone})')"
        at = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=value)
        text = f"{at.year:04d}-{at:%m-%d %H:%M:%S}.{at.microsecond:06d}"
        if dialect == "duckdb":
            return f"TIMESTAMP '{text}'" if kind.tz is None else f"TIMESTAMPTZ '{text}+00'"
        return f"TIMESTAMP_NTZ '{text}'" if kind.tz is None else f"TIMESTAMP '{text}Z'"
    raise ValueError(f"no literal of {kind}")


def _date(days):
    at = datetime.date(1970, 1, 1) + datetime.timedelta(days=days)
    return f"{at.year:04d}-{at:%m-%d}"


def raw_rows(table):
    """Rows as dicts of raw values: integers for dates and timestamps."""
    columns = {field.name: _raw(table.column(index).combine_chunks(), field.type) for index, field in enumerate(table.schema)}
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _raw(array, kind):
    if storage(kind):
        return array.cast(storage(kind)).to_pylist()
    if pa.types.is_struct(kind):
        children = {field.name: _raw(array.field(index), field.type) for index, field in enumerate(kind)}
        valid = array.is_valid().to_pylist()
        return [{name: child[row] for name, child in children.items()} if valid[row] else None for row in range(len(array))]
    if pa.types.is_nested(kind):
        return [None] * len(array)  # nothing is compared inside arrays and maps
    if pa.types.is_decimal(kind):
        return [None if value is None else decimal.Decimal(value) for value in array.to_pylist()]
    return array.to_pylist()
