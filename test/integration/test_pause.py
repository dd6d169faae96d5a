"""Goal: requests wait while clients are paused, exactly those that are to wait, and go on after it;
WAIT waits its time; CLIENT UNBLOCK ends it.

Method: real clients on a server of several threads. That a client waits is seen in CLIENT LIST (flag
b), not guessed from time; times are only looked at as lower bounds.
"""
import socket
import threading
import time

import pytest

import conftest
import resp

pytestmark = pytest.mark.threads

FOREVER = 10 ** 9


@pytest.fixture
def store(server):
    return server(None, "--threads", "4", "--enable-debug-command", "yes")


@pytest.fixture
def admin(store):
    with store.connect() as connection:
        yield connection


def wait_until_waiting(admin, count):
    """UNPAUSE and CLIENT UNBLOCK are for others than these to ask."""
    def waiting():
        lines = server_list(admin)
        return sum(b" flags=b " in line or b" flags=xb " in line for line in lines) == count
    conftest.eventually(waiting, "%d clients wait" % count)


def server_list(admin):
    return admin.command("CLIENT", "LIST").split(b"\n")


def has_reply(connection):
    connection.socket.setblocking(False)
    try:
        return len(connection.socket.recv(1, socket.MSG_PEEK)) > 0
    except BlockingIOError:
        return False
    finally:
        connection.socket.settimeout(conftest.TIMEOUT)


def test_writes_wait_and_reads_do_not(store, admin):
    with store.connect() as reader, store.connect() as writer:
        assert writer.command("SET", "k", "1") == b"OK"
        assert admin.command("CLIENT", "PAUSE", FOREVER, "WRITE") == b"OK"
        writer.send(resp.encode("SET", "k", "2"))
        wait_until_waiting(admin, 1)
        assert reader.command("GET", "k") == b"1"
        assert reader.pipeline([("MULTI",), ("GET", "k"), ("EXEC",)])[-1] == [b"1"]
        assert not has_reply(writer)
        assert admin.command("CLIENT", "UNPAUSE") == b"OK"
        assert writer.read_reply() == b"OK"
        assert reader.command("GET", "k") == b"2"


def test_every_kind_of_write_waits(store, admin):
    """Also one whose name the server has met before, which skips most of admission."""
    requests = [("SET", "k", "1"), ("DEL", "k"), ("MSET", "a", "1"), ("INCR", "n"), ("FLUSHALL",),
                ("EXPIRE", "k", "1"), ("GETDEL", "k"), ("SETBIT", "b", "1", "1")]
    connections = [store.connect() for _ in requests]
    for connection, request in zip(connections, requests):
        connection.command(*request)
    admin.command("CLIENT", "PAUSE", FOREVER, "WRITE")
    for connection, request in zip(connections, requests):
        connection.send(resp.encode(*request))
    wait_until_waiting(admin, len(requests))
    assert not any(has_reply(c) for c in connections)
    assert (b"blocked_clients:%d\r\n" % len(requests)) in admin.command("INFO", "clients")
    admin.command("CLIENT", "UNPAUSE")
    for connection in connections:
        assert not isinstance(connection.read_reply(), resp.RespError)
        connection.close()


def test_a_transaction_that_writes_waits(store, admin):
    with store.connect() as c, store.connect() as late:
        c.pipeline([("MULTI",), ("GET", "k"), ("SET", "k", "1")])
        admin.command("CLIENT", "PAUSE", FOREVER, "WRITE")
        c.send(resp.encode("EXEC"))
        wait_until_waiting(admin, 1)
        assert late.command("MULTI") == b"OK"
        late.send(resp.encode("SET", "k", "2") + resp.encode("EXEC"))  # waits when it is queued
        wait_until_waiting(admin, 2)
        admin.command("CLIENT", "UNPAUSE")
        assert c.read_reply() in ([None, b"OK"], [b"2", b"OK"])  # whoever was first
        assert [late.read_reply(), late.read_reply()] == [b"QUEUED", [b"OK"]]


def test_all_requests_wait_in_their_order(store):
    """Later ones of a pipeline wait, too; UNPAUSE alone is served."""
    with store.connect() as admin, store.connect() as c, store.connect() as unknown:
        assert admin.command("CLIENT", "PAUSE", FOREVER) == b"OK"
        c.send(b"".join(resp.encode("INCR", "n") for _ in range(1000)) + resp.encode("GET", "n"))
        unknown.send(resp.encode("nosuch"))
        assert unknown.read_reply().startswith(b"ERR unknown command")  # told at once, as by Redis
        admin.send(resp.encode("PING"))
        with store.connect() as other:
            assert other.command("CLIENT", "UNPAUSE") == b"OK"
        assert admin.read_reply() == b"PONG"
        assert [c.read_reply() for _ in range(1000)] == list(range(1, 1001))
        assert c.read_reply() == b"1000"


def test_the_time_passes(store):
    with store.connect() as c:
        start = time.monotonic()
        assert c.command("CLIENT", "PAUSE", 300, "ALL") == b"OK"
        assert c.command("PING") == b"PONG"
        assert time.monotonic() - start >= 0.3
        assert c.command("SET", "k", "v") == b"OK"


def test_a_pause_is_widened_and_never_narrowed(store, admin):
    with store.connect() as c:
        assert admin.command("CLIENT", "PAUSE", FOREVER, "WRITE") == b"OK"
        assert admin.command("CLIENT", "PAUSE", 0, "WRITE") == b"OK"
        c.send(resp.encode("SET", "k", "v"))
        wait_until_waiting(admin, 1)
        assert admin.command("CLIENT", "PAUSE", 0, "ALL") == b"OK"
        with store.connect() as reader:
            reader.send(resp.encode("GET", "k"))
            assert not has_reply(c)
            assert admin.command("CLIENT", "UNPAUSE") == b"OK"
            assert reader.read_reply() in (None, b"v")
        assert c.read_reply() == b"OK"


def test_nothing_is_written_after_the_answer(store, admin):
    """Trips on: a worker that is in the middle of a pipeline when the pause begins. Reads after
    PAUSE's answer all see the same. Changing a part of a large value that was just read copies it,
    which makes the pipelines long."""
    stop = threading.Event()
    data = b"".join(resp.encode("GETRANGE", "big", 0, 0) + resp.encode("SETRANGE", "big", 0, "y") +
                    resp.encode("INCR", "n") for _ in range(100))
    admin.command("SETRANGE", "big", 200000, "x")
    failures = []

    def write():
        with store.connect() as c:
            while not stop.is_set():
                try:
                    c.send(data)
                    for _ in range(300):
                        c.read_reply()
                except Exception as failure:
                    failures.append(failure)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    before = None
    for _ in range(10):
        conftest.eventually(lambda: admin.command("GET", "n") != before, "writers go on")
        assert admin.command("CLIENT", "PAUSE", FOREVER, "WRITE") == b"OK"
        values = {admin.command("GET", "n") for _ in range(20)}
        assert len(values) == 1
        before = values.pop()
        assert admin.command("CLIENT", "UNPAUSE") == b"OK"
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_large_request_waits_whole(store, admin):
    value = bytes(range(256)) * 4096
    with store.connect() as c:
        admin.command("CLIENT", "PAUSE", FOREVER, "WRITE")
        c.send(resp.encode("SET", "big", value) + resp.encode("GET", "big"))
        wait_until_waiting(admin, 1)
        admin.command("CLIENT", "UNPAUSE")
        assert c.read_reply() == b"OK"
        assert c.read_reply() == value


def test_expiry_stays_exact_during_a_pause(store, admin):
    admin.command("SET", "k", "v", "PX", 50)
    admin.command("CLIENT", "PAUSE", FOREVER, "WRITE")
    conftest.eventually(lambda: admin.command("GET", "k") is None, "k expires")
    admin.command("CLIENT", "UNPAUSE")


def test_who_goes_while_waiting_has_done_nothing(store, admin):
    admin.command("CLIENT", "PAUSE", FOREVER, "WRITE")
    for ending in (socket.SHUT_WR, socket.SHUT_RDWR):
        with store.connect() as c:
            c.send(resp.encode("SET", "k", "v"))
            wait_until_waiting(admin, 1)
            c.socket.shutdown(ending)
            wait_until_waiting(admin, 0)
    with store.connect() as c:
        c.send(resp.encode("SET", "k", "v"))
        wait_until_waiting(admin, 1)
        identity = [dict(p.split(b"=", 1) for p in line.split()) for line in server_list(admin)
                    if b" flags=b " in line][0][b"id"]
        assert admin.command("CLIENT", "UNBLOCK", identity) == 0  # it is no WAIT
        assert admin.command("CLIENT", "KILL", "ID", identity) == 1
        wait_until_waiting(admin, 0)
    admin.command("CLIENT", "UNPAUSE")
    assert admin.command("EXISTS", "k") == 0


def test_the_server_stops_during_a_pause(server):
    store = server(None, "--threads", "2")
    with store.connect() as admin, store.connect() as writer, store.connect() as waiter:
        admin.command("CLIENT", "PAUSE", FOREVER, "WRITE")
        writer.send(resp.encode("SET", "k", "v"))
        waiter.send(resp.encode("WAIT", 1, 0))
        wait_until_waiting(admin, 2)
        store.stop()
        assert writer.read_to_end() == b""  # not executed, and not said to be
        assert waiter.read_to_end() in (b"", b":0\r\n")


# --- WAIT, CLIENT UNBLOCK, DEBUG SLEEP ---

def test_wait_waits_its_time(store):
    with store.connect() as c, store.connect() as other:
        assert c.command("WAIT", 0, 0) == 0
        start = time.monotonic()
        c.send(resp.encode("WAIT", 1, 200) + resp.encode("PING"))
        assert other.command("PING") == b"PONG"
        assert c.read_reply() == 0
        assert time.monotonic() - start >= 0.2
        assert c.read_reply() == b"PONG"
        assert c.command("WAITAOF", 0, 1, 1) == [0, 0]
        assert c.command("WAITAOF", 1, 0, 0) == (
            b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")


def test_waits_end_in_the_order_of_their_times(store):
    with store.connect() as long, store.connect() as short:
        start = time.monotonic()
        long.send(resp.encode("WAIT", 1, 400))
        short.send(resp.encode("WAIT", 1, 50))
        assert short.read_reply() == 0
        assert time.monotonic() - start >= 0.05
        assert long.read_reply() == 0
        assert time.monotonic() - start >= 0.4


@pytest.mark.parametrize("request_, timed_out", [(("WAIT", 1, 0), 0), (("WAITAOF", 0, 1, 0), [0, 0])])
def test_unblock(store, admin, request_, timed_out):
    with store.connect() as c:
        identity = c.command("CLIENT", "ID")
        assert admin.command("CLIENT", "UNBLOCK", identity) == 0
        for words, reply in (((), timed_out), (("TIMEOUT",), timed_out),
                             (("ERROR",), b"UNBLOCKED client unblocked via CLIENT UNBLOCK")):
            c.send(resp.encode(*request_))
            wait_until_waiting(admin, 1)
            assert admin.command("CLIENT", "UNBLOCK", identity, *words) == 1
            assert c.read_reply() == reply
            assert admin.command("CLIENT", "UNBLOCK", identity, *words) == 0
            wait_until_waiting(admin, 0)  # the count follows the reply


def test_clients_that_wait_for_ever_may_go(store, admin):
    clients = [store.connect() for _ in range(20)]
    for client in clients:
        client.send(resp.encode("WAIT", 1, 0))
    wait_until_waiting(admin, 20)
    for client in clients:
        client.close()
    wait_until_waiting(admin, 0)


def test_no_reply_is_wanted(store, admin):
    with store.connect() as c:
        c.send(resp.encode("CLIENT", "REPLY", "SKIP") + resp.encode("WAIT", 1, 20))
        assert c.command("PING") == b"PONG"
        c.send(resp.encode("CLIENT", "REPLY", "SKIP"))
        admin.command("CLIENT", "PAUSE", FOREVER, "WRITE")
        c.send(resp.encode("SET", "k", "v") + resp.encode("GET", "k"))
        wait_until_waiting(admin, 1)
        admin.command("CLIENT", "UNPAUSE")
        assert c.read_reply() == b"v"  # the SET's was skipped, when it was executed at last


def test_debug_sleep(store):
    """The client waits, others do not."""
    with store.connect() as c, store.connect() as other:
        start = time.monotonic()
        c.send(resp.encode("DEBUG", "SLEEP", "0.15"))
        assert other.command("PING") == b"PONG"
        assert c.read_reply() == b"OK"
        assert time.monotonic() - start >= 0.15
        for seconds in ("0", "-1", "nan", "x"):
            assert c.command("DEBUG", "SLEEP", seconds) == b"OK"


def test_debug(store, admin):
    assert admin.command("DEBUG", "OBJECT", "k") == b"ERR no such key"
    admin.command("SET", "k", "value")
    assert b" encoding:embstr serializedlength:6 " in admin.command("DEBUG", "OBJECT", "k")
    assert admin.command("DEBUG", "STRINGMATCH-LEN", "a*", "abc") == 1
    assert admin.command("DEBUG", "STRINGMATCH-LEN", "b*", "abc") == 0
    assert admin.command("DEBUG", "SET-ACTIVE-EXPIRE", "0") == b"OK"
    assert admin.command("DEBUG", "SET-ACTIVE-EXPIRE", "1") == b"OK"
    assert admin.command("DEBUG", "JMAP") == (
        b"ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP.")
    assert len(admin.command("DEBUG", "HELP")) == 11


@pytest.mark.parametrize("allowed, answer", [("local", b"OK"), ("yes", b"OK"),
                                             ("no", b"ERR DEBUG command not allowed.")])
def test_who_may_debug(server, allowed, answer):
    store = server(None, "--enable-debug-command", allowed)
    assert store.command("DEBUG", "SLEEP", "0").startswith(answer)
    assert store.command("CONFIG", "GET", "enable-debug-command")[1] == allowed.encode()


def test_functions_and_scripts_are_flushed(store, admin):
    for mode in ((), ("ASYNC",), ("SYNC",)):
        assert admin.command("FUNCTION", "FLUSH", *mode) == b"OK"
        assert admin.command("SCRIPT", "FLUSH", *mode) == b"OK"
    assert admin.command("FUNCTION", "FLUSH", "x") == (
        b"ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    assert admin.command("FUNCTION", "LOAD", "x") == (
        b"ERR tarn does not serve 'function|load': it runs no scripts")


def test_acl_does_not_show_the_password(server):
    store = server(None, "--password", "hunter2")
    with store.connect() as c:
        c.command("AUTH", "hunter2")
        assert c.command("ACL", "LIST") == [b"user default on #(redacted) ~* &* +@all"]
        user = c.command("ACL", "GETUSER", "default")
        assert user[:4] == [b"flags", [b"on"], b"passwords", [b"(redacted)"]]
        assert set(c.command("ACL", "CAT", "transaction")) == {
            b"multi", b"exec", b"discard", b"watch", b"unwatch"}
        passwords = {c.command("ACL", "GENPASS") for _ in range(10)}
        assert len(passwords) == 10 and all(len(p) == 64 for p in passwords)
        assert len(c.command("ACL", "GENPASS", 5)) == 2
