"""Goal: the commands on keys answer like Redis 7 byte for byte, in RESP2 and RESP3, over a writable
store and over a data file; several keys change at one moment; a walk over the keys meets each key
that is there throughout exactly once, whatever others write.

Method: conversations held with tarn and a redis-server, raw replies compared; times of expiry are
absolute and far away, or past, so that nothing waits (but for one poll that a key really goes).
Then clients at the same time, each checking what must always be so.

Bugs planted once to see it fail: TTL that rounds down; GT that takes a key without expiry for one
that expires first; a past time stored instead of deleting; COPY that loses the expiry; RENAME that
deletes in a second step; DEL key by key; a SCAN cursor that forgets displaced items.
"""
import itertools
import threading

import pytest

import beside_redis
import conftest
import datasets
import resp
from beside_redis import RawConnection, talk

FAR = 4102444800  # the year 2100, in seconds
MAX = 9223372036854775807
LONG = "x" * 300
KEYS_MANY = 100000


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with beside_redis.running_redis(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture(scope="module")
def store():
    """A tarn with a writable store and two workers."""
    server = conftest.Server(None, ["--threads", "2"])
    assert server.ready, server.log.text()
    yield server
    server.stop()


# --- the same replies as Redis ---

SET_A = "SET a value"
SET_B = "SET b other"
EXPIRE_A = "EXPIREAT a %d" % FAR

# Each begins with an empty store.
SAME = [
    # DEL, UNLINK, EXISTS, TOUCH, TYPE
    *[[SET_A, SET_B, name + " " + keys, "EXISTS a b", "DBSIZE"]
      for name in ("DEL", "UNLINK") for keys in ("a", "a b", "a a", "nosuch", "a nosuch b b")],
    ["DEL"], ["UNLINK"], ["del a"], [SET_A, [b"DEL", b""], [b"DEL", b"a\x00"], "EXISTS a"],
    [SET_A, ["DEL"] + ["a", "nosuch"] * 200, "DBSIZE"],
    [SET_A, SET_B, "EXISTS a b nosuch a", "TOUCH a b nosuch a", ["EXISTS"] + ["a", "no"] * 100],
    ["EXISTS"], ["TOUCH"], [SET_A, "TYPE a", "TYPE nosuch"], ["TYPE"], ["TYPE a b"],
    [["SET", "x" * 65535, "1"], ["EXISTS", "x" * 65535], ["DEL", "x" * 65535], "DBSIZE"],
    # keys longer than can be stored are not there
    [["DEL", "x" * 65536], ["EXISTS", "x" * 65536], ["EXPIRE", "x" * 65536, "1"],
     ["PERSIST", "x" * 65536], ["TTL", "x" * 65536], ["TYPE", "x" * 65536],
     ["RENAME", "x" * 65536, "a"], ["COPY", "x" * 65536, "a"]],
    # RENAME, RENAMENX
    [SET_A, EXPIRE_A, "RENAME a b", "GET b", "EXPIRETIME b", "EXISTS a"],
    [SET_A, SET_B, "EXPIREAT b %d" % FAR, "RENAME a b", "GET b", "TTL b", "DBSIZE"],
    [SET_A, EXPIRE_A, "RENAME a a", "GET a", "EXPIRETIME a"], ["RENAME a a"], ["RENAME a b"],
    ["RENAMENX a b"], ["RENAMENX a a"], [SET_A, "RENAMENX a a", "GET a"],
    [SET_A, SET_B, "RENAMENX a b", "GET a", "GET b"],
    [SET_A, EXPIRE_A, "RENAMENX a b", "GET b", "EXPIRETIME b", "EXISTS a"],
    ["RENAME a"], ["RENAME a b c"], ["RENAMENX a"], [SET_B, "RENAME a b", "GET b"],
    [["SET", "a", "v" * 100000], "RENAME a b", "STRLEN b", "RENAMENX b a", "STRLEN a", "DBSIZE"],
    # COPY
    [SET_A, EXPIRE_A, "COPY a b", "GET b", "EXPIRETIME b", "GET a", "EXPIRETIME a"],
    [SET_A, SET_B, "COPY a b", "GET b", "COPY a b REPLACE", "GET b", "GET a"],
    [SET_A, SET_B, "EXPIREAT b %d" % FAR, "COPY a b replace", "TTL b"],
    ["COPY a b"], ["COPY a a"], [SET_A, "COPY a a"], [SET_A, "COPY a a REPLACE"],
    [SET_A, "COPY a b DB 0", "GET b"], [SET_A, "COPY a b DB 0 REPLACE DB 0 replace", "GET b"],
    [SET_A, "COPY a b DB 1"], ["COPY a b DB -1"], ["COPY a b DB x"], ["COPY a b DB"],
    ["COPY a b DB 99999999999"], ["COPY a b DB 2147483648"], ["COPY a b DB 99999999999999999999"],
    ["COPY a b FOO"], ["COPY a b REPLACE FOO"], ["COPY a"], ["COPY a a DB 1"], ["COPY a a DB x"],
    [["SET", "a", "v" * 100000], "COPY a b", "STRLEN b", "STRLEN a"],
    # other databases
    ["MOVE a 0"], ["MOVE a 1"], ["MOVE a x"], ["MOVE a -1"], ["MOVE a 99999999999"], ["MOVE a"],
    [SET_A, "MOVE a 0", "MOVE a 1", "GET a"],
    ["SWAPDB 0 0"], ["SWAPDB 0 1"], ["SWAPDB 1 0"], ["SWAPDB x 0"], ["SWAPDB 0 x"],
    ["SWAPDB 99999999999 0"], ["SWAPDB 0 99999999999"], ["SWAPDB x y"], ["SWAPDB 0"],
    [SET_A, "SWAPDB 0 0", "GET a"], ["SELECT 0"], ["SELECT 1"],
    # FLUSHALL, FLUSHDB
    *[[SET_A, SET_B, name + mode, "DBSIZE", "GET a"]
      for name in ("FLUSHALL", "FLUSHDB", "flushdb")
      for mode in ("", " ASYNC", " SYNC", " async", " FOO", " ASYNC SYNC", " SYNC x")],
    # TTL and its like
    *[[SET_A, name + " a", name + " nosuch", name, name + " a b"]
      for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")],
    *[[SET_A, "PEXPIREAT a %d" % (FAR * 1000 + ms), "EXPIRETIME a", "PEXPIRETIME a"]
      for ms in (0, 1, 499, 500, 501, 999)],
    # times out of range, and what is no time
    *[[SET_A, "%s a %s" % (name, time), "EXISTS a", "PERSIST a"]
      for name in ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "expire")
      for time in (0, -1, -1000, MAX + 1, -MAX - 2, -MAX - 1, "x", "1.5", "010", "+5", MAX // 1000,
                   MAX // 1000 + 1, -(MAX // 1000), -(MAX // 1000) - 1, 99999999999999999999)],
    [SET_A, "EXPIRE a %d" % MAX, "EXISTS a"], [SET_A, "EXPIREAT a %d" % MAX],
    [SET_A, "PEXPIRE a %d" % MAX, "EXISTS a"], [SET_A, "PEXPIREAT a %d" % MAX, "PEXPIRETIME a"],
    [SET_A, "PEXPIREAT a %d" % (MAX - 1), "PEXPIRETIME a", "RENAME a b", "PEXPIRETIME b"],
    # past times delete
    *[[SET_A, request, "EXISTS a", "DBSIZE", "TTL a", request]
      for request in ("EXPIRE a 0", "EXPIRE a -1", "PEXPIRE a 0", "PEXPIRE a -5", "EXPIREAT a 0",
                      "EXPIREAT a 1", "PEXPIREAT a 0", "PEXPIREAT a 1", "EXPIREAT a -7")],
    [SET_A, EXPIRE_A, "EXPIREAT a 1 LT", "EXISTS a"],
    [SET_A, EXPIRE_A, "EXPIREAT a 1 GT", "EXISTS a"], [SET_A, "EXPIREAT a 1 XX", "EXISTS a"],
    [SET_A, "EXPIREAT a 1 GT", "EXISTS a"], [SET_A, "EXPIREAT a 1 LT", "EXISTS a"],
    # errors, in their order
    *[["%s %s" % (name, rest)] for name in ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")
      for rest in ("", "a", "a x", "a 1 FOO", "a x FOO", "a x NX XX", "a 1 NX FOO XX",
                   "a 1 nx", "nosuch %d" % MAX, "nosuch 1 GT LT", "nosuch 1 gt")],
    [["EXPIRE", "a", "1", b"F\x00OO"], ["EXPIRE", "a", "1", b"F\r\nO"], ["EXPIRE", "a", "1", ""],
     ["EXPIRE", "a", "1", LONG]],
    # PERSIST
    [SET_A, "PERSIST a", EXPIRE_A, "PERSIST a", "TTL a", "PERSIST a", "GET a"], ["PERSIST a"],
    ["PERSIST"], ["PERSIST a b"],
    [["SET", "a", "v" * 100000], EXPIRE_A, "EXPIRETIME a", "PERSIST a", "TTL a", "STRLEN a"],
    # what changes a value and its expiry otherwise
    ["SET a 1 PXAT %d" % (FAR * 1000), "SET a 2 KEEPTTL", "PEXPIRETIME a", "SET a 3", "TTL a"],
    ["SET a 1 EXAT %d" % FAR, "APPEND a 2", "EXPIRETIME a", "INCR a", "EXPIRETIME a"],
    # walks
    ["SCAN 0", "KEYS *", "RANDOMKEY", "DBSIZE"], [SET_A, "SCAN 0", "KEYS *", "RANDOMKEY"],
    [SET_A, SET_B, "SCAN 0 MATCH a COUNT 100", "KEYS b", "SCAN 0 TYPE hash COUNT 100",
     "SCAN 0 TYPE string MATCH b COUNT 100"],
    ["SCAN x"], ["SCAN 0 COUNT 0"], ["SCAN 0 COUNT x"], ["SCAN 0 FOO 1"], ["SCAN"], ["KEYS"],
    [SET_A, EXPIRE_A, "KEYS *", "PEXPIREAT a 1", "KEYS *", "SCAN 0", "RANDOMKEY", "DBSIZE"],
    # OBJECT
    *[[["SET", "a", value], "OBJECT ENCODING a"]
      for value in ("", "0", "-1", "007", "+7", " 1", "1 ", "1.5", str(MAX), str(MAX + 1),
                    str(-MAX - 1), str(-MAX - 2), "x" * 44, "x" * 45, "1" * 20, "1" * 21)],
    ["OBJECT ENCODING a"], ["OBJECT IDLETIME a"], ["OBJECT REFCOUNT a"], ["OBJECT FREQ a"],
    [SET_A, "OBJECT FREQ a"], [SET_A, "OBJECT IDLETIME a", "OBJECT REFCOUNT a"],
    ["OBJECT"], ["OBJECT FOO a"], ["OBJECT ENCODING"],
    # MEMORY
    ["MEMORY USAGE a"], ["MEMORY USAGE"], [SET_A, "MEMORY USAGE a SAMPLES"],
    [SET_A, "MEMORY USAGE a SAMPLES x", "MEMORY USAGE a SAMPLES -1", "MEMORY USAGE a FOO 1"],
    ["MEMORY PURGE"], ["MEMORY PURGE x"], ["MEMORY STATS x"], ["MEMORY"], ["MEMORY FOO"],
    # in a transaction
    ["MULTI", SET_A, EXPIRE_A, "RENAME a b", "COPY b c", "DEL b", "EXPIRETIME c", "EXISTS a b c",
     "PERSIST c", "TTL c", "EXEC", "DBSIZE"],
    ["MULTI", SET_A, "COPY a b", "RENAMENX a b", "COPY a b REPLACE", "RENAME x y", "EXEC", "GET b"],
    [SET_A, "MULTI", SET_B, "FLUSHALL", "DBSIZE", "SET c d", "KEYS *", "EXEC", "GET a"],
    # other types
    ["SORT"], ["SORT_RO"],
]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("conversation", SAME, ids=lambda c: repr(c)[:70])
def test_same_reply(conversation, protocol, redis, store):
    conversation = ["FLUSHALL"] + conversation
    assert talk(store.port, conversation, protocol) == talk(redis, conversation, protocol)


def conditions():
    """Every set of conditions, each word once or, of one word, twice."""
    words = ("NX", "XX", "GT", "LT")
    for count in range(len(words) + 1):
        yield from itertools.combinations(words, count)
    yield from (("nx", "nx"), ("gt", "GT"), ("Lt", "xX"))


@pytest.mark.parametrize("words", conditions(), ids=" ".join)
@pytest.mark.parametrize("name", ["EXPIREAT", "PEXPIREAT"])
def test_conditions_of_expire(name, words, redis, store):
    unit = 1 if name == "EXPIREAT" else 1000
    conversation = ["FLUSHALL"]
    for present, new in itertools.product((None, FAR), (1, FAR - 1, FAR, FAR + 1)):
        conversation += ["SET k v"]
        if present:
            conversation += ["EXPIREAT k %d" % present]
        conversation += [" ".join(("%s k %d" % (name, new * unit),) + words), "PEXPIRETIME k"]
    conversation += [" ".join(("%s nosuch %d" % (name, FAR),) + words)]
    assert talk(store.port, conversation) == talk(redis, conversation)


def arguments_of(docs):
    """COMMAND DOCS' arguments without their history."""
    def pairs(flat):
        return dict(zip(flat[::2], flat[1::2]))

    def plain(argument):
        fields = pairs(argument)
        for word in (b"since", b"deprecated_since", b"summary", b"display_text"):
            fields.pop(word, None)
        if b"arguments" in fields:
            fields[b"arguments"] = [plain(a) for a in fields[b"arguments"]]
        return fields
    return {name: [plain(a) for a in pairs(about).get(b"arguments", [])]
            for name, about in pairs(docs).items()}


def test_docs_of_arguments(redis, store):
    names = ("DEL UNLINK EXISTS TOUCH TYPE RENAME RENAMENX COPY MOVE SWAPDB RANDOMKEY EXPIRE"
             " PEXPIRE EXPIREAT PEXPIREAT TTL PTTL EXPIRETIME PEXPIRETIME PERSIST SCAN KEYS DBSIZE FLUSHDB"
             " FLUSHALL").split()
    with resp.Connection(store.port) as ours, resp.Connection(redis) as theirs:
        for name in names:
            assert arguments_of(ours.command("COMMAND", "DOCS", name)) \
                == arguments_of(theirs.command("COMMAND", "DOCS", name)), name


# --- time ---

def test_times_from_now(store):
    """Between two readings of the clock, whatever it takes."""
    with store.connect() as connection:
        connection.command("FLUSHALL")
        connection.command("SET", "k", "v")
        for name, sent, ms in (("EXPIRE", 1000000, 1000000000), ("PEXPIRE", 1000000, 1000000)):
            def now():
                seconds, us = connection.command("TIME")
                return int(seconds) * 1000 + int(us) // 1000
            before = now()
            assert connection.command(name, "k", sent) == 1
            at, left = connection.command("PEXPIRETIME", "k"), connection.command("PTTL", "k")
            after = now()
            # The store's clock is the system's when it was opened, less its later corrections.
            assert before + ms - 1000 <= at <= after + ms + 1000
            assert ms - (after - before) - 1000 <= left <= ms
            assert 0 <= connection.command("TTL", "k") <= ms // 1000


def test_a_key_really_goes(store):
    """It is gone for every command at its time, and a little later from memory."""
    with store.connect() as connection:
        connection.command("FLUSHALL")
        connection.command("SET", "k", "v")
        connection.command("PEXPIRE", "k", 30)
        conftest.eventually(lambda: connection.command("EXISTS", "k") == 0, "the key to expire")
        for request, absent in (("TTL", -2), ("PTTL", -2), ("PEXPIRETIME", -2), ("TYPE", b"none"),
                                ("PERSIST", 0), ("DEL", 0), ("MEMORY USAGE", None)):
            assert connection.command(*request.split(), "k") == absent
        assert connection.command("RENAME", "k", "l") == b"ERR no such key"
        assert connection.command("COPY", "k", "l") == 0
        assert connection.command("KEYS", "*") == []
        assert connection.command("SCAN", 0) == [b"0", []]
        conftest.eventually(lambda: connection.command("DBSIZE") == 0, "its memory to be freed")


# --- a data file ---

WRITES = ["DEL a", "UNLINK a b", "RENAME a b", "RENAMENX a b", "COPY a b", "MOVE a 0", "SWAPDB 0 0",
          "EXPIRE a 1", "PEXPIRE a 1", "EXPIREAT a 1", "PEXPIREAT a 1", "EXPIRE a x", "PERSIST a",
          "FLUSHALL", "FLUSHDB ASYNC", "FLUSHALL x"]


def test_a_data_file_is_only_read(server, tmp_path):
    records = [(b"a", b"1"), (b"b", b"x" * 1000)] + datasets.plain_records(1000)
    served = server(datasets.Dataset(tmp_path / "data", "text", records).write())
    with served.connect() as connection:
        for request in WRITES:
            assert connection.command(*request.split()) \
                == b"READONLY You can't write against an immutable data set.", request
        assert connection.command("EXISTS", "a", "b", "c", "a") == 3
        assert connection.command(*["EXISTS"] + ["a", "c"] * 100) == 100
        assert connection.command("DBSIZE") == 1002
        for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"):
            assert connection.command(name, "a") == -1
            assert connection.command(name, "c") == -2
        assert 2 <= connection.command("MEMORY", "USAGE", "a") < 100
        assert 1001 <= connection.command("MEMORY", "USAGE", "b") < 1100
        assert b"does not change" in connection.command("MEMORY", "DOCTOR")


# --- memory ---

def stats_of(connection):
    reply = connection.command("MEMORY", "STATS")
    return dict(zip(reply[::2], reply[1::2])) if isinstance(reply, list) else reply


def test_memory_usage_is_what_is_taken(store):
    """Key, value, a few bytes of header, and a share of the table that is the same for all keys; it
    settles when the background has freed what earlier tests left."""
    keys = ["key:%04d" % i for i in range(2000)]
    with store.connect() as connection:
        connection.command("FLUSHALL")
        connection.pipeline([("SET", key, "v" * (i % 300)) for i, key in enumerate(keys)])
        connection.command("EXPIREAT", keys[300], FAR)

        def is_right():
            usage = connection.pipeline([("MEMORY", "USAGE", key) for key in keys])
            beside = [u - len(keys[0]) - i % 300 for i, u in enumerate(usage)]
            return 3 < min(beside) and max(beside) < min(beside) + 20 \
                and usage[300] == usage[0] + 8
        conftest.eventually(is_right, "the table's share to settle")
        connection.command("SET", "big", "v" * 1000000)
        assert 1000000 < connection.command("MEMORY", "USAGE", "big", "SAMPLES", 0) < 1100000


@pytest.mark.parametrize("protocol", [2, 3])
def test_memory_stats_has_redis_fields(protocol, redis, store):
    figures = []
    for port in (store.port, redis):
        with resp.Connection(port) as connection:
            connection.hello(protocol)
            connection.command("FLUSHALL")
            connection.pipeline([("SET", "key:%d" % i, "v" * 100) for i in range(1000)])
            figures.append(stats_of(connection))
    ours, theirs = figures
    assert list(ours) == list(theirs)
    assert {name: type(value) for name, value in ours.items()} \
        == {name: type(value) for name, value in theirs.items()}
    assert ours[b"keys.count"] == 1000
    assert ours[b"total.allocated"] == ours[b"dataset.bytes"] + ours[b"overhead.total"]
    assert ours[b"dataset.bytes"] >= 1000 * 107
    assert ours[b"allocator.active"] >= ours[b"allocator.allocated"] >= ours[b"dataset.bytes"]
    assert ours[b"keys.bytes-per-key"] == ours[b"total.allocated"] // 1000


def test_memory_stats_of_nothing(redis, store):
    for port in (store.port, redis):
        with resp.Connection(port) as connection:
            connection.command("FLUSHALL")
            assert b"db.0" not in stats_of(connection)


def test_memory_in_words(store):
    with store.connect() as connection:
        assert b"no limit" in connection.command("MEMORY", "DOCTOR")
        assert connection.command("MEMORY", "MALLOC-STATS") \
            == b"Stats not supported for the current allocator"


def test_a_copy_over_the_limit_is_refused(server):
    """And source and target stay; what is deleted makes room."""
    served = server(None, "--memory", "64M")
    oom = b"OOM command not allowed when used memory > 'maxmemory'."
    with served.connect() as connection:
        value = b"v" * (10 << 20)
        assert connection.command("SET", "a", value) == b"OK"
        assert connection.command("SET", "b", "small") == b"OK"
        replies = [connection.command("COPY", "a", "copy:%d" % i) for i in range(7)]
        copies = replies.index(oom)
        assert copies >= 2 and set(replies[:copies]) == {1} and set(replies[copies:]) == {oom}
        assert connection.command("COPY", "a", "b", "REPLACE") == oom
        assert connection.command("RENAME", "a", "b") == oom
        assert connection.command("GET", "b") == b"small"
        assert connection.command("GET", "a") == value
        assert connection.command("DEL", "copy:0", "copy:1") == 2
        conftest.eventually(lambda: connection.command("RENAME", "a", "b") == b"OK", "free memory")
        assert connection.command("GET", "b") == value


# --- several keys at one moment ---

def together(*workers):
    """Run functions of (stop,) at once until the first one returns; what they raise is raised."""
    stop, failures = threading.Event(), []

    def run(worker):
        try:
            worker(stop)
        except BaseException as failure:  # noqa: B902
            failures.append(failure)
            stop.set()
    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    threads[0].join()
    stop.set()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("size", [10, 200000])
def test_a_renamed_key_is_always_at_one_place(size, store):
    names = ["place:%d" % i for i in range(4)]
    with store.connect() as connection:
        connection.command("FLUSHALL")
        connection.command("SET", names[0], "v" * size)
        connection.command("EXPIREAT", names[0], FAR)

    def rename(stop):
        with store.connect() as connection:
            for i in range(2000 if size < 1000 else 300):
                reply = connection.command("RENAME", names[i % 4], names[(i + 1) % 4])
                assert reply == b"OK"

    def look(stop):
        with store.connect() as connection:
            while not stop.is_set():
                assert connection.command("EXISTS", *names) == 1
                assert sum(t == FAR for t in connection.pipeline(
                    [("MULTI",)] + [("EXPIRETIME", n) for n in names] + [("EXEC",)])[-1]) == 1
    together(rename, look, look)


@pytest.mark.parametrize("count", [20, 200])
def test_keys_are_deleted_at_one_moment(count, store):
    names = ["gone:%d" % i for i in range(count)]
    records = [word for name in names for word in (name, "v")]

    def change(stop):
        with store.connect() as connection:
            connection.command("FLUSHALL")
            for _ in range(500):
                assert connection.command("MSET", *records) == b"OK"
                assert connection.command("DEL", *names) == count

    def look(stop):
        asked = b"".join(resp.encode("EXISTS", *names) for _ in range(50))
        with store.connect() as connection:
            while not stop.is_set():
                connection.send(asked)  # the worker is at it while the other deletes
                assert {connection.read_reply() for _ in range(50)} <= {0, count}
    together(change, *[look] * 5)  # so many connections are seldom all one worker's


# --- walks while others write ---

def scan_all(connection, count, each=None):
    cursor, keys = b"0", []
    while True:
        cursor, some = connection.command("SCAN", cursor, "COUNT", count)
        keys += some
        if cursor == b"0":
            return keys
        if each:
            each()


def fill(connection, prefix, count):
    for start in range(0, count, 1000):
        connection.pipeline([("SET", "%s%d" % (prefix, i), i)
                             for i in range(start, min(start + 1000, count))])


def test_a_walk_meets_every_key_once(store):
    """SCAN and KEYS over 100,000 keys while others come (the table grows), go and change."""
    with store.connect() as connection:
        connection.command("FLUSHALL")
        fill(connection, "stays:", KEYS_MANY)
    wanted = sorted(b"stays:%d" % i for i in range(KEYS_MANY))

    def walk(stop):
        with store.connect() as connection:
            for count in (1000, 7777, 100000):
                keys = scan_all(connection, count)
                assert len(keys) == len(set(keys))
                assert sorted(k for k in keys if k.startswith(b"stays:")) == wanted
            assert sorted(connection.command("KEYS", "stays:*")) == wanted

    def come_and_go(stop):
        with store.connect() as connection:
            for n in itertools.count():
                if stop.is_set():
                    return
                first = n * 200
                connection.pipeline([("SET", "new:%d" % i, i) for i in range(first, first + 200)])
                connection.pipeline([("DEL", "new:%d" % i) for i in range(first, first + 100)])
                connection.pipeline([("SET", "stays:%d" % (i % KEYS_MANY), "v" * (i % 100))
                                     for i in range(first, first + 200)])
    together(walk, come_and_go)
    with store.connect() as connection:
        stays = connection.command("SCAN", 0, "MATCH", "stays:*", "COUNT", 10)
        assert len(stays) == 2
        connection.command("FLUSHALL")


def test_flushall_during_a_walk(store):
    """The cursor stays good: nothing of before comes any more, what is new comes at most once."""
    with store.connect() as connection, store.connect() as other:
        connection.command("FLUSHALL")
        fill(connection, "old:", 5000)
        cursor, seen = connection.command("SCAN", 0, "COUNT", 1000)
        assert cursor != b"0" and all(k.startswith(b"old:") for k in seen)
        assert other.command("FLUSHALL") == b"OK"
        fill(other, "new:", 5000)
        rest = []
        while cursor != b"0":
            cursor, some = connection.command("SCAN", cursor, "COUNT", 1000)
            rest += some
        assert rest and all(k.startswith(b"new:") for k in rest)
        assert len(rest) == len(set(rest)) < 5000
        assert sorted(scan_all(connection, 999)) == sorted(b"new:%d" % i for i in range(5000))
        connection.command("FLUSHALL")
        assert scan_all(connection, 10) == []


def test_any_cursor_is_safe(store):
    with store.connect() as connection:
        connection.command("FLUSHALL")
        fill(connection, "k", 1000)
        for cursor in (1, 12345678, 2 ** 24 - 1, 2 ** 24, 2 ** 36 - 1, 2 ** 36, 2 ** 64 - 1):
            after, keys = connection.command("SCAN", cursor, "COUNT", 10)
            assert after == b"0" or int(after) > 0
            assert len(keys) < 1000


def test_random_keys(store):
    with store.connect() as connection:
        connection.command("FLUSHALL")
        fill(connection, "k", 50)
        seen = set(connection.pipeline([("RANDOMKEY",)] * 2000))
        assert seen <= {b"k%d" % i for i in range(50)}
        assert len(seen) > 40
