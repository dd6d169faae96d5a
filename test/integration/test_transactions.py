"""Goal: EXEC takes effect at one moment, across keys, shards and threads; WATCH misses no change and
imagines none.

Method: conversations of two clients, held with redis-server too where one is installed; then several
threads at once against a server of several threads, where a lost update, a transaction seen half
done or a false abort shows in the values.
"""
import os
import threading

import pytest

import beside_redis
import conftest
import resp

pytestmark = pytest.mark.threads

THREADS = 4

# Requests of clients a and b, on an empty store. A string is split at spaces.
CONVERSATIONS = [
    ["a MULTI", "a SET k 1", "a GET k", "b GET k", "a EXEC", "b GET k"],
    ["a MULTI", "a EXEC"], ["a MULTI", "a PING", "a ECHO x", "a EXEC"], ["a MULTI", "a DBSIZE", "a EXEC"],
    ["a MULTI", "a SET k v", "a INCR k", "a SET k w", "a EXEC", "a GET k"],
    ["a MULTI", "a SET k", "a SET k 1", "a EXEC", "a GET k"],
    ["a MULTI", "a nosuch", "a EXEC"], ["a MULTI", "a MULTI", "a SET k 1", "a EXEC"],
    ["a MULTI", "a WATCH k", "a SET k 1", "a EXEC"], ["a EXEC"], ["a DISCARD"],
    ["a MULTI", "a SET k 1", "a DISCARD", "a GET k", "a EXEC"],
    ["a MULTI", "a SET k 1", "a RESET", "a EXEC", "a GET k"],
    ["a MULTI", "a MSET x 1 y 2", "a DEL x", "a KEYS *", "a FLUSHALL", "a SET z 3", "a KEYS *",
     "a DBSIZE", "a EXEC"],
    ["a MULTI", "a SET k v", "a RENAME k l", "a COPY l m", "a MGET k l m", "a EXEC"],
    ["a SET k 5", "a MULTI", "a INCR k", "a APPEND k 0", "a SETRANGE k 3 x", "a GETDEL k", "a EXEC"],
    # a change by another, of every kind
    ["a WATCH k", "b SET k 1", "a MULTI", "a PING", "a EXEC", "a MULTI", "a PING", "a EXEC"],
    ["a SET k 1", "a WATCH k", "b SET k 1", "a MULTI", "a PING", "a EXEC"],
    ["a SET k 1", "a WATCH k", "b DEL k", "b SET k 1", "a MULTI", "a PING", "a EXEC"],
    ["a SET k 1", "a WATCH k", "b EXPIRE k 100", "a MULTI", "a PING", "a EXEC"],
    ["a SET k 1 EX 100", "a WATCH k", "b PERSIST k", "a MULTI", "a PING", "a EXEC"],
    ["a SET k 1", "a WATCH k", "b RENAME k l", "a MULTI", "a PING", "a EXEC"],
    ["a SET l 1", "a WATCH k", "b RENAME l k", "a MULTI", "a PING", "a EXEC"],
    ["a WATCH k", "b MSET j 1 k 2", "a MULTI", "a PING", "a EXEC"],
    ["a SET k 1", "a WATCH k", "b APPEND k x", "a MULTI", "a PING", "a EXEC"],
    ["a WATCH k", "b SETBIT k 1 1", "a MULTI", "a PING", "a EXEC"],
    ["a SET k 1", "a WATCH k", "b FLUSHALL", "a MULTI", "a PING", "a EXEC"],
    ["a SET k 1", "a WATCH k", "b MULTI", "b INCR k", "b EXEC", "a MULTI", "a PING", "a EXEC"],
    ["a WATCH k", "a SET k 1", "a MULTI", "a PING", "a EXEC"],  # one's own change counts, too
    ["a WATCH j k l", "b SET l 1", "a MULTI", "a PING", "a EXEC"],
    ["a WATCH k", "a WATCH k", "b SET k 1", "a WATCH k", "a MULTI", "a PING", "a EXEC"],
    # no change
    ["a WATCH k", "b GET k", "b SET j 1", "a MULTI", "a PING", "a EXEC"],
    ["a WATCH k", "b DEL k", "a MULTI", "a PING", "a EXEC"],
    ["a SET j 1", "a WATCH k", "b FLUSHALL", "a MULTI", "a PING", "a EXEC"],
    ["a SET k 1", "a WATCH k", "b SET k 2 NX", "b EXPIRE j 100", "a MULTI", "a PING", "a EXEC"],
    ["a WATCH k", "b SET k 1", "a UNWATCH", "a MULTI", "a PING", "a EXEC"],
    ["a WATCH k", "b SET k 1", "a MULTI", "a DISCARD", "a MULTI", "a PING", "a EXEC"],
    ["a WATCH k", "a MULTI", "b SET k 1", "a UNWATCH", "a EXEC"],
    ["a WATCH k", "b SET k 1", "a EXEC", "a MULTI", "a PING", "a EXEC"],
    ["a WATCH k", "b SET k 1", "a RESET", "a MULTI", "a PING", "a EXEC"],
]


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    if not beside_redis.redis_server_command()[1]:
        pytest.skip("no redis-server is installed")
    with beside_redis.running_redis(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A writable store with several threads, for the whole module."""
    server = conftest.Server(None, ["--threads", str(THREADS)])
    assert server.ready, server.log.text()
    yield server
    server.stop()


@pytest.fixture
def empty(store):
    assert store.command("FLUSHALL") == b"OK"
    return store


def converse(port, conversation):
    with beside_redis.RawConnection(port) as a, beside_redis.RawConnection(port) as b:
        a.command("FLUSHALL")
        return [{"a": a, "b": b}[line[0]].command(*line[2:].split(" ")) for line in conversation]


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda c: "; ".join(c)[:70])
def test_same_reply(conversation, redis, store):
    assert converse(store.port, conversation) == converse(redis, conversation)


def together(functions):
    """Run the functions in threads, started at the same moment; the first failure is raised."""
    failures = []
    barrier = threading.Barrier(len(functions))

    def run(function):
        try:
            barrier.wait()
            function()
        except BaseException as failure:  # noqa: B902 - handed to the test's thread
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_no_update_is_lost(empty):
    """Trips on: watches looked at before the keys are held; a change that marks no watch. KEYS makes
    a transaction long, so that others wait for its end when they begin."""
    clients, rounds = 8, 40
    empty.command("MSET", *["k:%d" % (i // 2) for i in range(8000)])

    def count_up():
        with empty.connect() as c:
            for _ in range(rounds):
                while True:
                    c.command("WATCH", "counter")
                    value = int(c.command("GET", "counter") or 0)
                    replies = c.pipeline([("MULTI",), ("SET", "counter", value + 1),
                                          ("INCR", "sum"), ("KEYS", "nosuch"), ("EXEC",)])
                    if replies[-1] is not resp.NULL_ARRAY:
                        break

    together([count_up] * clients)
    with empty.connect() as c:
        assert c.command("MGET", "counter", "sum") == [b"%d" % (clients * rounds)] * 2


def test_other_keys_do_not_disturb(empty):
    """Trips on: watches by shard instead of by key. There are more keys than shards."""
    with empty.connect() as c, empty.connect() as other:
        c.command("SET", "watched", "1")
        c.command("WATCH", "watched", "absent")
        for start in range(0, 10000, 500):
            other.pipeline([("SET", "other:%d" % i, "x") for i in range(start, start + 500)])
        other.pipeline([("DEL", "other:%d" % i) for i in range(500)])
        assert c.command("MULTI") == b"OK"
        assert c.command("INCR", "watched") == b"QUEUED"
        assert c.command("EXEC") == [2]


def test_a_watched_key_that_expires(empty):
    with empty.connect() as c:
        c.command("SET", "k", "1", "PX", "30")
        c.command("WATCH", "k")
        conftest.eventually(lambda: empty.command("EXISTS", "k") == 0, "k expires")
        assert c.command("MULTI") == b"OK"
        assert c.command("PING") == b"QUEUED"
        assert c.command("EXEC") is resp.NULL_ARRAY


def test_a_key_that_had_expired_when_it_was_watched(empty):
    with empty.connect() as c:
        c.command("SET", "k", "1", "PX", "1")
        conftest.eventually(lambda: empty.command("EXISTS", "k") == 0, "k expires")
        c.command("WATCH", "k")
        assert c.pipeline([("MULTI",), ("PING",), ("EXEC",)])[-1] == [b"PONG"]


def check_all_equal(server, write, read, rounds=1500):
    """One client writes (write(c, i)), others read several keys at once: all have one value, and
    what one client sees never goes back."""
    done = threading.Event()

    def writer():
        try:
            with server.connect() as c:
                for i in range(1, rounds + 1):
                    write(c, i)
        finally:
            done.set()

    def reader():
        last = 0
        with server.connect() as c:
            while not done.is_set():
                values = read(c)
                assert len(set(values)) == 1, values
                assert int(values[0] or 0) >= last
                last = int(values[0] or 0)

    together([writer] + [reader] * 3)


KEYS = ["key:%d" % i for i in range(20)]


def mset(c, i):
    c.command("MSET", *[word for key in KEYS for word in (key, i)])


def sets_in_exec(c, i):
    c.pipeline([("MULTI",)] + [("SET", key, i) for key in KEYS] + [("EXEC",)])


def flush_in_exec(c, i):
    c.pipeline([("MULTI",), ("FLUSHALL",)] + [("SET", key, i) for key in KEYS] + [("EXEC",)])


def mget(c):
    return c.command("MGET", *KEYS)


def gets_in_exec(c):
    return c.pipeline([("MULTI",)] + [("GET", key) for key in KEYS] + [("EXEC",)])[-1]


@pytest.mark.parametrize("write", [mset, sets_in_exec, flush_in_exec])
@pytest.mark.parametrize("read", [mget, gets_in_exec])
def test_all_or_nothing(empty, write, read):
    """Trips on: EXEC or MSET that holds too few keys, or looks at one before it holds all."""
    check_all_equal(empty, write, read, rounds=300 if write is flush_in_exec else 1500)


def test_single_reads_see_no_half_transaction(empty):
    """Two GETs one after another: who has seen the transaction's first key sees the last."""
    rounds, done = 2000, threading.Event()

    def writer():
        try:
            with empty.connect() as c:
                for i in range(1, rounds + 1):
                    sets_in_exec(c, i)
        finally:
            done.set()

    def reader():
        with empty.connect() as c:
            while not done.is_set():
                first = int(c.command("GET", KEYS[0]) or 0)
                last = int(c.command("GET", KEYS[-1]) or 0)
                assert last >= first

    together([writer, reader, reader])


def test_dbsize_inside_exec_is_exact(empty):
    """Others write other keys all the time: what is counted twice in one EXEC is the same."""
    done = threading.Event()

    def writer():
        with empty.connect() as c:
            i = 0
            while not done.is_set():
                c.pipeline([("SET", "w:%d:%d" % (threading.get_ident(), i + n), "x")
                            for n in range(50)])
                i += 50

    def reader():
        try:
            with empty.connect() as c:
                for _ in range(200):
                    size, keys, again = c.pipeline(
                        [("MULTI",), ("DBSIZE",), ("KEYS", "*"), ("DBSIZE",), ("EXEC",)])[-1]
                    assert size == len(keys) == again
                    if size > 20000:
                        c.command("FLUSHALL")
        finally:
            done.set()

    together([writer, writer, reader])


def test_watched_keys_are_bounded(empty):
    keys = ["k%d" % i for i in range(4097)]
    with empty.connect() as c:
        assert c.command("WATCH", *keys[:4096]) == b"OK"
        assert c.command("WATCH", *keys[:4096]) == b"OK"  # the same ones again
        error = c.command("WATCH", keys[4096])
        assert error == b"ERR too many watched keys: at most 4096"
        empty.command("SET", keys[4095], "x")
        assert c.pipeline([("MULTI",), ("PING",), ("EXEC",)])[-1] is resp.NULL_ARRAY
        assert c.command("WATCH", keys[4096]) == b"OK"


def test_many_keys_in_one_transaction(empty):
    """More keys than fit on EXEC's stack."""
    with empty.connect() as c:
        requests = [("INCR", "k%d" % i) for i in range(1000)]
        assert c.pipeline([("MULTI",)] + requests + [("EXEC",)])[-1] == [1] * 1000


@pytest.mark.skipif(conftest.sanitized(), reason="a sanitizer's memory counts, too")
@pytest.mark.parametrize("size", [1000, 4000, 100000])
def test_a_full_cache_evicts_for_a_transaction(server, size):
    """Inside EXEC nothing can be evicted: it is done before. Twice as much is stored as fits."""
    store = server(None, "--memory", "64M", "--max-memory-policy", "allkeys-sieve")
    value, per_exec = b"x" * size, 10
    count = 128 * 1024 * 1024 // (size + 50) // per_exec
    refused = 0
    with store.connect() as c:
        for i in range(min(count, 20000)):
            replies = c.pipeline([("MULTI",)] + [("SET", "k:%d:%d" % (i, j), value)
                                                 for j in range(per_exec)] + [("EXEC",)])
            refused += replies[-1].count(b"OK") != per_exec
        assert refused == 0
        assert c.command("MSET", "a", value, "b", value) == b"OK"
        assert b"evicted_keys:0\r\n" not in c.command("INFO", "stats")


@pytest.mark.skipif(conftest.sanitized(), reason="a sanitizer's memory counts, too")
def test_memory_runs_out_inside_exec(server):
    """Each request fits by itself, all together do not: those answer -OOM in their places."""
    store = server(None, "--memory", "32M")
    value = os.urandom(1 << 20)
    with store.connect() as c:
        replies = c.pipeline([("MULTI",)] + [("SET", "k%d" % i, value) for i in range(12)] + [("EXEC",)])
        assert replies[-1] == [b"OK"] * 12
        assert c.command("DEL", *["k%d" % i for i in range(12)]) == 12
        c.command("MULTI")
        for i in range(60):
            queued = c.command("SET", "k%d" % (i % 40), value)
            if isinstance(queued, resp.RespError):
                break
        text = b"OOM command not allowed when used memory > 'maxmemory'."
        assert queued == text or queued == b"QUEUED"
        result = c.command("EXEC")
        if queued == text:
            assert result == b"EXECABORT Transaction discarded because of previous errors."
        else:
            assert set(result) == {b"OK", text}
        assert c.command("PING") == b"PONG"


@pytest.mark.skipif(conftest.sanitized(), reason="a sanitizer's memory counts, too")
def test_requests_over_the_memory_are_refused_when_they_are_queued(server):
    store = server(None, "--memory", "32M")
    with store.connect() as c:
        c.command("MULTI")
        error = c.command("SETRANGE", "k", 0, b"x" * (31 << 20))
        assert error.startswith(b"OOM ") or error.startswith(b"ERR out of memory"), error
        if error.startswith(b"OOM "):
            assert c.command("EXEC").startswith(b"EXECABORT ")
    with store.connect() as c:
        assert c.pipeline([("MULTI",), ("SET", "k", "v"), ("EXEC",)])[-1] == [b"OK"]


def test_what_may_not_run_inside_exec(empty):
    with empty.connect() as c:
        c.command("MULTI")
        assert c.command("RELOAD") == b"ERR Command not allowed inside a transaction"
        assert c.command("EXEC") == b"EXECABORT Transaction discarded because of previous errors."
        replies = c.pipeline([("MULTI",), ("WAIT", 1, 0), ("MONITOR",), ("SUBSCRIBE", "x")])
        assert replies[1:3] == [b"QUEUED", b"QUEUED"]


def test_a_client_that_goes_leaves_nothing_behind(empty):
    """Its watches are closed: the writers after it run over none of them (ASan would tell)."""
    for _ in range(20):
        with empty.connect() as c:
            c.command("WATCH", *KEYS)
            c.command("MULTI")
            c.command("SET", KEYS[0], "x")
    with empty.connect() as c:
        mset(c, 1)
        assert mget(c) == [b"1"] * len(KEYS)
