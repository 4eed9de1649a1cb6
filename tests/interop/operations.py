"""What else happens to tables: engines taking turns, and deltalake's other operations."""
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from cases import Case

SCHEMA = pa.schema([pa.field("id", pa.int64(), False), pa.field("writer", pa.string()), pa.field("note", pa.float64())])
TURNS = Case("turns", [("append", SCHEMA.empty_table())])


def turn(writer, first, count):
    """The rows that one writer appends in one turn."""
    ids = list(range(first, first + count))
    notes = [None if number % 5 == 0 else number / 4 for number in ids]
    return pa.table([ids, [writer] * count, notes], schema=SCHEMA)


def turns(writers):
    """The rows of all turns: [writer, first id, count] each."""
    tables = [turn(*each) for each in writers]
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def run(path):
    """A life of a partitioned table, one version per line. Returns the newest version."""
    def data(first, count, **more):
        ids = list(range(first, first + count))
        return pa.table({"id": pa.array(ids, pa.int64()), "p": [f"p {number % 3}" for number in ids],
                         "v": [None if number % 7 == 0 else number / 2 for number in ids], **{name: [make(n) for n in ids] for name, make in more.items()}})

    write_deltalake(path, data(0, 30), partition_by=["p"], configuration={"delta.enableChangeDataFeed": "true"})
    write_deltalake(path, data(30, 30), mode="append")
    DeltaTable(path).delete("id % 10 = 3")
    DeltaTable(path).update(updates={"v": "v + 1000"}, predicate="id < 20")
    source = data(50, 20)
    (DeltaTable(path).merge(source, "t.id = s.id", source_alias="s", target_alias="t")
     .when_matched_update({"v": "s.v * 2"}).when_not_matched_insert_all().execute())
    DeltaTable(path).create_checkpoint()
    write_deltalake(path, data(100, 10, extra=lambda n: f"x{n}"), mode="append", schema_mode="merge")
    DeltaTable(path).optimize.compact()
    DeltaTable(path).optimize.z_order(["id"])
    DeltaTable(path).delete("p = 'p 1'")
    write_deltalake(path, data(200, 9, extra=lambda n: f"y{n}"), mode="append")
    DeltaTable(path).create_checkpoint()
    DeltaTable(path).restore(4)
    DeltaTable(path).alter.set_table_properties({"delta.logRetentionDuration": "interval 60 days"})
    DeltaTable(path).alter.add_constraint({"small": "id < 100000"})
    write_deltalake(path, data(300, 5), mode="overwrite", schema_mode="overwrite")
    return DeltaTable(path).version()
