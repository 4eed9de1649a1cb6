"""The other engines, each behind the same two doors: open a version for reading, append a table."""
import os
import pathlib

import duckdb
import duckdb_extension_delta
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction, write_deltalake

import replay
from cases import matching


def quoted(text):
    return "'" + str(text).replace("'", "''") + "'"


class Dataset:
    """deltalake's pyarrow dataset: its own log, statistics as expressions, pyarrow's Parquet."""

    name, order = "deltalake", "ieee"

    def __init__(self, path, version):
        self.table = DeltaTable(path, version=version)

    def rows(self, probe=None):
        return self.table.to_pyarrow_table(filters=None if probe is None else probe.expression())


class Sql:
    """deltalake's SQL: its own log, DataFusion's pruning and Parquet."""

    name, order = "deltalake-sql", "spark"

    def __init__(self, path, version):
        self.context = QueryBuilder().register("t", DeltaTable(path, version=version))

    def rows(self, probe=None):
        condition = "" if probe is None else f" WHERE {probe.sql('datafusion')}"
        return pa.table(self.context.execute(f"SELECT * FROM t{condition}").read_all())


class Duck:
    """DuckDB's delta extension: the log of delta-kernel-rs, DuckDB's Parquet."""

    name, order = "duckdb", "spark"
    connection, tables = None, 0

    def __init__(self, path, version):
        self.connect()
        Duck.tables += 1
        self.table = f"t{Duck.tables}"
        at = "" if version is None else f", VERSION {version}"
        self.connection.execute(f"ATTACH {quoted(path)} AS {self.table} (TYPE delta{at})")

    @classmethod
    def connect(cls):
        if cls.connection is None:
            cls.connection = duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": "2"})
            home = pathlib.Path(duckdb_extension_delta.__file__).parent
            [extension] = home.glob("extensions/*/delta.duckdb_extension")
            cls.connection.execute(f"LOAD {quoted(extension)}")
            cls.connection.execute("SET TimeZone = 'UTC'")
        return cls.connection

    def rows(self, probe=None):
        condition = "" if probe is None else f" WHERE {probe.sql('duckdb')}"
        return self.connection.execute(f"SELECT * FROM {self.table}{condition}").to_arrow_table()

    def close(self):
        self.connection.execute(f"DETACH {self.table}")


class Replay:
    """The small reader of replay.py, which shares no code with any engine but pyarrow's Parquet."""

    name, order = "replay", "spark"

    def __init__(self, path, version):
        self.table = replay.Table(path, version)

    def rows(self, probe=None):
        rows = self.table.rows()
        return rows if probe is None else matching(rows, probe, self.order)


READERS = {reader.name: reader for reader in (Dataset, Sql, Duck, Replay)}


def append_with_deltalake(path, case, table, widen=False, txn=None):
    """One commit of deltalake's; creates the table if there is none."""
    new = not os.path.exists(os.path.join(path, "_delta_log"))
    commit = CommitProperties(app_transactions=[Transaction(*txn)]) if txn else None
    write_deltalake(path, table, mode="append", schema_mode="merge" if widen else None,
                    partition_by=(case.partition_by or None) if new else None,
                    configuration=(case.properties or None) if new else None, commit_properties=commit,
                    target_file_size=100_000 if case.name == "bulk" else None)


def append_with_duckdb(path, table):
    connection = Duck.connect()
    reader = Duck(path, None)
    try:
        connection.register("incoming", table)
        connection.execute(f"INSERT INTO {reader.table} SELECT * FROM incoming")
    finally:
        connection.unregister("incoming")
        reader.close()
