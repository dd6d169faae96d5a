"""Goal: every count and buffer has a bound, beyond it the client gets a clear error, and nobody
else notices.

Method: raw connections that misbehave in one way each, beside a well-behaved one that must go on
being answered. Protocol errors are compared word for word with Redis 7.
"""
import resource
import socket
import threading

import pytest

import datasets
import resp
from conftest import eventually, raise_file_limit

CONNECTIONS = 10000


# --- connections ---

@pytest.mark.heavy
def test_ten_thousand_idle_connections(server, text_data):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if not raise_file_limit(CONNECTIONS + 200):
        pytest.skip("needs %d open files, the hard limit is %d" % (CONNECTIONS + 200, hard))
    running = server(text_data, "--max-connections", CONNECTIONS + 10)
    with running.connect() as witness:
        assert witness.command("PING") == b"PONG"
        before = running.memory_resident()
        idle = []
        try:
            for number in range(CONNECTIONS):
                client = socket.create_connection(("127.0.0.1", running.port), timeout=60)
                idle.append(client)
                if number % 500 == 499:
                    assert witness.command("GET", "number") == b"1234567890"
            for client in idle:
                client.sendall(b"PING\r\n")
            for client in idle:
                assert client.recv(100) == b"+PONG\r\n"
            eventually(lambda: b"connected_clients:%d\r\n" % (CONNECTIONS + 1)
                       in witness.command("INFO", "clients"), "all are counted")
            # 100 MB: 10 KB for each, its kernel side not counted
            assert running.memory_resident() - before < 100 << 20
            assert witness.command("GET", "big:1m") == datasets.BIG_1M[1]
        finally:
            for client in idle:
                client.close()
        eventually(lambda: b"connected_clients:1\r\n" in witness.command("INFO", "clients"),
                   "all have gone")


def test_over_max_connections(server, text_data):
    running = server(text_data, "--max-connections", 5)
    clients = [running.connect() for _ in range(5)]
    for client in clients:
        assert client.command("PING") == b"PONG"
    with running.connect() as over:
        assert over.read_to_end() == b"-ERR max number of clients reached\r\n"
    for client in clients:
        assert client.command("GET", "number") == b"1234567890"
    clients.pop().close()

    def admitted():
        with running.connect() as client:
            try:
                return client.command("PING") == b"PONG"
            except (resp.Closed, ConnectionResetError, BrokenPipeError):
                return False
    eventually(admitted, "there is room again")
    assert b"rejected_connections:0\r\n" not in clients[0].command("INFO", "stats")
    for client in clients:
        client.close()


def test_few_descriptors(server, text_data):
    """A low limit of open files lowers the number of clients: all of them are answered, the others
    are told, none is left hanging."""
    limit = 80
    running = server(text_data, "--threads", 1, preexec=lambda: resource.setrlimit(
        resource.RLIMIT_NOFILE, (limit, limit)))
    clients = [socket.create_connection(("127.0.0.1", running.port), timeout=60)
               for _ in range(2 * limit)]
    try:
        answers = []
        for client in clients:
            try:
                client.sendall(b"PING\r\n")
                answers.append(client.recv(100))
            except ConnectionError:
                answers.append(b"closed")  # refused, and our PING met a closed socket
        served = answers.count(b"+PONG\r\n")
        told = answers.count(b"-ERR max number of clients reached\r\n")
        assert served >= limit // 4, answers
        assert told > 0 and served + told + answers.count(b"closed") == len(clients), answers
        assert running.file_count() <= limit
    finally:
        for client in clients:
            client.close()
    eventually(lambda: running.command("PING") == b"PONG", "there is room again")


def test_closed_connections_leave_nothing(server, text_data):
    """Clients that vanish at any point of a request or reply leave no file open."""
    running = server(text_data)
    with running.connect() as witness:
        assert witness.command("PING") == b"PONG"
        before = running.file_count()
        for number in range(60):
            client = running.connect(receive_buffer=4096)
            client.send([b"", b"*", b"*2\r\n$3\r\nGET\r\n$6\r\nnum", resp.encode("GET", "number"),
                         resp.encode("GET", "big:10m"), b"GET big:1m\r\n" * 20][number % 6])
            if number % 6 == 4:
                client.read_bytes(100)
            if number % 2:  # a reset instead of an orderly end
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                         b"\1\0\0\0\0\0\0\0")
            client.close()
        eventually(lambda: running.file_count() <= before, "files are closed")
        assert witness.command("GET", "number") == b"1234567890"


# --- slow and deaf clients ---

@pytest.mark.threads
def test_client_that_never_reads_is_cut(server, text_data):
    """It asks for far more than it reads. The server keeps a bounded amount for it, cuts it, and
    answers others meanwhile."""
    running = server(text_data, "--output-limit", "8M")
    before, most = running.memory_resident(), 0
    with running.connect() as witness, running.connect(receive_buffer=4096) as deaf:
        deaf.command("PING")  # it is accepted
        deaf.send(resp.encode("GET", "big:20k") * 5000)  # 100 MB of replies
        assert b"connected_clients:2\r\n" in witness.command("INFO", "clients")

        def cut():
            nonlocal most
            assert witness.command("GET", "number") == b"1234567890"
            most = max(most, running.memory_resident())
            return b"connected_clients:1\r\n" in witness.command("INFO", "clients")
        eventually(cut, "the client that does not read is cut")
        assert most - before < 60 << 20
        assert b"evicted_clients:1\r\n" in \
            witness.command("INFO", "stats")


def test_slow_reader_gets_everything(server, text_data):
    """Reading slowly, in small pieces, is no offence below the limits: every byte arrives."""
    running = server(text_data)
    requests = [("GET", "big:20k"), ("GET", "number"), ("GET", "big:1m"), ("GET", "empty-value"),
                ("STRLEN", "big:10m"), ("GET", "big:20k")] * 3
    with running.connect(receive_buffer=2048) as slow:
        slow.send(b"".join(resp.encode(*r) for r in requests))
        whole = bytearray()
        wanted = sum(len(datasets.BIG_20K[1]) * 2 + len(datasets.BIG_1M[1]) for _ in range(3))
        while len(whole) < wanted:
            piece = slow.socket.recv(1500)
            assert piece
            whole += piece
        slow.pending = whole
        expected = [datasets.BIG_20K[1], b"1234567890", datasets.BIG_1M[1], b"", 10 << 20,
                    datasets.BIG_20K[1]] * 3
        assert [slow.read_reply() for _ in requests] == expected


@pytest.mark.threads
def test_long_pipeline_in_order(text_server, text_data):
    """100,000 requests on one connection, replies read while they are sent."""
    keys = text_data.keys()[:1000]
    with text_server.connect() as client:
        def send():
            for start in range(0, 100000, 1000):
                client.send(b"".join(
                    resp.encode("GET", keys[(start + i) % len(keys)]) if i % 10 else
                    resp.encode("ECHO", start + i) for i in range(1000)))
        sending = threading.Thread(target=send, daemon=True)
        sending.start()
        for number in range(100000):
            reply = client.read_reply()
            wanted = text_data[keys[number % len(keys)]] if number % 10 else b"%d" % number
            assert reply == wanted, number
        sending.join(60)


def test_request_in_single_bytes(text_server, text_data):
    key = datasets.uuid_key(1)
    with text_server.connect() as client:
        for byte in resp.encode("GET", key) + b"GET " + key + b"\r\n":
            client.send(bytes([byte]))
        assert client.read_reply() == client.read_reply() == text_data[key]


def test_idle_client_is_closed(server, data_file):
    running = server(data_file(records=[(b"k", b"v")]), "--timeout", "1")
    with running.connect() as client:
        assert client.command("GET", "k") == b"v"
        assert client.read_to_end() == b""


# --- protocol errors ---

PROTOCOL_ERRORS = [
    (b"*1\r\n+PING\r\n", b"expected '$', got '+'"),
    (b"*-10x\r\n", b"invalid multibulk length"),
    (b"*abc\r\n", b"invalid multibulk length"),
    (b"*99999999999999999999\r\n", b"invalid multibulk length"),
    (b"*2147483648\r\n", b"invalid multibulk length"),
    (b"*1\r\n$-5\r\n", b"invalid bulk length"),
    (b"*1\r\n$x\r\n", b"invalid bulk length"),
    (b"*1\r\n$99999999999999999999\r\n", b"invalid bulk length"),
    (b"*1\r\n$536870913\r\n", b"invalid bulk length"),
    (b"*" + b"1" * 70000, b"too big mbulk count string"),
    (b"*1\r\n$" + b"1" * 70000, b"too big bulk count string"),
    (b"x" * 70000, b"too big inline request"),
    (b"GET \"unbalanced\r\n", b"unbalanced quotes in request"),
]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("sent, text", PROTOCOL_ERRORS,
                         ids=[t.decode().replace(" ", "-") + str(i)
                              for i, (_, t) in enumerate(PROTOCOL_ERRORS)])
def test_protocol_error_closes_only_its_connection(text_server, sent, text, protocol):
    with text_server.connect() as bystander, text_server.connect() as client:
        if protocol == 3:
            client.hello(3)
        # Requests before it are answered, those after it are not.
        client.send(resp.encode("GET", "number") + sent)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_reply() == b"1234567890"
        assert client.read_to_end() == b"-ERR Protocol error: " + text + b"\r\n"
        assert bystander.command("GET", "number") == b"1234567890"


def test_http_on_the_resp_port(text_server):
    """A browser that was tricked into speaking to this port gets nothing done."""
    for first in (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nGET number\r\n",
                  b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET number\r\n"):
        with text_server.connect() as client:
            client.send(first)
            client.socket.shutdown(socket.SHUT_WR)
            assert b"1234567890" not in client.read_to_end()


# --- before AUTH ---

@pytest.fixture
def guarded(server, data_file):
    return server(data_file(records=[(b"k", b"v")]), "--password", "s3cret")


def test_nothing_without_a_password(guarded):
    for request in (("GET", "k"), ("PING",), ("INFO",), ("CONFIG", "GET", "*"), ("SCAN", "0"),
                    ("CLIENT", "LIST"), ("NOSUCH",), ("DBSIZE",), ("RELOAD",), ("SLOWLOG", "GET"),
                    ("COMMAND",), ("RANDOMKEY",), ("SELECT", "0"), ("ECHO", "x")):
        with guarded.connect() as client:
            reply = client.command(*request)
            assert isinstance(reply, resp.RespError), (request, reply)
            assert reply == b"NOAUTH Authentication required." or request == ("NOSUCH",), reply
            assert client.command("AUTH", "wrong") == \
                b"WRONGPASS invalid username-password pair or user is disabled."
            assert client.command("AUTH", "s3cret") == b"OK"
            assert client.command("GET", "k") == b"v"


def test_hello_with_auth(guarded):
    with guarded.connect() as client:
        reply = client.hello(3)
        assert reply.startswith(b"NOAUTH HELLO must be called with the client already "
                                b"authenticated"), reply
        assert client.hello(3, "AUTH", "default", "nope").word == b"WRONGPASS"
        assert client.hello(3, "AUTH", "default", "s3cret", "SETNAME", "me")[b"proto"] == 3
        assert client.command("CLIENT", "GETNAME") == b"me"
        assert client.command("RESET") == b"RESET"
        client.protocol = 2
        assert client.command("GET", "k").word == b"NOAUTH"


def test_small_requests_only_before_auth(guarded):
    """CVE-2021-32675: a stranger cannot make the server reserve memory."""
    with guarded.connect() as client:
        client.send(b"*11\r\n")
        assert client.read_to_end() == \
            b"-ERR Protocol error: unauthenticated multibulk length\r\n"
    with guarded.connect() as client:
        client.send(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n")
        assert client.read_to_end() == b"-ERR Protocol error: unauthenticated bulk length\r\n"
    with guarded.connect() as client:
        assert client.command("AUTH", "s3cret") == b"OK"
        assert len(client.command("MGET", *["k"] * 100)) == 100
        assert client.command("GET", "x" * 20000) is None


@pytest.mark.heavy
def test_output_before_auth_is_bounded(guarded):
    """CVE-2025-21605: error replies to a stranger who does not read them do not pile up."""
    before = guarded.memory_resident()
    with guarded.connect(receive_buffer=4096) as stranger, guarded.connect() as client:
        assert client.command("AUTH", "s3cret") == b"OK"
        stranger.socket.settimeout(1)
        request = resp.encode("GET", "k") * 10000
        try:
            for _ in range(100):  # 26 MB of requests, 38 MB of replies
                stranger.send(request)
        except OSError:
            pass
        eventually(lambda: b"connected_clients:1\r\n" in client.command("INFO", "clients"),
                   "the stranger is cut")
        assert guarded.memory_resident() - before < 10 << 20
