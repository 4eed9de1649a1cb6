"""Plans of training feeds, computed from the texts of src/feed/order/mod.rs, src/feed/digest.rs and
src/feed/training/plan.rs and the BLAKE3 paper alone.

Run: python3 tests/vectors/plan_1.py > tests/vectors/plan-1.ndjson

Every file of these tables is a copy of plan-1.parquet: 300 rows in row groups of 128, 128 and 44 rows with an offset
index; column `id` is the place of the row in the file, column `name` a text.
"""

import json
import struct

from order_1 import CHUNK_END, CHUNK_START, IV, ROOT, SCHEDULE, digest, order

PARENT = 4
GROUPS = [128, 128, 44]
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
SCHEMA = json.dumps({"type": "struct", "fields": [
    {"name": "id", "type": "long", "nullable": True, "metadata": {}},
    {"name": "name", "type": "string", "nullable": True, "metadata": {}},
    {"name": "p", "type": "string", "nullable": True, "metadata": {}}]}, separators=(",", ":"))


def compress_from(cv, words, counter, length, flags):
    """The compression function, with any chaining value."""
    v = cv + IV[:4] + [counter & 0xFFFFFFFF, counter >> 32, length, flags]
    m = list(words)

    def rotate(value, by):
        return (value >> by | value << (32 - by)) & 0xFFFFFFFF

    def g(a, b, c, d, x, y):
        for word, first, second in ((x, 16, 12), (y, 8, 7)):
            v[a] = (v[a] + v[b] + word) & 0xFFFFFFFF
            v[d] = rotate(v[d] ^ v[a], first)
            v[c] = (v[c] + v[d]) & 0xFFFFFFFF
            v[b] = rotate(v[b] ^ v[c], second)

    for _ in range(7):
        for column in range(4):
            g(column, 4 + column, 8 + column, 12 + column, m[2 * column], m[2 * column + 1])
        for i, (a, b, c, d) in enumerate([(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]):
            g(a, b, c, d, m[8 + 2 * i], m[9 + 2 * i])
        m = [m[i] for i in SCHEDULE]
    return [v[i] ^ v[i + 8] for i in range(8)]


def blake3(data):
    """The 32 bytes of BLAKE3."""
    chunks = [data[i:i + 1024] for i in range(0, len(data), 1024)] or [b""]

    def chunk(number, root):
        cv, bytes_ = IV[:], chunks[number]
        blocks = [bytes_[i:i + 64] for i in range(0, len(bytes_), 64)] or [b""]
        for i, block in enumerate(blocks):
            flags = (CHUNK_START if i == 0 else 0) | ((CHUNK_END | root) if i == len(blocks) - 1 else 0)
            words = struct.unpack("<16I", block.ljust(64, b"\0"))
            cv = compress_from(cv, words, number, len(block), flags)
        return cv

    def tree(first, count, root):
        if count == 1:
            return chunk(first, root)
        left = 1
        while left * 2 < count:
            left *= 2
        words = tree(first, left, 0) + tree(first + left, count - left, 0)
        return compress_from(IV[:], words, 0, 64, PARENT | root)

    return struct.pack("<8I", *tree(0, len(chunks), ROOT))


def field(data):
    return struct.pack("<Q", len(data)) + data


def vector(rows):
    """A deletion vector that stands in the log: rows below 65,536 as one array."""
    body = struct.pack("<IQI", 1681511377, 1, 0)
    body += struct.pack("<IIHHI", 12346, 1, 0, len(rows) - 1, 16) + struct.pack(f"<{len(rows)}H", *rows)
    padded = body.ljust(-(-len(body) // 4) * 4, b"\0")
    text = ""
    for (word,) in struct.iter_unpack(">I", padded):
        text += "".join(DIGITS[word // 85**power % 85] for power in (4, 3, 2, 1, 0))
    return {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(body), "cardinality": len(rows)}


def key(file):
    name = file["decoded"].encode()
    return name + b"\0i" + file["deletionVector"]["pathOrInlineDv"].encode() if "deletionVector" in file else name


def plan(version, size, files, shape, below):
    """`below`: the rows whose id is less belong to the feed; None: all."""
    table = "plan-1-of-the-vectors"
    seed, lanes, window, unit_rows = shape
    listed = []
    for file in files:
        data = field(key(file)) + field(struct.pack("<q", size))
        for name, value in sorted(file["partitionValues"].items()):
            data += field(name.encode()) + (b"\xff" * 8 if value is None else field(value.encode()))
        listed.append(blake3(data))
    snapshot = field(b"headwater snapshot 1") + field(table.encode()) + field(SCHEMA.encode()) + field(b"p")
    snapshot = blake3(snapshot + field(struct.pack("<Q", len(files))) + b"".join(sorted(listed)))[:16]
    rows, units, live = field(b"headwater feed rows 1"), b"", []
    for file in sorted(files, key=key):
        deleted = set(file.get("deleted", []))
        chosen = [row for row in range(sum(GROUPS)) if row not in deleted and (below is None or row < below)]
        if below is not None and chosen:
            rows += blake3(b"".join(struct.pack("<Q", row) for row in chosen))[:16]
        first, of_file = 0, b""
        for group in GROUPS:
            for start in range(first, first + group, unit_rows):
                end = min(start + unit_rows, first + group)
                count = sum(start <= row < end for row in chosen)
                if count:
                    of_file += struct.pack("<QII", start, end - start, count)
                    live.append(count)
            first += group
        if of_file:
            units += field(key(file)) + of_file
    data = field(b"headwater feed plan 1") + field(struct.pack("<I", 1)) + field(table.encode())
    data += field(struct.pack("<Q", version)) + snapshot + blake3(rows)[:16] + field(struct.pack("<Q", seed))
    data += b"".join(field(struct.pack("<I", number)) for number in (lanes, window, unit_rows)) + units
    print(json.dumps({
        "table": table, "schema": SCHEMA, "version": version, "size": size, "files": files, "seed": seed, "lanes": lanes,
        "window": window, "unit_rows": unit_rows, "below": below, "rows": sum(live), "units": len(live),
        "snapshot": snapshot.hex(), "plan": blake3(data)[:16].hex(), "order": digest(order(live, seed, 0, lanes, window)),
    }, separators=(",", ":")))


def file(path, decoded, value, deleted=None):
    made = {"path": path, "decoded": decoded, "partitionValues": {"p": value}}
    if deleted:
        made |= {"deleted": deleted, "deletionVector": vector(deleted)}
    return made


def main():
    assert blake3(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    with open(__file__.replace("plan_1.py", "plan-1.parquet"), "rb") as data:
        size = len(data.read())
    # In an order that is not that of the decoded paths, with escapes, a null, and one file with rows deleted.
    files = [
        file("p=b/z.parquet", "p=b/z.parquet", "b"),
        file("p=a%2520b/b.parquet", "p=a%20b/b.parquet", "a b"),
        file("p=a%2520b/a.parquet", "p=a%20b/a.parquet", "a b", [0, 1, 2, 130, 299]),
        file("p=__HIVE_DEFAULT_PARTITION__/%C3%A9.parquet", "p=__HIVE_DEFAULT_PARTITION__/\u00e9.parquet", None),
        file("all-deleted.parquet", "all-deleted.parquet", "c", list(range(300))),
    ]
    plan(1, size, files, (17, 2, 3, 50), None)
    plan(1, size, files, (2**64 - 1, 1, 5, 64), 200)
    plan(1, size, files, (0, 3, 2, 1000), 7)
    plan(1, size, files[:1], (3, 1, 1, 1), 3)


if __name__ == "__main__":
    main()
