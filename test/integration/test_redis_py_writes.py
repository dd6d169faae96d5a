"""Goal: what redis-py's users write to Redis they can write to tarn: strings with every option,
pipelines, optimistic transactions, locks, several threads with one client.

Method: the calls of redis-py's documentation and then some, with every parser and protocol, on
writable stores; the answers are those that the documentation shows.
"""
import datetime
import threading

import pytest
import redis
from redis.lock import Lock

from redis_py import VERSION, connect  # noqa: F401 (a fixture)


@pytest.fixture
def writable(server):
    return server(None)


@pytest.fixture
def r(connect, writable):  # noqa: F811
    return connect(writable, decode_responses=True)


# --- values ---

def test_set_and_get(r):
    assert r.set("full_name", "john doe") is True and r.exists("full_name") == 1
    assert r.get("full_name") == "john doe"
    assert r.set("full_name", "overridden!") is True and r.get("full_name") == "overridden!"
    assert r.setex("important_key", 100, "important_value") is True
    assert 95 < r.ttl("important_key") <= 100
    assert r.mset({"employee_name": "Adam", "employee_age": 30, "position": "Engineer"}) is True
    assert r.mget("employee_name", "employee_age", "position", "non_existing") == \
        ["Adam", "30", "Engineer", None]
    assert r.delete("employee_name", "employee_age", "no such key") == 2
    r["as an item"] = "x"
    assert r["as an item"] == "x" and "as an item" in r
    del r["as an item"]
    with pytest.raises(KeyError):
        r["as an item"]


def test_every_option_of_set(r):
    assert r.set("a", "1", xx=True) is None and r.set("a", "1", nx=True) is True
    assert r.set("a", "2", nx=True) is None and r.set("a", "2", xx=True) is True
    assert r.set("a", "3", get=True) == "2" and r.set("b", "3", get=True) is None
    assert r.set("a", "4", ex=10) is True and 5 < r.ttl("a") <= 10
    assert r.set("a", "5", keepttl=True) is True and 5 < r.ttl("a") <= 10
    assert r.set("a", "6") is True and r.ttl("a") == -1
    assert r.set("a", "7", px=10000) is True and 5000 < r.pttl("a") <= 10000
    assert r.set("a", "8", ex=datetime.timedelta(minutes=1)) is True and r.ttl("a") > 50
    assert r.set("a", "9", px=datetime.timedelta(minutes=1)) is True and r.pttl("a") > 50000
    assert r.set("a", "10", exat=2000000000) is True and r.expiretime("a") == 2000000000
    assert r.set("a", "11", pxat=2000000000123) is True and r.pexpiretime("a") == 2000000000123
    assert r.set("a", "12", ex=10, nx=True) is None
    assert r.set("a", "12", ex=10, xx=True, get=True) == "11"
    if VERSION >= (4, 5):  # before it, the library did not send them together
        assert r.set("a", "13", nx=True, get=True) == "12" and r.get("a") == "12"
    for wrong in ({"ex": 0}, {"px": -5}):
        with pytest.raises(redis.ResponseError, match="invalid expire time in 'set' command"):
            r.set("a", "x", **wrong)
    assert r.get("a") == "12"


def test_the_family_of_set(r):
    assert r.setnx("a", "1") is True and r.setnx("a", "2") is False
    assert r.psetex("p", 10000, "v") is True and 5000 < r.pttl("p") <= 10000
    assert r.getset("a", "2") == "1"
    assert r.getex("a", ex=100) == "2" and 90 < r.ttl("a") <= 100
    assert r.getex("a", persist=True) == "2" and r.ttl("a") == -1
    assert r.getdel("a") == "2" and r.getdel("a") is None
    assert r.msetnx({"a": "1", "b": "2"}) is True and r.msetnx({"b": "3", "c": "4"}) is False
    assert r.mget(["a", "b", "c"]) == ["1", "2", None]
    assert r.append("a", "23") == 3 and r.strlen("a") == 3
    assert r.setrange("a", 5, "x") == 6 and r.getrange("a", 0, -1) == "123\0\0x"
    assert r.rename("a", "z") is True and r.renamenx("z", "b") is False
    assert r.copy("b", "copy") is True and r.copy("b", "copy") is False
    assert r.copy("z", "copy", replace=True) is True
    assert r.touch("b", "z", "no such key") == 2 and r.unlink("b", "copy") == 2
    assert r.type("z") == "string" and sorted(r.scan_iter()) == ["p", "z"]


def test_binary_values_survive(connect, writable):  # noqa: F811
    r = connect(writable)
    every = bytes(range(256))
    assert r.set(every, every * 5000) is True and r.get(every) == every * 5000
    assert r.set(b"", b"") is True and r.get(b"") == b""
    dump = r.dump(every)
    assert r.restore(b"again", 0, dump) in (b"OK", True) and r.get(b"again") == every * 5000


def test_numbers(r):
    assert r.incr("n") == 1 and r.incr("n", 10) == 11 and r.incrby("n", 5) == 16
    assert r.decr("n") == 15 and r.decr("n", 5) == 10 and r.decrby("n", 20) == -10
    assert r.incrbyfloat("f", 10.5) == 10.5 and r.incrbyfloat("f", 0.1) == 10.6
    assert r.get("f") == "10.6"
    assert r.set("n", 2**63 - 1) is True
    with pytest.raises(redis.ResponseError, match="increment or decrement would overflow"):
        r.incr("n")
    assert r.set("n", "ten") is True
    with pytest.raises(redis.ResponseError, match="value is not an integer or out of range"):
        r.incr("n")
    assert r.get("n") == "ten"


def test_bits(r):
    assert r.setbit("b", 7, 1) == 0 and r.getbit("b", 7) == 1 and r.bitcount("b") == 1
    assert r.bitpos("b", 1) == 7 and r.bitop("NOT", "not", "b") == 1 and r.bitcount("not") == 7
    assert r.bitfield("f").incrby("u8", 0, 250).incrby("u8", 0, 10, "SAT").get("u8", 0).execute() \
        == [250, 255, 255]


def test_expiry(r):
    r.mset({"a": 1, "b": 2})
    assert not r.expire("no such key", 10) and r.expire("a", 10) and 5 < r.ttl("a") <= 10
    assert not r.expire("a", 20, nx=True) and not r.expire("b", 20, xx=True)
    assert r.expire("a", 20, gt=True) and not r.expire("a", 30, lt=True)
    assert r.pexpire("a", 10000) and r.expireat("a", 2000000000)
    assert r.expiretime("a") == 2000000000
    moment = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)
    assert r.pexpireat("a", moment) and r.pexpiretime("a") == int(moment.timestamp()) * 1000
    assert r.persist("a") and r.ttl("a") == -1 and not r.persist("a")
    assert r.pexpire("a", 1)
    while r.exists("a"):
        pass
    assert r.get("a") is None and r.ttl("a") == -2
    assert r.expire("b", -1) and r.exists("b") == 0


# --- pipelines and transactions ---

@pytest.mark.parametrize("transaction", [True, False])
def test_pipeline(r, transaction):
    pipe = r.pipeline(transaction=transaction)
    pipe.set("a", "a value").set("b", "b value").get("a")
    assert pipe.execute() == [True, True, "a value"]
    for _ in range(5000):
        pipe.incr("incr_key")
    assert pipe.get("incr_key").execute()[-1] == "5000"
    # an error is in its place and the others are done
    results = pipe.set("a", "x").incr("a").set("c", "y").execute(raise_on_error=False)
    assert results[0] is True and isinstance(results[1], redis.ResponseError)
    assert results[2] is True and r.mget("a", "c") == ["x", "y"]
    with pytest.raises(redis.ResponseError, match="Command # 2 .* value is not an integer"):
        pipe.set("d", "x").incr("d").execute()
    with pytest.raises(redis.ResponseError, match="it holds strings only"):
        pipe.set("e", "x").lpush("list", "y").execute()
    assert r.exists("e") == (0 if transaction else 1)  # EXECABORT


def test_watch_and_retry(r):
    """The loop of the documentation, disturbed twice."""
    r.set("OUR-SEQUENCE-KEY", 1)
    disturbances = [lambda: r.incr("OUR-SEQUENCE-KEY"), lambda: r.expire("OUR-SEQUENCE-KEY", 100)]
    tries = 0
    with r.pipeline() as pipe:
        while True:
            try:
                tries += 1
                pipe.watch("OUR-SEQUENCE-KEY")
                next_value = int(pipe.get("OUR-SEQUENCE-KEY")) + 1
                if disturbances:
                    disturbances.pop()()
                pipe.multi()
                pipe.set("OUR-SEQUENCE-KEY", next_value)
                assert pipe.execute() == [True]
                break
            except redis.WatchError:
                continue
    assert tries == 3 and r.get("OUR-SEQUENCE-KEY") == "3"
    with r.pipeline() as pipe:
        pipe.watch("OUR-SEQUENCE-KEY")
        r.set("OUR-SEQUENCE-KEY", 5)
        pipe.unwatch()
        assert pipe.set("OUR-SEQUENCE-KEY", 6).execute() == [True]


@pytest.mark.threads
def test_client_side_increments_by_threads(connect, writable):  # noqa: F811
    """transaction() is right however many do it at once, with one client for all."""
    r = connect(writable)
    r.mset({"sequence": 0, "again": 0})

    def increment(pipe):
        value = int(pipe.get("sequence"))
        pipe.multi()
        pipe.set("sequence", value + 1).incr("again")

    def work():
        for _ in range(40):
            r.transaction(increment, "sequence")
    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert r.mget("sequence", "again") == [b"200", b"200"]


# --- locks ---

class TransactionLock(Lock):
    """redis-py's lock, released and extended by WATCH and EXEC instead of by scripts."""

    def register_scripts(self):
        pass

    def _if_mine(self, token, change):
        def do(pipe):
            mine = pipe.get(self.name)
            mine = mine.encode() if isinstance(mine, str) else mine
            pipe.multi()
            if mine == token:
                change(pipe)
        if not self.redis.transaction(do, self.name):
            raise redis.exceptions.LockNotOwnedError("not owned, or no longer")

    def do_release(self, expected_token):
        self._if_mine(expected_token, lambda pipe: pipe.delete(self.name))

    def do_reacquire(self):
        self._if_mine(self.local.token,
                      lambda pipe: pipe.pexpire(self.name, int(self.timeout * 1000)))
        return True


def test_lock_with_transactions(r):
    lock = TransactionLock(r, "lock", timeout=100)
    assert lock.acquire() is True and lock.locked() and lock.owned()
    assert 95000 < r.pttl("lock") <= 100000
    other = r.lock("lock", lock_class=TransactionLock, timeout=100)
    assert other.acquire(blocking=False) is False
    r.pexpire("lock", 50000)
    assert lock.reacquire() is True and r.pttl("lock") > 95000
    lock.release()
    assert not lock.locked() and other.acquire(blocking=False) is True
    r.set("lock", "of somebody else")
    with pytest.raises(redis.exceptions.LockNotOwnedError):
        other.release()
    assert r.get("lock") == "of somebody else"


@pytest.mark.threads
def test_lock_excludes(connect, writable):  # noqa: F811
    """What is read and written in two steps under the lock is not lost."""
    r = connect(writable)
    r.set("n", 0)

    def work():
        for _ in range(20):
            with TransactionLock(r, "lock", timeout=600, sleep=0.001):
                r.set("n", int(r.get("n")) + 1)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert r.get("n") == b"80" and r.exists("lock") == 0


def test_lock_with_scripts_says_what_is_missing(r):
    """redis-py's own lock can be taken, but its release is a script; the error says so."""
    lock = r.lock("lock", timeout=100)
    assert lock.acquire(blocking=False) is True
    with pytest.raises(redis.ResponseError, match="tarn does not serve 'evalsha'"):
        lock.release()


# --- the rest of a client's life ---

def test_full_store_raises_out_of_memory(connect, server):  # noqa: F811
    r = connect(server(None, "--memory", "64M"))
    with pytest.raises(redis.ResponseError, match="command not allowed when used memory"):
        for number in range(80):
            r.set("k%d" % number, b"v" * 1000000)
    assert r.get("k0") == b"v" * 1000000
    assert r.flushall() is True


def test_administration_of_a_writable_store(r):
    r.set("k", "v", ex=1000)
    assert r.info("keyspace")["db0"]["keys"] == 1 and r.info("keyspace")["db0"]["expires"] == 1
    assert r.dbsize() == 1 and r.randomkey() == "k" and r.keys("*") == ["k"]
    assert r.config_set("maxmemory-policy", "allkeys-lru") is True
    assert r.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-sieve"}
    assert r.memory_usage("k") > 2 and r.object("encoding", "k") == "embstr"
    assert r.flushdb() is True and r.flushall(asynchronous=True) is True and r.dbsize() == 0
    assert r.wait(0, 10) == 0


def test_monitor(connect, writable):  # noqa: F811
    r = connect(writable)
    with r.monitor() as monitor:
        r.set("watched by a monitor", "v")
        for event in monitor.listen():
            if "watched" in event["command"]:
                assert event["command"] == "SET watched by a monitor v"
                break
