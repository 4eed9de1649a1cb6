"""Does what the test asks, one JSON object per line in, one per line out.

    {"do": "cases", "into": DIR}                                 writes every case as Arrow files and a case.json
    {"do": "read", "engine": E, "case": C, "table": DIR, "version": N, "commits": K, "probes": BOOL}
    {"do": "write", "case": C, "table": DIR}                     deltalake writes the case
    {"do": "judge", "case": C, "commits": K, "answers": [{"probe": NAME or null, "file": ARROW}]}
    {"do": "same", "engine": E, "case": C, "table": DIR, "version": N, "probe": NAME or null, "file": ARROW}
    {"do": "append" | "changes" | "checkpoint" | "compare" | "describe" | "divergences" | "feed" | "golden" | "operate" | "reasons" | "rows" | "statistics" | "turn" | "txn", ...}

A reply is {"ok": ...} or {"error": text}. Checks come back as {check: problem or null}.
"""
import collections
import contextlib
import decimal
import json
import os
import pathlib
import sys
import tomllib
import traceback

import pyarrow as pa

import cases
import engines
import golden
import operations
import rows

CASES = cases.all_cases()
HOME = pathlib.Path(__file__).resolve().parent
SHARED = HOME.parents[2] / "shared" / "rows.py"


def compare(expected, actual):
    """None, or how two pyarrow tables differ; the order of columns aside, which writers choose."""
    if sorted(expected.schema.names) != sorted(actual.schema.names):
        return f"columns {expected.schema.names} expected, {actual.schema.names} seen"
    problem = rows.difference(rows.plain(expected), rows.plain(actual))
    if problem is None and SHARED.exists() and (other := second_opinion(expected, actual)):
        return f"rows.py sees no difference, {SHARED} does: {other}"
    return problem


def second_opinion(expected, actual, loaded=[]):
    if not loaded:
        import importlib.util

        spec = importlib.util.spec_from_file_location("shared_rows", SHARED)
        loaded.append(importlib.util.module_from_spec(spec))
        spec.loader.exec_module(loaded[0])
    with decimal.localcontext(prec=76):  # it rounds decimals by the context, whose digits are too few for 38
        return loaded[0].same(loaded[0].rows(expected), loaded[0].rows(actual))


def load(file):
    with pa.memory_map(file) as source:
        return pa.ipc.open_file(source).read_all()


def save(table, file):
    with pa.OSFile(file, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def find_probe(case, name):
    return None if name is None else next(probe for probe in case.probes if probe.name() == name)


def attempt(work):
    """The problem that `work` returns or dies of."""
    try:
        return work()
    except Exception as error:  # what a peer throws is a result
        return f"{type(error).__name__}: {error}"[:500]


def do_cases(into):
    for case in CASES.values():
        home = pathlib.Path(into, case.name)
        home.mkdir(parents=True)
        steps = []
        for index, (kind, *tables) in enumerate(case.steps):
            for table in tables:
                save(table, str(home / f"{index}.arrow"))
            steps.append({"kind": kind, "file": str(home / f"{index}.arrow") if tables else None})
        probes = [{"name": probe.name(), "sql": probe.sql("headwater")} for probe in case.probes]
        described = {"name": case.name, "steps": steps, "partition_by": case.partition_by, "properties": case.properties, "probes": probes}
        (home / "case.json").write_text(json.dumps(described), encoding="utf-8")
    return list(CASES)


def do_read(engine, case, table, version, commits, probes):
    case = CASES[case]
    expected = case.expected(commits)
    checks = {}
    try:
        reader = engines.READERS[engine](table, version)
    except Exception as error:
        return {"open": f"{type(error).__name__}: {error}"[:500]}
    checks["open"] = None
    try:
        checks["rows"] = attempt(lambda: compare(expected, reader.rows()))
        for probe in case.probes if probes else []:
            wanted = cases.matching(expected, probe, reader.order)
            checks[probe.name()] = attempt(lambda: compare(wanted, reader.rows(probe)))
    finally:
        if hasattr(reader, "close"):
            reader.close()
    return checks


def do_write(case, table):
    case, commits = CASES[case], 0
    for kind, *tables in case.steps:
        if kind == "checkpoint":
            engines.DeltaTable(table).create_checkpoint()
        else:
            engines.append_with_deltalake(table, case, tables[0], widen=kind == "widen")
            commits += 1
    return commits


def do_judge(case, commits, answers):
    case = CASES[case]
    expected = case.expected(commits)
    checks = {}
    for answer in answers:
        probe = find_probe(case, answer["probe"])
        wanted = expected if probe is None else cases.matching(expected, probe, "spark")
        name = "rows" if probe is None else probe.name()
        checks[name] = attempt(lambda: compare(wanted, load(answer["file"])))
    return checks


def do_same(engine, case, table, version, probe, file):
    """Whether an engine sees what headwater saw."""
    probe = find_probe(CASES[case], probe) if case else None
    return attempt(lambda: compare(load(file), engines.READERS[engine](table, version).rows(probe)))


def do_describe(case, table, commits):
    """What deltalake says of a table that headwater wrote."""
    case, seen = CASES[case], engines.DeltaTable(table)
    wanted = engines.replay.Table(table)
    checks = {
        "version": same(commits, seen.version()),
        "partition columns": same(case.partition_by, seen.metadata().partition_columns),
        "schema": attempt(lambda: same(wanted.fields, json.loads(seen.schema().to_json())["fields"])),
        "schema as Arrow": attempt(lambda: same(str(case.expected(commits).schema), str(wanted.schema))),
        "files": same(len(wanted.live), len(seen.file_uris())),
        "history": attempt(lambda: same(commits + 1, len(seen.history()))),
        "protocol": same((wanted.protocol["minReaderVersion"], wanted.protocol["minWriterVersion"]),
                         (seen.protocol().min_reader_version, seen.protocol().min_writer_version)),
        "properties": same(case.properties, {key: value for key, value in seen.metadata().configuration.items() if key in case.properties}),
        "add actions": attempt(lambda: same(len(wanted.live), pa.table(seen.get_add_actions(flatten=True)).num_rows)),
    }
    return checks


def same(expected, actual):
    return None if expected == actual else f"{expected} expected, {actual} seen"


def do_statistics(table):
    problems = engines.replay.Table(table).unsound_statistics()
    return {"statistics": "; ".join(problems[:3]) or None}


def do_append(engine, table, first, count, txn=None):
    """Appends rows of `turns`: consecutive ids, who wrote them, and a note."""
    data = operations.turn(engine, first, count)
    if engine == "duckdb":
        engines.append_with_duckdb(table, data)
    else:
        engines.append_with_deltalake(table, operations.TURNS, data, txn=txn)
    return engines.DeltaTable(table).version()


def do_operate(table):
    """deltalake does one thing after another to a table; what replay.py sees at each version is the truth."""
    return operations.run(table)


def do_rows(engine, table, version, file):
    save(engines.READERS[engine](table, version).rows(), file)


def do_compare(expected, actual):
    return compare(load(expected), load(actual))


def do_feed(table, version, before, after, file):
    """Whether the change feed of one version, deltalake's or that in a file, is the difference of its rows to those
    before it: every change as often as it happened, none that did not happen. `before` and `after` are what headwater
    reads."""
    feed = load(file) if file else changes(table, version)
    net, kinds = collections.Counter(), collections.Counter()
    for row in rows.plain(feed):
        kind = row.pop("_change_type")
        at = row.pop("_commit_version")
        row.pop("_commit_timestamp")
        if at != version:
            return f"a change of version {at}"
        kinds[kind] += 1
        net[json.dumps(row, sort_keys=True)] += 1 if kind in ("insert", "update_postimage") else -1
    wanted = collections.Counter()
    for file, sign in [(before, -1), (after, 1)]:
        for row in rows.plain(load(file)):
            wanted[json.dumps(row, sort_keys=True)] += sign
    if kinds["update_preimage"] != kinds["update_postimage"]:
        return f"{dict(kinds)}"
    differing = [row for row in net.keys() | wanted.keys() if net[row] != wanted[row]]
    return f"{len(differing)} rows differ, such as {sorted(differing)[:2]}" if differing else None


def changes(table, version):
    """deltalake's change feed of one version."""
    return pa.table(engines.DeltaTable(table).load_cdf(starting_version=version, ending_version=version).read_all())


def do_changes(table, version, file):
    """Whether deltalake's change feed of one version is what headwater says; of times of commits they have two opinions."""
    feed = changes(table, version)
    without = [name for name in feed.schema.names if name != "_commit_timestamp"]
    return compare(feed.select(without), load(file).select(without))


def do_golden(**read):
    """How an engine reads a table that another one wrote; see `golden.py`."""
    return golden.check(**read)


def do_reasons():
    return [f"{engine} {table}" for engine, table in golden.REASONS]


def do_turn(writers, file):
    """The rows of all turns so far: who wrote how many, in order."""
    save(operations.turns(writers), file)


def do_divergences():
    with open(HOME / "divergences.toml", "rb") as file:
        return tomllib.load(file).get("divergence", [])


def do_txn(table, app_id):
    return engines.DeltaTable(table).transaction_version(app_id)


def do_checkpoint(table):
    engines.DeltaTable(table).create_checkpoint()


def main():
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what an engine prints must not look like a reply
    for line in sys.stdin:
        request = json.loads(line)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                reply = {"ok": globals()["do_" + request.pop("do")](**request)}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(reply), file=out, flush=True)


if __name__ == "__main__":
    main()
