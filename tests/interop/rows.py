"""Rows in one plain form, so that tables of different engines can be compared.

`plain(table)` turns a pyarrow table into dicts of JSON values; `difference(expected, actual)` holds two lists of them
against each other as multisets. The form tells apart what a careless comparison would not: -0.0 from 0.0, null from
the empty string, a null struct from a struct of nulls, 1 from 1.0.
"""
import base64
import collections
import datetime
import decimal
import json
import math

import pyarrow as pa

EPOCH = datetime.datetime(1970, 1, 1)


def plain(table):
    """The rows of a pyarrow table."""
    columns = [_column(column.combine_chunks(), field.type) for field, column in zip(table.schema, table.columns)]
    return [dict(zip(table.schema.names, row)) for row in zip(*columns)] if columns else []


def _column(array, kind):
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], kind)
    if pa.types.is_dictionary(kind):
        return _column(array.dictionary_decode(), kind.value_type)
    if pa.types.is_timestamp(kind):
        micros = array.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64())
        mark = "" if kind.tz is None else "Z"
        return [None if at is None else _moment(at) + mark for at in micros.to_pylist()]
    return [_value(item, kind) for item in array]


def _moment(micros):
    at = EPOCH + datetime.timedelta(microseconds=micros)
    return f"{at.year:04d}-{at:%m-%dT%H:%M:%S}.{at.microsecond:06d}"


def _value(item, kind):
    """One pyarrow scalar."""
    if not item.is_valid:
        return None
    if pa.types.is_dictionary(kind):
        return _value(item.value, kind.value_type)
    if pa.types.is_struct(kind):
        return {field.name: _value(item[index], field.type) for index, field in enumerate(kind)}
    if pa.types.is_map(kind):
        keys, values = item.values.field(0), item.values.field(1)
        entries = [{"key": k, "value": v} for k, v in zip(_column(keys, kind.key_type), _column(values, kind.item_type))]
        return sorted(entries, key=_text)
    if isinstance(kind, (pa.ListType, pa.LargeListType, pa.FixedSizeListType, pa.ListViewType, pa.LargeListViewType)):
        return _column(item.values, kind.value_type)
    if pa.types.is_timestamp(kind):
        return _column(pa.array([item.value], pa.int64()).cast(kind), kind)[0]
    value = item.as_py()
    if pa.types.is_decimal(kind):
        digits = decimal.Context(prec=76)
        return format(value.quantize(decimal.Decimal(1).scaleb(-kind.scale), context=digits), "f")
    if pa.types.is_floating(kind):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if 0 < value else "-Infinity"
        return float(value)
    if pa.types.is_date(kind):
        return f"{value.year:04d}-{value:%m-%d}"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def _text(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def difference(expected, actual):
    """None if both lists hold the same rows, in whatever order; else what differs first, as text."""
    wanted = collections.Counter(map(_text, expected))
    seen = collections.Counter(map(_text, actual))
    if wanted == seen:
        return None
    missing, extra = list((wanted - seen).elements()), list((seen - wanted).elements())
    parts = [f"{len(expected)} rows expected, {len(actual)} seen, {len(missing)} missing, {len(extra)} too many"]
    parts += [f"missing: {row[:300]}" for row in missing[:2]]
    parts += [f"too many: {row[:300]}" for row in extra[:2]]
    return "; ".join(parts)
