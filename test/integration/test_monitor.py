"""Goal: MONITOR shows what every client executes, word for word as Redis 7, hides secrets, and a
monitor that does not read is cut without anybody else noticing.

Method: a monitor beside clients of a server with several threads; where redis-server is installed,
the lines of both are compared but for time and address.
"""
import re
import socket
import threading

import pytest

import beside_redis
import conftest
import resp

pytestmark = pytest.mark.threads

LINE = re.compile(rb"(\d+)\.(\d{6}) \[0 ([^ \]]+)\]((?: \"(?:[^\"\\]|\\.)*\")+)\Z")

REQUESTS = [
    ["PING"], ["SET", b"a\"b\\\n\r\t\a\b\x01\x7f\xff", ""], ["GET", "a"], ["MGET", "a", "b"],
    ["HELLO", "2"], ["CLIENT", "SETNAME", "x"], ["CLIENT", "ID"], ["CLIENT", "LIST"],
    ["CONFIG", "GET", "port"], ["COMMAND", "COUNT"], ["SLOWLOG", "LEN"], ["INFO", "server"],
    ["nosuch", "x"], ["GET"], ["SET", "k", "v", "bad"],
    ["MULTI"], ["SET", "k", "v"], ["GET", "k"], ["CONFIG", "GET", "port"], ["EXEC"],
    ["MULTI"], ["SET", "k", "w"], ["DISCARD"], ["WATCH", "k"], ["UNWATCH"], ["WAIT", "0", "0"],
    ["HELLO", "3", "AUTH", "default", "secret", "SETNAME", "y"], ["AUTH", "secret"],
    ["AUTH", "default", "secret"], ["CONFIG", "SET", "requirepass", ""], ["ACL", "WHOAMI"],
    ["DEBUG", "SLEEP", "0"], ["RESET"], ["ECHO", "the end"],
]


@pytest.fixture
def store(server):
    return server(None, "--threads", "4")


def monitor(port):
    connection = resp.Connection(port, timeout=conftest.TIMEOUT)
    assert connection.command("MONITOR") == b"OK"
    return connection


def next_command(connection):
    """The shown request: what stands behind the address."""
    line = connection.read_reply()
    match = LINE.match(line)
    assert match, line
    return match.group(4)[1:]


def shown(port):
    """What a monitor sees of REQUESTS."""
    with monitor(port) as watching, beside_redis.RawConnection(port) as client:
        for request in REQUESTS:
            client.command(*request)
        lines = [next_command(watching)]
        while not lines[-1].endswith(b'"the end"'):
            lines.append(next_command(watching))
        return lines


def test_the_same_lines_as_redis(store, tmp_path):
    if not beside_redis.redis_server_command()[1]:
        pytest.skip("no redis-server is installed")
    with beside_redis.running_redis(tmp_path) as port:
        assert shown(store.port) == shown(port)


def test_time_and_address(store):
    with monitor(store.port) as watching, store.connect() as client:
        before = client.command("TIME")
        assert LINE.match(watching.read_reply())
        client.command("GET", "a")
        line = LINE.match(watching.read_reply())
        assert line.group(3).decode() == "%s:%d" % client.socket.getsockname()
        assert int(line.group(1)) >= int(before[0])


def test_secrets_are_not_shown(server):
    store = server(None, "--password", "hunter2")
    with store.connect() as watching, store.connect() as client:
        assert watching.command("AUTH", "hunter2") == b"OK"
        assert watching.command("MONITOR") == b"OK"
        client.command("AUTH", "wrong-hunter2")
        client.command("AUTH", "default", "hunter2")
        client.hello(3, "AUTH", "default", "hunter2")
        client.command("MULTI")
        client.command("AUTH", "hunter2")
        client.command("EXEC")
        lines = [next_command(watching)]
        while lines[-1] != b'"EXEC"':
            lines.append(next_command(watching))
        assert len(lines) == 6
        assert b"hunter2" not in b"".join(lines)


def test_all_clients_of_all_threads_are_shown_in_their_order(store):
    clients, requests = 12, 300

    def work(number):
        with store.connect() as c:
            for start in range(0, requests, 30):
                c.pipeline([("GET", "c%d:%d" % (number, start + i)) for i in range(15)] +
                           [("SET", "c%d:%d" % (number, start + 15 + i), "x") for i in range(15)])

    with monitor(store.port) as one, monitor(store.port) as two:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
        for thread in threads:
            thread.start()
        for watching in (one, two):
            seen = {n: 0 for n in range(clients)}
            for _ in range(clients * requests):
                key = next_command(watching).split(b'"')[3]
                number, index = map(int, key[1:].split(b":"))
                assert index == seen[number]
                seen[number] += 1
        for thread in threads:
            thread.join()


def test_a_monitor_is_told_at_once(store):
    """Trips on: a line that waits until the monitor's thread happens to wake."""
    with monitor(store.port) as watching:
        clients = [store.connect() for _ in range(16)]
        for i, client in enumerate(clients):
            client.command("GET", i)
            assert next_command(watching) == b'"GET" "%d"' % i
        for client in clients:
            client.close()


def test_a_monitor_may_not_use_keys(store):
    with monitor(store.port) as watching:
        assert watching.command("GET", "a") == b"ERR Replica can't interact with the keyspace"
        assert watching.command("SET", "a", "b") == b"ERR Replica can't interact with the keyspace"
        assert watching.command("PING") == b"PONG"
        assert next_command(watching) == b'"PING"'


def test_reset_and_quit_end_it(store):
    with store.connect() as client:
        with monitor(store.port) as watching:
            client.command("GET", "a")
            assert next_command(watching) == b'"GET" "a"'
            assert b" flags=O " in store.command("CLIENT", "LIST", "TYPE", "normal")
            assert watching.command("RESET") == b"RESET"
            client.command("GET", "b")
            assert watching.command("GET", "c") is None  # and no line before it
            assert watching.command("MONITOR") == b"OK"
            client.command("GET", "d")
            assert next_command(watching) == b'"GET" "d"'
            assert watching.command("QUIT") == b"OK"
            assert watching.read_to_end() in (b"", None)
        conftest.eventually(lambda: b" flags=O " not in client.command("CLIENT", "LIST"),
                            "the monitor is gone")


def test_long_requests_are_cut_short(store):
    with monitor(store.port) as watching, store.connect() as client:
        client.command("SET", "a", b"x" * 200000)
        assert next_command(watching) == (
            b'"SET" "a" "' + b"x" * 65536 + b'... (134464 more bytes)"')
        client.command("EXISTS", *[b"\xff" * 60000] * 10)
        line = next_command(watching)
        assert line.endswith(b'\\xff" "... (5 more arguments)"'), line[-100:]


def test_a_monitor_that_does_not_read_is_cut(server):
    """Nobody else waits for it: the client's requests are all answered."""
    store = server(None, "--threads", "2", "--output-limit", "1M")
    slow = resp.Connection(store.port, receive_buffer=4096)
    assert slow.command("MONITOR") == b"OK"
    with store.connect() as client:
        request = [("ECHO", b"x" * 1000)] * 100
        while not store.log.wait_for("client-cut", timeout=0):
            assert client.pipeline(request) == [b"x" * 1000] * 100
        assert client.command("PING") == b"PONG"
        conftest.eventually(lambda: b" flags=O " not in client.command("CLIENT", "LIST"),
                            "the monitor is gone")
    slow.socket.settimeout(conftest.TIMEOUT)
    with pytest.raises((ConnectionError, resp.socket.error, EOFError)):
        while slow.socket.recv(65536):
            pass
        raise EOFError
    slow.close()


def test_monitors_come_and_go_under_load(store):
    """Lists and counts survive: at the end nobody monitors, and requests run together again."""
    stop = threading.Event()

    def work():
        with store.connect() as c:
            while not stop.is_set():
                c.pipeline([("INCR", "n")] * 20)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(60):
        watching = monitor(store.port)
        next_command(watching)
        if i % 3 == 0:
            watching.socket.shutdown(socket.SHUT_RDWR)
        watching.close()
    stop.set()
    for thread in threads:
        thread.join()
    conftest.eventually(lambda: b" flags=O " not in store.command("CLIENT", "LIST"),
                        "all monitors are gone")
