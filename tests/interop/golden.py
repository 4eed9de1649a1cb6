"""Tables that other engines wrote, read by every engine, held against the rows that the reference engine reads.

A read is a table at a version. Its rows stand beside it in the form of `rows.plain`, but for columns that hold variants:
there the reference leaves null fields out and prints maps as objects.
"""
import functools
import json
import pathlib

import pyarrow as pa

import engines
import rows

# Why an engine reads other rows than the reference, or rows where the reference has none. Every such difference has its
# reason here; an engine's error is its own reason.
NAMES = "reads files by the names of the columns in the table, whatever column mapping says"
PARTS = "hands variants out as their two parts"
REASONS = {
    ("deltalake", "golden-data-skipping-basic-stats-all-types-columnmapping-id"): NAMES,
    ("deltalake", "kernel-cdf-column-mapping-id-mode"): NAMES,
    ("deltalake", "rs-table_with_column_mapping"): NAMES,
    ("deltalake", "spark-cm_id"): NAMES,
    ("deltalake", "spark-cm_name"): NAMES,
    ("deltalake", "spark-ice"): NAMES,
    ("deltalake", "kernel-unshredded-variant"): PARTS,
    ("deltalake", "spark-var"): PARTS,
    ("deltalake-sql", "kernel-unshredded-variant"): PARTS,
    ("deltalake-sql", "spark-var"): PARTS,
    ("duckdb", "kernel-type-widening"): "reads a change of type that the protocol does not have",
    ("duckdb", "spark-cm_name"): "loses the value of a partition column that was renamed",
}


def check(engine, table, name, version, ours, stored, loose):
    """How one read went: {"equal": BOOL, "told": TEXT}, the text saying why if it is not.

    `ours` is an Arrow file of what headwater read, if it read something; `stored` a file of the expected rows, if there
    is one, else what headwater read is expected; with neither, an error is.
    """
    try:
        seen = load(ours) if engine == "headwater" else read(engine, table, version)
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        return {"equal": ours is None, "told": told[:160]}
    if ours is None:
        problem = f"{seen.num_rows} rows read where the reference has an error"
    elif stored is None:
        problem = same_columns(load(ours), seen)
    else:
        problem = rows.difference(expected(stored, tuple(loose)), canonical(rows.plain(seen), loose))
    if problem is None:
        return {"equal": True, "told": "equal"}
    reason = REASONS.get((engine, name))
    return {"equal": False, "told": f"differs: {reason or 'UNEXPLAINED'} ({problem[:160]})"}


def read(engine, table, version):
    try:
        reader = engines.READERS[engine](table, version)
        try:
            return reader.rows()
        finally:
            if hasattr(reader, "close"):
                reader.close()
    except Exception as error:
        if "INTERNAL Error" in str(error) or "FATAL Error" in str(error):
            engines.Duck.connection = None  # which has no future after such an error
        raise


@functools.lru_cache(maxsize=1)
def load(file):
    with pa.memory_map(file) as source:
        return pa.ipc.open_file(source).read_all()


@functools.lru_cache(maxsize=1)
def expected(file, loose):
    lines = pathlib.Path(file).read_text(encoding="utf-8").splitlines()
    return canonical([json.loads(line) for line in lines if line.strip()], loose)


def canonical(some, loose):
    return [{name: value(cell, name in loose) for name, cell in row.items()} for row in some]


def value(cell, loose):
    """One form for what means the same."""
    if isinstance(cell, dict):
        if set(cell) == {"$variant"}:
            return None if cell["$variant"] is None else value(json.loads(cell["$variant"]), loose)
        return {name: value(part, loose) for name, part in cell.items() if not (loose and empty(part))}
    if isinstance(cell, list):
        is_map = bool(cell) and all(isinstance(item, dict) and set(item) == {"key", "value"} for item in cell)
        if is_map and loose:
            return {item["key"]: found for item in cell if (found := value(item["value"], loose)) is not None}
        items = [value(item, loose) for item in cell]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True)) if is_map else items
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53 and str(cell) != "-0.0":
        return int(cell)
    return cell


def empty(cell):
    return cell is None or isinstance(cell, dict) and set(cell) == {"$variant"} and cell["$variant"] in (None, "null")


def same_columns(one, other):
    """None, or how two large tables differ, the order of their rows aside."""
    if sorted(one.schema.names) != sorted(other.schema.names):
        return f"columns {one.schema.names} expected, {other.schema.names} seen"
    if one.num_rows != other.num_rows:
        return f"{one.num_rows} rows expected, {other.num_rows} seen"
    order = [(name, "ascending") for name in one.schema.names]
    other = other.select(one.schema.names).cast(one.schema)
    same = one.sort_by(order).combine_chunks().equals(other.sort_by(order).combine_chunks())
    return None if same else "values differ"
