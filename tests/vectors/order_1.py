"""Orders of training feeds, computed from the text of src/feed/order/mod.rs and the BLAKE3 paper alone.

Run: python3 tests/vectors/order_1.py > tests/vectors/order-1.ndjson
"""

import json
import struct

IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
SCHEDULE = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
CHUNK_START, CHUNK_END, ROOT = 1, 2, 8
M32, M64, M128 = (1 << 32) - 1, (1 << 64) - 1, (1 << 128) - 1


def compress(words, counter, length, flags):
    v = IV + IV[:4] + [counter & M32, counter >> 32, length, flags]

    def g(a, b, c, d, x, y):
        for word, first, second in ((x, 16, 12), (y, 8, 7)):
            v[a] = (v[a] + v[b] + word) & M32
            v[d] = rotate(v[d] ^ v[a], first)
            v[c] = (v[c] + v[d]) & M32
            v[b] = rotate(v[b] ^ v[c], second)

    def rotate(value, by):
        return (value >> by | value << (32 - by)) & M32

    m = list(words)
    for _ in range(7):
        for column in range(4):
            g(column, 4 + column, 8 + column, 12 + column, m[2 * column], m[2 * column + 1])
        for i, (a, b, c, d) in enumerate([(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]):
            g(a, b, c, d, m[8 + 2 * i], m[9 + 2 * i])
        m = [m[i] for i in SCHEDULE]
    return [v[i] ^ v[i + 8] for i in range(8)] + [v[i + 8] ^ IV[i] for i in range(8)]


def words_of(key):
    """The extended output of BLAKE3 for a key of one block, word by word."""
    assert len(key) <= 64
    block = struct.unpack("<16I", key.ljust(64, b"\0"))
    counter = 0
    while True:
        yield from compress(block, counter, len(key), CHUNK_START | CHUNK_END | ROOT)
        counter += 1


def permutation(seed, epoch, purpose, lane, index, n):
    words = words_of(b"hw-order-1" + struct.pack("<QQBIQ", seed, epoch, purpose, lane, index))
    things = list(range(n))
    for i in range(n - 1, 0, -1):
        bound = i + 1
        while True:
            product = next(words) * bound
            if (product & M32) >= (1 << 32) % bound:
                break
        j = product >> 32
        things[i], things[j] = things[j], things[i]
    return things


def order(live, seed, epoch, lanes, window):
    dealt = [[] for _ in range(lanes)]
    for unit in permutation(seed, epoch, 0, 0, 0, len(live)):
        min(dealt, key=lambda units: sum(live[u] for u in units)).append(unit)
    rows = [lane_rows(dealt[lane], live, seed, epoch, lane, window) for lane in range(lanes)]
    out = []
    for turn in range(max(map(len, rows), default=0)):
        out += [lane[turn] for lane in rows if turn < len(lane)]
    return out


def lane_rows(units, live, seed, epoch, lane, w):
    n, h = len(units), (w - 1) // 2
    parts = [[] for _ in range(n)]
    for k, unit in enumerate(units):
        first, last = max(0, k - h), min(n - 1, k + w - 1 - h)
        m, c = last - first + 1, live[unit]
        rows = permutation(seed, epoch, 1, lane, unit, c)
        for j in range(m):
            parts[first + j] += [(unit, row) for row in rows[j * c // m:(j + 1) * c // m]]
    out = []
    for t, part in enumerate(parts):
        out += [part[i] for i in permutation(seed, epoch, 2, lane, t, len(part))]
    return out


def mix(word):
    word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) & M64
    word = ((word ^ word >> 27) * 0x94D049BB133111EB) & M64
    return word ^ word >> 31


def digest(rows):
    total = 0
    for position, (unit, row) in enumerate(rows):
        high = mix(mix(position) ^ (unit << 32 | row))
        total += high << 64 | mix((high + 0x9E3779B97F4A7C15) & M64)
    return f"{total & M128:032x}"


def case(live, seed, epoch, lanes, window, show):
    rows = order(live, seed, epoch, lanes, window)
    assert sorted(rows) == [(unit, row) for unit, count in enumerate(live) for row in range(count)]
    line = {"live": live, "seed": seed, "epoch": epoch, "lanes": lanes, "window": window, "digest": digest(rows)}
    if show:
        line["rows"] = rows
    print(json.dumps(line, separators=(",", ":")))


def main():
    case([], 0, 0, 1, 1, True)
    case([1], 0, 0, 1, 1, True)
    case([5], 17, 0, 1, 9, True)
    case([3, 1, 4, 1, 5], 17, 0, 1, 3, True)
    case([3, 1, 4, 1, 5], 17, 1, 1, 3, True)
    case([3, 1, 4, 1, 5], 18, 0, 1, 3, True)
    case([3, 1, 4, 1, 5], 17, 0, 2, 3, True)
    case([3, 1, 4, 1, 5], 17, 0, 8, 2, True)
    case([7] * 12, 2**64 - 1, 2**64 - 1, 4, 4, True)
    case([10] * 9, 1, 2, 1, 1, True)
    case([10] * 9, 1, 2, 1, 1000, True)
    case([100, 1, 1, 1, 50, 2], 5, 3, 3, 2, True)
    case([64] * 40, 99, 7, 1, 9, False)
    case([(i * 37) % 91 + 1 for i in range(120)], 2013, 30, 8, 5, False)
    case([1000] * 33, 4, 0, 16, 65, False)
    case([i % 7 + 1 for i in range(600)], 4, 1, 64, 17, False)


if __name__ == "__main__":
    main()
