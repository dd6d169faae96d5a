"""Goal: --memory is a hard cap on everything the server takes, whatever the policy; a full store goes
on being read and takes writes again when there is room; the cap and the policy can be changed while
it runs; what clients do with buffers is counted and bounded too.

Method: stores of some tens of megabytes filled several times over, judged by INFO and by what the
kernel says is resident. RSS_SLACK is what may be resident and is not counted: the heap's own
rounding, thread stacks, and buffers between two of the moments at which they are counted.
"""
import pytest

import resp
from conftest import eventually, sanitized

pytestmark = pytest.mark.threads

MIB = 1 << 20
CAP = 48 * MIB
RSS_SLACK = 10 * MIB
VALUE = b"v" * 1000
OOM = b"OOM command not allowed when used memory > 'maxmemory'."


def info(client, field):
    """A number of INFO."""
    for line in client.command("INFO").split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == field.encode():
            return int(value)
    raise AssertionError("INFO has no " + field)


def key(number, prefix="k"):
    return b"%s:%08d" % (prefix.encode(), number)


def fill_and_list(client, count, prefix="k", first=0, more=()):
    """SET so many keys; returns the numbers of those that were taken, the others having been refused
    with -OOM. Memory comes and goes a little with buffers: not always the first are taken."""
    taken = []
    for start in range(first, first + count, 200):
        numbers = range(start, min(start + 200, first + count))
        for n, reply in zip(numbers, client.pipeline([("SET", key(n, prefix), VALUE) + tuple(more)
                                                      for n in numbers])):
            assert reply in (b"OK", OOM), reply
            if reply == b"OK":
                taken.append(n)
    return taken


def fill(*args, **options):
    """How many were taken."""
    return len(fill_and_list(*args, **options))


def assert_within_cap(running, client, cap=CAP):
    assert info(client, "used_memory") <= cap
    if not sanitized():
        assert running.memory_resident() <= cap + RSS_SLACK


# --- a store that refuses ---

def test_full_store_is_read_and_takes_writes_again(server):
    running = server(None, "--memory", CAP)
    with running.connect() as client:
        numbers = fill_and_list(client, 100000)
        taken = len(numbers)
        assert 0.5 * CAP < taken * len(VALUE) < CAP
        assert_within_cap(running, client)
        assert info(client, "evicted_keys") == 0
        # refused are writes that need memory, of whatever kind
        for command in (("SET", "new", VALUE), ("APPEND", key(0), VALUE * 100),
                        ("MSET", "a", VALUE, "b", VALUE), ("SETRANGE", "new", 100000, "x")):
            reply = client.command(*command)
            assert isinstance(reply, resp.RespError) and reply == OOM, (command, reply)
        # reads are not, also of those who come now
        assert client.command("DBSIZE") == taken
        with running.connect() as newcomer:
            for number in numbers[::997]:
                assert newcomer.command("GET", key(number)) == VALUE
            assert newcomer.command("MGET", *[key(n) for n in range(100)]) == [VALUE] * 100
            # and what needs no memory is done
            half = [key(n) for n in numbers[::2]]
            assert newcomer.command("DEL", *half) == len(half)
        eventually(lambda: client.command("SET", "new", VALUE) == b"OK", "there is room again")
        again = 0

        def taken_again():
            nonlocal again
            again += fill(client, 1000, "again", again)
            return again > taken // 4
        eventually(taken_again, "the memory of deleted keys is used again")
        assert_within_cap(running, client)
        assert client.command("GET", key(1)) == VALUE
        assert client.command("FLUSHALL") == b"OK"
        eventually(lambda: client.command("SET", "new", VALUE) == b"OK", "there is room again")


def test_too_small_a_cap(run_tarn):
    done = run_tarn("serve", "--port", 0, "--http-port", 0, "--memory", "1M")
    assert done.status == 1 and "--memory" in done.err and "few" in done.err, done


def test_tiny_cap_can_be_undone(server):
    """A cap below what is in use locks nobody out. (Small values may still find room in pages.)"""
    running = server(None)
    large = "x" * 5000
    assert running.command("SET", "a", "1") == b"OK"
    assert running.command("CONFIG", "SET", "maxmemory", "1") == b"OK"
    assert running.command("SET", "b", large) == OOM
    assert running.command("GET", "a") == b"1"
    assert running.command("CONFIG", "SET", "maxmemory", "0") == b"OK"
    assert running.command("SET", "b", large) == b"OK"


# --- stores that evict ---

@pytest.mark.parametrize("policy", ["allkeys-sieve", "allkeys-random", "volatile-sieve",
                                    "volatile-ttl", "allkeys-lru", "volatile-random"])
def test_policy_evicts_and_stays_under_the_cap(server, policy):
    running = server(None, "--memory", CAP, "--max-memory-policy", policy)
    expiring = policy.startswith("volatile")
    count = 3 * CAP // len(VALUE)
    with running.connect() as client:
        assert fill(client, 1000, "permanent") == 1000
        more = ("EX", 100000) if expiring else ()
        for start in range(0, count, count // 20):
            size = min(count // 20, count - start)
            assert fill(client, size, "k", start, more) == size  # nothing is refused
            assert_within_cap(running, client)
        assert info(client, "evicted_keys") > count // 3
        eventually(lambda: client.command("DBSIZE") + info(client, "evicted_keys") == count + 1000,
                   "all are there or counted")
        assert client.command("DBSIZE") * len(VALUE) > CAP // 3  # no more went than had to
        if expiring:
            for start in range(0, 1000, 100):
                assert client.command("EXISTS", *[key(n, "permanent")
                                                  for n in range(start, start + 100)]) == 100


def test_what_expires_soonest_goes(server):
    running = server(None, "--memory", CAP, "--max-memory-policy", "volatile-ttl")
    with running.connect() as client:
        assert fill(client, 2000, "late", more=("EX", 3000)) == 2000
        assert fill(client, 100000, more=("EX", 1000)) == 100000
        late = client.command("EXISTS", *[key(n, "late") for n in range(2000)])
        assert late > 1900, "it is chosen among some, so not always right"


def test_volatile_policies_refuse_when_nothing_expires(server):
    running = server(None, "--memory", CAP, "--max-memory-policy", "volatile-sieve")
    with running.connect() as client:
        taken = fill(client, 100000)
        assert 0.5 * CAP < taken * len(VALUE) < CAP
        assert client.command("SET", "new", VALUE) == OOM
        assert client.command("GET", key(0)) == VALUE
        assert info(client, "evicted_keys") == 0


def test_keys_in_use_stay(server):
    """Sieve keeps what is read again and again; reads under NO-TOUCH do not count."""
    running = server(None, "--memory", CAP, "--max-memory-policy", "allkeys-sieve")
    hot, cold = [key(n, "hot") for n in range(500)], [key(n, "cold") for n in range(500)]
    with running.connect() as client, running.connect() as stealthy:
        assert stealthy.command("CLIENT", "NO-TOUCH", "ON") == b"OK"
        assert fill(client, 500, "hot") == 500 and fill(client, 500, "cold") == 500
        for start in range(0, 2 * CAP // len(VALUE), 500):
            client.command("MGET", *hot)
            stealthy.command("MGET", *cold)
            fill(client, 500, "k", start)
        assert client.command("EXISTS", *hot) > 450
        assert client.command("EXISTS", *cold) < 250


# --- while it runs ---

def test_cap_and_policy_change_while_it_runs(server):
    running = server(None)
    with running.connect() as client:
        assert fill(client, 40000) == 40000  # 40 MB without a cap
        assert client.command("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"0"]
        # a cap that is too small refuses, and evicts once that is allowed
        assert client.command("CONFIG", "SET", "maxmemory", "32mb") == b"OK"
        assert client.command("SET", "new", VALUE) == OOM
        assert client.command("DBSIZE") == 40000
        assert client.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") == b"OK"
        assert client.command("CONFIG", "GET", "maxmemory-policy") == \
            [b"maxmemory-policy", b"allkeys-sieve"]
        eventually(lambda: info(client, "used_memory") <= 32 * MIB, "the store shrinks")
        assert fill(client, 1000, "new") == 1000
        # a larger one takes more at once
        assert client.command("CONFIG", "SET", "memory", 64 * MIB, "max-memory-policy",
                              "noeviction") == b"OK"
        evicted = info(client, "evicted_keys")
        assert evicted > 0
        assert fill(client, 10000, "more") == 10000
        assert info(client, "evicted_keys") == evicted
        assert client.command("CONFIG", "SET", "maxmemory-policy", "lru").startswith(
            b"ERR CONFIG SET failed")
        assert client.command("CONFIG", "RESETSTAT") == b"OK"
        assert info(client, "evicted_keys") == 0


# --- buffers ---

@pytest.mark.threads
def test_client_that_never_reads_is_cut(server):
    """It asks for far more than it reads. What is kept for it is bounded; others do not notice."""
    running = server(None, "--memory", CAP, "--output-limit", "4M")
    with running.connect() as witness, running.connect(receive_buffer=4096) as deaf:
        assert witness.command("SET", "value", b"x" * 8000) == b"OK"  # copied, not referenced
        deaf.command("PING")
        deaf.send(resp.encode("GET", "value") * 10000)  # 80 MB of replies

        def cut():
            assert witness.command("GET", "value") == b"x" * 8000
            assert witness.command("INCR", "count") > 0
            assert_within_cap(running, witness)
            return b"connected_clients:1\r\n" in witness.command("INFO", "clients")
        eventually(cut, "the client that does not read is cut")
        assert info(witness, "evicted_clients") == 1


def test_requests_under_way_count(server):
    """Many clients that send most of a large value each: what they have sent is counted, those for
    whom there is no room are told, others go on; all is given back."""
    running = server(None, "--memory", CAP)
    with running.connect() as witness:
        assert witness.command("SET", "k", "v") == b"OK"
        before = info(witness, "used_memory")
        clients = [running.connect() for _ in range(20)]
        refused = 0
        for client in clients:
            try:
                client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$5000000\r\n" + b"x" * 4000000)
            except (ConnectionResetError, BrokenPipeError):
                pass
            assert witness.command("GET", "k") == b"v"
        eventually(lambda: info(witness, "used_memory") > before + 16 * MIB, "it is counted")
        assert_within_cap(running, witness)
        for client in clients:
            client.close()
        eventually(lambda: info(witness, "used_memory") < before + 2 * MIB, "it is given back")
        with running.connect() as client:
            client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$%d\r\n" % (2 * CAP) + b"x" * 100000)
            refused = client.read_to_end()
            assert refused == b"-ERR out of memory: no room to receive the request\r\n"
        assert witness.command("GET", "k") == b"v"
