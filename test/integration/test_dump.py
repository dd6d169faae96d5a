"""Goal: DUMP and RESTORE move strings between tarn and Redis, either way; a payload that is no sound
string is refused with Redis's words, whatever its bytes are.

Method: a real redis-server beside tarn. Random values of every encoding are dumped by each and
restored by both; random streams of RESTORE with payloads whole, damaged, cut and put together anew
(seeds in the tests' names), replies, values and times to live compared; a memory cap under which a
payload does not unpack.
"""
import random
import threading

import pytest

import conftest
import resp
from beside_redis import run_stream, running_redis, talk

MIB = 1 << 20
KEYS = ["dump:%d" % i for i in range(4)]


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with running_redis(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture
def store(server):
    return server(None)


def crc64(data):
    """As Redis: polynomial 0xad93d23594c935a9, reflected, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95ac9329ac4bc9b5 if crc & 1 else 0)
    return crc


def seal(body, version=10):
    data = body + version.to_bytes(2, "little")
    return data + crc64(data).to_bytes(8, "little")


def value_of(rng):
    kind = rng.randrange(7)
    if kind == 0:
        edge = 1 << rng.choice([0, 7, 8, 15, 16, 31, 32, 63, 64])
        return b"%d" % rng.choice([edge, edge - 1, -edge, -edge - 1, 0])
    if kind == 1:
        return rng.choice([b"", b"007", b"-0", b"+1", b" 1", b"1.5", b"1e3", b"x" * 11])
    size = rng.choice([1, 20, 21, 63, 64, 300, 16383, 16384, 20000, rng.randrange(3000)])
    if kind == 2:
        return rng.randbytes(size)
    if kind == 3:
        return bytes([rng.randrange(256)]) * size
    words = [rng.randbytes(rng.randrange(1, 30)) for _ in range(rng.randrange(1, 9))]
    return b"".join(rng.choice(words) for _ in range(size // 8))[:size]


@pytest.mark.parametrize("seed", [1, 2])
def test_there_and_back(seed, redis, store):
    rng = random.Random(seed)
    packed = 0
    with resp.Connection(redis) as theirs, store.connect() as ours:
        for _ in range(400):
            value = value_of(rng)
            for c in (theirs, ours):
                assert c.command("SET", "v", value) == b"OK"
            payload, other = ours.command("DUMP", "v"), theirs.command("DUMP", "v")
            if other[1] == 0xc3:
                packed += 1
            else:
                assert payload == other
            for c in (theirs, ours):
                for p in (payload, other):
                    assert c.command("RESTORE", "w", 0, p, "REPLACE") == b"OK"
                    assert c.command("GET", "w") == value
    assert packed > 50
    talk(redis, ["DEL v w"])


def test_large_values(redis, store):
    """Those that are sent from the store itself, among other replies."""
    rng = random.Random(3)
    with resp.Connection(redis) as theirs, store.connect() as ours:
        for size in (16383, 16384, 65536, 3 * MIB):
            for value in (rng.randbytes(size), b"ab" * (size // 2)):
                ours.command("SET", "v", value)
                replies = ours.pipeline([("PING",), ("DUMP", "v"), ("DUMP", "v"), ("PING",)])
                assert replies[0] == replies[3] == b"PONG"
                assert replies[1] == replies[2]
                assert theirs.command("RESTORE", "v", 0, replies[1], "REPLACE") == b"OK"
                assert theirs.command("GET", "v") == value
                assert ours.command("RESTORE", "w", 0, theirs.command("DUMP", "v"), "REPLACE") == b"OK"
                assert ours.command("GET", "w") == value
    talk(redis, ["DEL v"])


# --- streams of RESTORE ---

def damaged(rng, body):
    """A body made wrong, mostly, in ways on which both have the same opinion."""
    body = bytearray(body)
    kind = rng.randrange(5)
    if kind == 0 and len(body) > 40:  # cut; by so much that the footer does not make up for it
        return bytes(body[:rng.randrange(6, len(body) - 12)])
    if kind == 1:  # something behind it
        return bytes(body) + rng.randbytes(3)
    if kind == 2 and len(body) > 3:  # contents, not lengths
        body[rng.randrange(len(body) // 2, len(body))] ^= 1 << rng.randrange(8)
    if kind == 3:
        return rng.choice([
            b"\x00\x82\x00\x00\x00\x03abc", b"\x00\xc4abc", b"\x00\xff", b"\x00\x80\xff\xff\xff\xffabc",
            b"\x00\x81" + b"\xff" * 8 + b"abc", b"\x00\x40\x03abc", b"\x00\x80\x00\x00\x00\x03abc",
            b"\x00\x81\x00\x00\x00\x00\x00\x00\x00\x03abc", b"\x00\xc0\x80", b"\x00\xc2\x00\x00\x00\x80",
            b"\x00\xc3\x04\x04\x00a\x20\x00", b"\x00\xc3\x04\x04\x00a\x20\x01",
            b"\x00\xc3\x04\x05\x00a\x20\x00",
            b"\x00\xc3\x04\x80\xff\xff\xff\xffa\x20\x00", b"\x08abc", b"\x63abc"])
    return bytes(body)


def request(rng, bodies):
    key = rng.choice(KEYS)
    if rng.random() < 0.1:
        return ["DUMP", "dump:none"]
    if rng.random() < 0.15:
        return ["DEL", key]
    if rng.random() < 0.1:
        return ["PERSIST", key]
    body = rng.choice(bodies)
    if rng.random() < 0.4:
        body = damaged(rng, body)
    payload = seal(body, rng.choice([10, 10, 10, 9, 6, 0, 99, 65535]))
    if rng.random() < 0.1:
        payload = rng.choice([payload[:-1], payload[:9], b"", payload + b"x", b"\x01" * 10])
    words = ["RESTORE", key, rng.choice(["0", "0", "0", "100000000", "-1", "x", "1.5", ""]), payload]
    if rng.random() < 0.6:
        words.append(rng.choice(["REPLACE", "replace"]))
    if rng.random() < 0.3:
        words.append("ABSTTL")
        if words[2] == "100000000":
            words[2] = rng.choice(["1", "99999999999999"])
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        words += rng.choice([["IDLETIME", "5"], ["FREQ", "255"], ["IDLETIME", "-1"], ["FREQ", "256"],
                             ["FREQ", "-1"], ["IDLETIME", "x"], ["FREQ", "x"], ["IDLETIME"], ["FREQ"],
                             ["FOO"]])
    if rng.random() < 0.02:
        words = words[:rng.randrange(1, 4)]
    return words


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_streams(seed, protocol, redis, store):
    rng = random.Random(seed)
    talk(redis, [["DEL"] + KEYS])
    bodies = []
    with resp.Connection(redis) as c:
        for _ in range(60):
            value = value_of(rng)[:400]
            c.command("SET", "v", value)
            bodies.append(c.command("DUMP", "v")[:-10])
        c.command("DEL", "v")
    run_stream(redis, store.port, [request(rng, bodies) for _ in range(1500)], KEYS, protocol)
    with resp.Connection(redis) as theirs, store.connect() as ours:
        for key in KEYS:
            a, b = theirs.command("PTTL", key), ours.command("PTTL", key)
            assert (a < 0) == (b < 0) and abs(a - b) < 1000 * conftest.TIMEOUT, key


def test_order_of_errors(redis, store):
    good = seal(b"\x00\x01x")
    conversation = [
        ["SET", "a", "1"], ["RESTORE", "a", "x", "y", "FOO"], ["RESTORE", "a", "x", "y"],
        ["RESTORE", "a", "-1", "y", "REPLACE"], ["RESTORE", "b", "-1", "y"], ["RESTORE", "b", "0", "y"],
        ["RESTORE", "b", "1", seal(b"\x00\x35x"), "ABSTTL"], ["RESTORE", "b", "1", good, "ABSTTL"],
        ["EXISTS", "b"], ["RESTORE", "a", "1", good, "ABSTTL"],
        ["RESTORE", "a", "1", good, "ABSTTL", "REPLACE"], ["EXISTS", "a"],
        ["RESTORE", "a", "0", good, "ABSTTL"], ["PTTL", "a"], ["RESTORE", "c", "0", good, "IDLETIME", "1",
                                                               "IDLETIME", "2"],
        ["RESTORE", "d", "0", good, "FREQ", "1", "IDLETIME", "1"], ["RESTORE", "a", "0"], ["DUMP"],
        ["DUMP", "a", "b"], ["DUMP", "none"], ["COMMAND", "GETKEYSANDFLAGS", "RESTORE", "a", "0", "x"],
    ]
    assert talk(store.port, conversation) == talk(redis, conversation)
    talk(redis, ["DEL a b c d"])


def test_other_types_are_refused_by_name(redis, store):
    with resp.Connection(redis) as theirs, store.connect() as ours:
        makers = {"list": ("RPUSH", "a"), "set": ("SADD", "a"), "zset": ("ZADD", "1", "a"),
                  "hash": ("HSET", "a", "b"), "stream": ("XADD", "*", "a", "b")}
        for kind, (command, *args) in makers.items():
            theirs.command("DEL", "k")
            theirs.command(command, "k", *args)
            assert ours.command("RESTORE", "k", 0, theirs.command("DUMP", "k")) == \
                b"ERR tarn does not serve such values: it holds strings only", kind
        theirs.command("DEL", "k")
        assert ours.command("EXISTS", "k") == 0


def test_a_string_does_not_run_into_the_footer(redis, store):
    """Redis takes bytes of version and checksum for the string's."""
    payload = seal(b"\x00\x05x")
    with resp.Connection(redis) as theirs, store.connect() as ours:
        assert ours.command("RESTORE", "k", 0, payload) == b"ERR Bad data format"
        assert theirs.command("RESTORE", "k", 0, payload) == b"OK", "no difference any more"
        theirs.command("DEL", "k")


def test_a_time_beyond_all_is_kept(store):
    """Redis's sum overflows, and the key is gone at once."""
    with store.connect() as c:
        assert c.command("RESTORE", "k", 2**63 - 1, seal(b"\x00\x01x")) == b"OK"
        assert c.command("GET", "k") == b"x"


def test_later_versions_are_read(store):
    """Redis 7.2 and 7.4 write strings as ever."""
    with store.connect() as c:
        for version in (11, 12):
            assert c.command("RESTORE", "k", 0, seal(b"\x00\x01x", version), "REPLACE") == b"OK"
        assert c.command("RESTORE", "k", 0, seal(b"\x00\x01x", 13), "REPLACE") == \
            b"ERR DUMP payload version or checksum are wrong"


def run_of_bytes(size):
    """A packed string of about so many bytes: (its size, body of the payload)."""
    copies = size // 264
    packed = b"\x00a" + b"\xe0\xff\x00" * copies
    size = 1 + 264 * copies
    return size, (b"\x00\xc3\x80" + len(packed).to_bytes(4, "big") + b"\x80" +
                  size.to_bytes(4, "big") + packed)


def peak_resident(store):
    with open("/proc/%d/status" % store.process.pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:")) * 1024


@pytest.mark.skipif(conftest.sanitized(), reason="a sanitizer's memory counts, too")
def test_a_small_payload_does_not_unpack_beyond_the_cap(server):
    """300 KB that say they are 25 MiB: refused before memory is taken; the server goes on."""
    store = server(None, "--memory", "24M")
    size, body = run_of_bytes(25 * MIB)
    with store.connect() as c:
        payload = seal(body)
        for options in ([], ["REPLACE"]):
            assert c.command("RESTORE", "k", 0, payload, *options).word == b"OOM"
        assert c.command("EXISTS", "k") == 0
        assert c.command("SET", "k", "1") == b"OK"
    assert peak_resident(store) < 20 * MIB
    roomy = server(None)
    with roomy.connect() as c:
        assert c.command("RESTORE", "k", 0, payload) == b"OK"
        assert c.command("STRLEN", "k") == size
        assert c.command("GETRANGE", "k", -3, -1) == b"aaa"


def test_one_of_many_restores_without_replace_wins(server):
    """Clients restore the same keys at the same time: each key is given once. Unpacking takes long
    enough for the others to come between looking and storing."""
    store = server(None, "--threads", "4")
    payload = seal(run_of_bytes(MIB)[1])
    wins = []

    def restore():
        with store.connect() as c:
            replies = c.pipeline([("RESTORE", "k%d" % i, 0, payload) for i in range(40)])
        wins.append([reply == b"OK" for reply in replies])

    threads = [threading.Thread(target=restore) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sum(row) for row in zip(*wins)] == [1] * 40
