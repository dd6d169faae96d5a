"""Goal: the commands on bits answer and change values exactly as Redis 7's; a large bitmap is changed
where it lies; what touches several places or keys is seen whole or not at all.

Method: a real redis-server beside tarn. Random streams (their seeds in the tests' names) of all
commands on bits with arguments near every edge, replies and values compared byte by byte, in RESP2
and RESP3; conversations for every error. Memory: a cap that has no room for a second copy. Atomicity:
one client keeps the first and the last bit of a value equal while others look.
"""
import random
import threading

import pytest

import resp
from beside_redis import run_stream, running_redis, split, talk

KEYS = ["bits:%d" % i for i in range(5)]
MIB = 1 << 20


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with running_redis(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture
def store(server):
    """A writable store, empty."""
    return server(None)


# --- random streams ---

WORDS = ["", "x", "-1", "01", "+1", " 1", "1.5", "4294967296", "9223372036854775808", "#1", "#", "#-1"]


def offset(rng, width=None):
    if rng.random() < 0.02:
        return rng.choice(WORDS)
    at = rng.choice([rng.randrange(20), rng.randrange(300), rng.randrange(300), rng.randrange(9000)])
    return "#%d" % (at // width) if width and rng.random() < 0.3 else str(at)


def position(rng):
    if rng.random() < 0.02:
        return rng.choice(WORDS)
    return str(rng.choice([0, 1, -1, rng.randrange(-50, 50), rng.randrange(-1200, 1200),
                           rng.randrange(-9000, 9000), 2**63 - 1, -2**63]))


def number(rng, width):
    if rng.random() < 0.02:
        return rng.choice(["", "x", "1.0", "9223372036854775808"])
    edge = 1 << rng.choice([width - 1, width, rng.randrange(62)])
    value = rng.choice([0, 1, -1, rng.randrange(-300, 300), edge, edge - 1, -edge, -edge - 1,
                        edge + 1, 2**63 - 1, rng.randrange(-2**62, 2**63)])
    # Redis saturates far too small numbers at the wrong end, see DIFFERENT.
    return str(max(min(value, 2**63 - 1), -2**62))


def operation(rng, readonly):
    kind = "GET" if readonly and rng.random() < 0.97 else rng.choice(["GET", "SET", "INCRBY"])
    sign = rng.choice("iu")
    width = rng.choice([1, 2, 5, 8, 13, 16, 31, 32, 33, 62, 63, rng.randrange(1, 64)])
    if sign == "i" and rng.random() < 0.1:
        width = 64
    name = sign + str(width)
    if rng.random() < 0.02:
        name = rng.choice(["u64", "i65", "u0", "i0", "x8", "8", "u", "", "u-1", "U8", "i08"])
    words = []
    if rng.random() < 0.4:
        words += ["OVERFLOW", rng.choice(["WRAP", "SAT", "FAIL", "wrap", "sat", "fail"])]
        if rng.random() < 0.02:
            words[1] = "FOO"
    words += [rng.choice([kind, kind.lower()]), name, offset(rng, width)]
    if kind != "GET":
        words.append(number(rng, width))
    return words


def request(rng):
    key = rng.choice(KEYS + ["bits:none"])
    kind = rng.choice(["SETBIT"] * 6 + ["GETBIT"] * 2 + ["BITCOUNT"] * 3 + ["BITPOS"] * 4 +
                      ["BITFIELD"] * 6 + ["BITFIELD_RO"] + ["BITOP"] * 3 + ["FILL", "FILL", "DEL"])
    if kind == "FILL":  # long runs of equal bits
        width, ones = rng.choice([1, 8, 63]), rng.random() < 0.5
        words = ["BITFIELD", rng.choice(KEYS)]
        first = rng.randrange(50)
        for i in range(first, first + rng.randrange(1, 30)):
            words += ["SET", "u%d" % width, "#%d" % i, str((1 << width) - 1 if ones else 0)]
        return words
    if kind == "DEL":
        return ["BITOP", "OR", rng.choice(KEYS), "bits:none"]
    words = [kind, rng.choice(KEYS) if kind in ("SETBIT", "BITFIELD") else key]
    if kind == "SETBIT":
        words += [offset(rng), rng.choice(["0", "1"])]
        if rng.random() < 0.03:
            words[3] = rng.choice(["2", "-1", "x", "", "01"])
    elif kind == "GETBIT":
        words.append(offset(rng))
    elif kind == "BITOP":
        name = rng.choice(["AND", "OR", "XOR", "NOT", "and", "not"])
        sources = 1 if name.upper() == "NOT" and rng.random() < 0.9 else rng.randrange(1, 6)
        words = [kind, name if rng.random() < 0.97 else "NAND", rng.choice(KEYS)]
        words += [rng.choice(KEYS + ["bits:none"]) for _ in range(sources)]
    elif kind in ("BITFIELD", "BITFIELD_RO"):
        for _ in range(rng.choice([0, 1, 1, 2, 3, 8, 40])):
            words += operation(rng, kind == "BITFIELD_RO")
    else:
        if kind == "BITPOS":
            words.append(rng.choice(["0", "1", "0", "1", "0", "1", "2", "x"]))
        words += [position(rng) for _ in range(rng.choice([0, 1, 2, 2, 2]))]
        if rng.random() < 0.5:
            words.append(rng.choice(["BIT", "BYTE", "bit", "byte", "FOO"]))
    if rng.random() < 0.01:
        words = words[:rng.randrange(1, len(words) + 1)]
    return words


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_streams(seed, protocol, redis, store):
    rng = random.Random(seed)
    talk(redis, [["DEL"] + KEYS])
    run_stream(redis, store.port, [request(rng) for _ in range(5000)], KEYS, protocol)


# --- conversations ---

FF = ["BITFIELD", "ff", "SET", "u63", "0", str(2**63 - 1), "SET", "u63", "63", str(2**63 - 1),
      "SET", "u2", "126", "3"]
SAME = [
    ["SETBIT a 7 1", "GET a", "SETBIT a 7 0", "GET a", "SETBIT a 100 0", "STRLEN a"],
    ["SETBIT b 4294967296 1", "SETBIT b -1 1", "SETBIT b x 2", "SETBIT b 0 2", "SETBIT b 0",
     "SETBIT b #1 1", "SETBIT b 99999999999999999999 1", "EXISTS b"],
    [FF, "BITCOUNT ff", "BITCOUNT ff 0 -1", "BITCOUNT ff 5 3 BIT", "BITCOUNT ff 1 -2 BIT",
     "BITCOUNT ff -1 -2", "BITCOUNT ff 3 3 BYTE", "BITCOUNT ff 0", "BITCOUNT ff 0 x",
     "BITCOUNT ff 0 1 FOO", "BITCOUNT ff 0 1 BIT x", "BITPOS ff 0", "BITPOS ff 0 0", "BITPOS ff 0 0 -1",
     "BITPOS ff 1 15", "BITPOS ff 1 16", "BITPOS ff 0 16", "BITPOS ff 1 5 3 BIT",
     "BITPOS ff 0 127 127 BIT", "BITPOS ff 1 127 128 BIT", "BITPOS ff 1 0 -1 FOO",
     "BITPOS ff 1 0 -1 BIT x", "BITPOS ff 2", "BITPOS ff x", "BITPOS ff"],
    ["BITCOUNT none 0", "BITCOUNT none x y z", "BITPOS none 1 x", "BITPOS none 0", "BITPOS none 2"],
    ["BITFIELD c OVERFLOW FAIL SET u8 8 256", "STRLEN c", "BITFIELD c", "BITFIELD_RO c",
     "BITFIELD c GET", "BITFIELD c SET u8 0", "BITFIELD c OVERFLOW", "BITFIELD c OVERFLOW FOO",
     "BITFIELD c FOO", "BITFIELD_RO c SET u8 0 1", "BITFIELD_RO c OVERFLOW SAT GET u8 0",
     "BITFIELD c GET u64 0", "BITFIELD c GET u8 4294967296", "BITFIELD c GET u8 4294967295",
     "BITFIELD c SET u8 0 1 SET u8 x 1", "GET c"],
    ["BITFIELD d OVERFLOW SAT SET u8 0 -1 INCRBY i5 100 100 INCRBY i5 100 -100 GET i5 100",
     "BITFIELD d SET i64 0 -1 INCRBY i64 0 -9223372036854775808 GET u63 1"],
    # places far apart, that overlap, and reads between writes
    ["BITFIELD e SET u8 0 200 SET u8 800000 201 INCRBY u8 4 17 GET u16 0 GET u16 799992",
     "BITFIELD e OVERFLOW FAIL INCRBY u8 800000 100 SET u8 0 7 SET u1 900000 1",
     "STRLEN e", "BITCOUNT e", "GETRANGE e 0 3"],
    ["BITFIELD f OVERFLOW FAIL SET u8 800000 300 SET u8 0 300", "STRLEN f"],
    ["SETBIT g 7 1", "BITOP NOT h g", "GET h", "BITOP NOT h g g", "BITOP NAND h g", "BITOP AND h",
     "BITOP AND h none none2", "EXISTS h", "BITOP OR g g", "GET g", "BITOP XOR g g g", "GET g"],
    ["SETBIT i 7 1", "MULTI", "BITOP NOT i i", "GETBIT i 7", "SETBIT i 7 1", "BITCOUNT i",
     "BITFIELD i SET u8 0 200 SET u8 400000 3", "BITPOS i 1", "EXEC", "STRLEN i"],
    ["COMMAND GETKEYS BITOP AND d a b", "COMMAND GETKEYSANDFLAGS BITOP AND d a b",
     "COMMAND GETKEYSANDFLAGS BITFIELD k GET u8 0", "COMMAND GETKEYSANDFLAGS BITFIELD k SET u8 0 1",
     "COMMAND GETKEYSANDFLAGS BITFIELD k OVERFLOW SAT GET u8 0",
     "COMMAND GETKEYSANDFLAGS BITFIELD k GET u8 0 INCRBY u8 0 1",
     "COMMAND GETKEYSANDFLAGS SETBIT k 0 1"],
]

# conversation, tarn's last reply, why
DIFFERENT = [
    (["BITFIELD x OVERFLOW SAT SET i8 0 -9223372036854775808", "BITFIELD x GET i8 0"],
     b"*1\r\n:-128\r\n", "Redis saturates at 127: its subtraction overflows"),
    (["BITFIELD y SET u8 #4611686018427387905 1"],
     b"-ERR bit offset is not an integer or out of range\r\n",
     "the product overflows 64 bits; Redis sets bit 8"),
    (["BITFIELD z SET i64 4294967295 1"],
     b"-ERR bit offset is not an integer or out of range\r\n",
     "Redis makes a value larger than its own limit"),
]


@pytest.mark.parametrize("protocol", [2, 3])
def test_conversations(protocol, redis, store):
    for conversation in SAME:
        talk(redis, ["DEL " + " ".join(chr(c) for c in range(ord("a"), ord("z") + 1)) + " ff"])
        wanted, got = talk(redis, conversation, protocol), talk(store.port, conversation, protocol)
        for said, a, b in zip(conversation, got, wanted):
            assert a == b, said


def test_differences_on_purpose(redis, store):
    for conversation, wanted, reason in DIFFERENT:
        got = talk(store.port, conversation)
        assert got[-1] == wanted, reason
        assert got != talk(redis, conversation), "no difference any more: " + reason
    talk(redis, ["DEL x y z"])


def test_watch_sees_changes_only(redis, store):
    """A bit that is set to what it was is no change; everything else is."""
    cases = [(["SETBIT k 1 1"], "SETBIT k 1 1"), (["SETBIT k 1 1"], "SETBIT k 1 0"),
             (["SETBIT k 1 1"], "SETBIT k 9 0"), ([], "SETBIT k 0 0"),
             (["SETBIT k 1 1"], "BITFIELD k SET u8 0 64"), (["SETBIT k 1 1"], "BITFIELD k SET u8 0 65"),
             (["SETBIT k 1 1"], "BITFIELD k GET u8 0"), (["SETBIT k 1 1"], "BITFIELD k SET u8 8 0"),
             (["SETBIT k 1 1"], "BITFIELD k OVERFLOW FAIL SET u8 0 300"),
             (["SETBIT k 1 1"], "BITFIELD k SET u8 0 65 SET u8 900000 0"),
             (["SETBIT k 900000 1"], "SETBIT k 5 1"), (["SETBIT k 900000 1"], "SETBIT k 5 0"),
             ([], "BITOP AND k none none"), (["SETBIT k 1 1"], "BITOP AND k none none"),
             (["SETBIT k 1 1"], "BITOP OR k k")]

    def outcome(port, before, command):
        with resp.Connection(port) as one, resp.Connection(port) as other:
            one.command("BITOP", "OR", "k", "none")
            for line in before:
                one.command(*split(line))
            one.command("WATCH", "k")
            other.command(*split(command))
            one.command("MULTI")
            one.command("PING")
            return one.command("EXEC") is resp.NULL_ARRAY

    for before, command in cases:
        assert outcome(store.port, before, command) == outcome(redis, before, command), command


# --- large values ---

def test_a_large_bitmap_is_changed_in_place(server):
    """Under a cap that has no room for two of it."""
    store = server(None, "--memory", "120M")
    with store.connect() as c:
        assert c.command("SETBIT", "big", 64 * MIB * 8 - 1, 1) == 0
        rng = random.Random(7)
        seen = {64 * MIB * 8 - 1}
        for _ in range(300):
            at = rng.randrange(64 * MIB * 8)
            assert c.command("GETBIT", "big", at) == (at in seen)
            assert c.command("SETBIT", "big", at, 1) == (at in seen)
            assert c.command("BITFIELD_RO", "big", "GET", "u1", at) == [1]
            assert c.command("BITFIELD", "big", "INCRBY", "u1", at, 2) == [1]
            seen.add(at)
        ends = [0, 64 * MIB * 8 - 8]
        assert c.command("BITFIELD", "big", "SET", "u8", ends[0], 0, "SET", "u8", ends[1], 0,
                         "GET", "u8", ends[0])[2] == 0
        seen = {at for at in seen if 8 <= at < ends[1]}
        assert c.command("BITCOUNT", "big") == len(seen)
        assert c.command("BITPOS", "big", 1) == min(seen)


def test_the_last_offset(server):
    """Half a gigabyte, where it fits; refused where it does not, and nothing is changed."""
    store = server(None, "--memory", "600M")
    with store.connect() as c:
        assert c.command("SETBIT", "k", 2**32 - 1, 1) == 0
        assert c.command("GETBIT", "k", 2**32 - 1) == 1
        assert c.command("BITFIELD", "k", "SET", "u8", 2**32 - 8, 255, "GET", "u8", 2**32 - 1) == [1, 128]
        assert c.command("BITCOUNT", "k", -1, -1) == 8
        assert c.command("BITPOS", "k", 1) == 2**32 - 8
        assert c.command("BITFIELD", "k", "SET", "u8", 2**32 - 7, 255) == \
            b"ERR bit offset is not an integer or out of range"
        refused = c.command("SETBIT", "other", 2**32 - 1, 1)
        assert refused.word == b"OOM"
        assert c.command("SETBIT", "small", 5, 1) == 0
        assert c.command("BITFIELD", "small", "SET", "u8", 0, 1, "SET", "u8", 2**32 - 8, 1).word == b"OOM"
        assert c.command("GET", "small") == b"\x04"
        assert c.command("BITOP", "NOT", "small", "k").word == b"OOM"
        assert c.command("GET", "small") == b"\x04"
        assert c.command("EXISTS", "other") == 0


def test_bitop_of_large_values(redis, store):
    """Those that are computed without holding the keys."""
    conversation = [["SETBIT", "p", str(3 * MIB * 8), "1"], ["SETBIT", "q", str(2 * MIB * 8), "1"]]
    conversation += [["SETBIT", key, str(i * 99991 % (2 * MIB * 8)), "1"]
                     for key in "pq" for i in range(300)]
    for name in ("AND", "OR", "XOR"):
        conversation += [["BITOP", name, "r", "p", "q", "p", "none"], ["BITCOUNT", "r"], ["STRLEN", "r"]]
    conversation += ["BITOP NOT p p", "BITCOUNT p", "BITOP XOR q q q", "BITCOUNT q", "STRLEN q"]
    assert talk(store.port, conversation) == talk(redis, conversation)
    talk(redis, ["DEL p q r"])


def test_nobody_sees_half_a_change(store):
    """A writer keeps the first and the last bit of a value equal (two places far apart in one
    BITFIELD); BITOP of it, and reads, always find them equal."""
    last = 2 * MIB * 8 - 1
    stop = threading.Event()
    failures = []

    def write():
        with store.connect() as c:
            bit = 0
            while not stop.is_set():
                bit ^= 1
                if c.command("BITFIELD", "v", "SET", "u1", 0, bit, "SET", "u1", last, bit) != \
                        [1 - bit, 1 - bit]:
                    failures.append("the writer's own bits")

    with store.connect() as c:
        c.command("BITFIELD", "v", "SET", "u1", 0, 0, "SET", "u1", last, 0)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = set()
            for _ in range(200):
                first, end = c.command("BITFIELD_RO", "v", "GET", "u1", 0, "GET", "u1", last)
                assert first == end
                assert c.command("BITOP", "NOT", "w", "v") == 2 * MIB
                first, end = c.command("BITFIELD", "w", "GET", "u1", 0, "GET", "u1", last)
                assert first == end
                seen.add(first)
        finally:
            stop.set()
            writer.join()
    assert not failures


def test_bitop_loses_no_change(store):
    """A value is combined with nothing into itself while others count in it: no count is lost."""
    counts = 500

    def count():
        with store.connect() as c:
            for _ in range(counts):
                c.command("BITFIELD", "v", "INCRBY", "u32", 0, 1)

    with store.connect() as c:
        c.command("SETBIT", "v", 2 * MIB * 8 - 1, 1)
        others = [threading.Thread(target=count) for _ in range(2)]
        for other in others:
            other.start()
        while any(other.is_alive() for other in others):
            assert c.command("BITOP", "OR", "v", "v", "none") == 2 * MIB
        for other in others:
            other.join()
        assert c.command("BITFIELD", "v", "GET", "u32", 0) == [2 * counts]
