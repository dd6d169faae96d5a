"""Goal: the server starts with a clear answer or a clear error, serves what was in the file when it
started, and stops without losing a reply.

Method: the real program, its exit status and its stderr; data files changed under it. Replies that
must survive a stop are larger than all socket buffers together and are read only after the stop
has begun.
"""
import os
import signal
import socket

import pytest

import datasets
import resp
from conftest import Server, eventually, free_port


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
        return False
    except OSError:
        return True


# --- stopping ---

@pytest.mark.threads
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_finishes_replies_and_exits_0(server, text_data, number):
    """Every request that the server had read when it was told to stop is answered in full."""
    running = server(text_data)
    with running.connect(receive_buffer=65536) as client:
        requests = [("GET", "big:1m")] * 6 + [("GET", "number"), ("GET", "no such key")]
        client.send(b"".join(resp.encode(*r) for r in requests))
        client.read_bytes(10)  # it is answering: the whole batch, one segment, has been read
        client.pending[:0] = b"$1048576\r\n"
        running.signal(number)
        eventually(lambda: refused(running.port), "no new connections are accepted")
        replies = [client.read_reply() for _ in requests]
        assert replies == [datasets.BIG_1M[1]] * 6 + [b"1234567890", None]
        assert client.read_to_end() == b""
    assert running.wait_exit() == 0


def test_stop_closes_idle_clients(server, text_data):
    running = server(text_data)
    clients = [running.connect() for _ in range(20)]
    for client in clients:
        assert client.command("PING") == b"PONG"
    half = running.connect()
    half.send(b"*2\r\n$3\r\nGET\r\n$10")  # a request that will never be complete
    running.signal(signal.SIGTERM)
    for client in clients + [half]:
        assert client.read_to_end() == b""
        client.close()
    assert running.wait_exit() == 0


def test_stop_finishes_an_http_reply(server, text_data):
    running = server(text_data)
    with socket.create_connection(("127.0.0.1", running.http_port), timeout=60) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sendall(b"GET /kv/big%3A10m HTTP/1.1\r\nHost: localhost\r\n\r\n")
        data = client.recv(100)
        running.signal(signal.SIGTERM)
        eventually(lambda: refused(running.port), "no new connections are accepted")
        while not data.endswith(datasets.BIG_10M[1][-1000:]):
            more = client.recv(1 << 18)
            assert more, "cut after %d bytes" % len(data)
            data += more
    head, body = data.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200") and body == datasets.BIG_10M[1]
    assert running.wait_exit() == 0


def test_deaf_client_cannot_keep_it_alive(server, text_data):
    """A client that never reads its reply does not stop the server from stopping."""
    running = server(text_data)
    with running.connect(receive_buffer=4096) as deaf:
        deaf.send(resp.encode("GET", "big:10m") * 3)
        deaf.read_bytes(1)
        running.signal(signal.SIGTERM)
        assert running.wait_exit() == 0


def test_second_signal_does_not_wait_for_replies(tarn, text_data):
    """It stops at once, and its status tells that replies may have been lost."""
    running = Server(text_data.path, text_data.flags)
    with running.connect(receive_buffer=4096) as deaf:
        deaf.send(resp.encode("GET", "big:10m") * 3)
        deaf.read_bytes(1)
        running.signal(signal.SIGTERM)
        eventually(lambda: refused(running.port), "no new connections are accepted")
        running.signal(signal.SIGTERM)
        assert running.wait_exit() == 1
        assert "second signal" in running.log.text()


# --- what is under it may go away ---

@pytest.mark.parametrize("kind", ["text", "binary"])
def test_file_truncated_and_deleted_under_the_server(server, data_file, kind):
    data = data_file(kind)
    running = server(data)
    with running.connect(timeout=120) as client:
        os.truncate(data.path, 0)
        check_all(client, data)
        os.unlink(data.path)
        for name in os.listdir(os.path.dirname(data.path)):
            os.unlink(os.path.join(os.path.dirname(data.path), name))  # the index as well
        check_all(client, data)
        reply = client.command("RELOAD")
        assert isinstance(reply, resp.RespError), reply
        check_all(client, data)


def check_all(client, data):
    keys = data.keys()
    for start in range(0, len(keys), 500):
        part = keys[start:start + 500]
        assert client.command("MGET", *part) == [data[k] for k in part]


# --- starting ---

def test_serves_an_empty_file(server, tmp_path):
    path = tmp_path / "empty"
    path.write_bytes(b"")
    running = server(path)
    with running.connect() as client:
        assert client.command("DBSIZE") == 0
        assert client.command("GET", "a") is None
        assert client.command("GET", "") is None
        assert client.command("RANDOMKEY") is None
        assert client.command("SCAN", "0") == [b"0", []]


def start_fails(run_tarn, *args):
    """`tarn serve` with these arguments must fail with one line; the line."""
    done = run_tarn("serve", *args)
    assert done.status == 1, done
    lines = done.err.splitlines()
    assert len(lines) == 1 and len(lines[0]) > 10, done
    assert done.out == "", done
    return lines[0]


def ports():
    return "--port", free_port(), "--http-port", 0


def test_missing_file(run_tarn, tmp_path):
    path = tmp_path / "absent"
    assert str(path) in start_fails(run_tarn, *ports(), path)


def test_directory_and_device(run_tarn, tmp_path):
    assert "directory" in start_fails(run_tarn, *ports(), tmp_path)
    assert "/dev/zero" in start_fails(run_tarn, *ports(), "/dev/zero")


def test_damaged_record_is_named(run_tarn, tmp_path):
    path = tmp_path / "damaged"
    good = datasets.encode("binary", datasets.plain_records(100))
    path.write_bytes(good + b"\x10\0\0\0short")
    line = start_fails(run_tarn, *ports(), "--format", "binary", path)
    assert str(path) in line and "100" in line and str(len(good)) in line, line
    assert sorted(os.listdir(tmp_path)) == ["damaged"]  # no half index


def test_port_in_use(run_tarn, text_data):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        # by then the index may be there or not: only the last line is about the port
        done = run_tarn("serve", "--port", port, "--http-port", 0, *text_data.flags, text_data.path)
        assert done.status == 1 and "in use" in done.err.splitlines()[-1], done
        assert str(port) in done.err.splitlines()[-1], done
        done = run_tarn("serve", "--port", free_port(), "--http-port", port, *text_data.flags,
                        text_data.path)
        assert done.status == 1 and "in use" in done.err.splitlines()[-1], done
        assert str(port) in done.err.splitlines()[-1], done


def test_port_of_another_server(server, run_tarn, data_file):
    """SO_REUSEPORT, with which the workers share the port, must not let a second server in."""
    data = data_file(records=[(b"k", b"v")])
    running = server(data)
    done = run_tarn("serve", "--port", running.port, "--http-port", 0, data.path)
    assert done.status == 1 and "in use" in done.err.splitlines()[-1], done
    assert running.command("GET", "k") == b"v"


def test_cap_smaller_than_the_data(run_tarn, text_data):
    args = *ports(), "--memory", "1M", *text_data.flags, text_data.path
    line = start_fails(run_tarn, "--data", "memory", *args)
    assert "memory" in line, line
    # left on disk: an index of that kind takes more, too (one of the other kind is told of first)
    done = run_tarn("serve", *args)
    assert done.status == 1 and not done.out, done
    assert "needs" in done.err.splitlines()[-1], done


def test_usage_errors(run_tarn, text_data):
    for args in (["--no-such-flag", text_data.path], ["--port", "70000", text_data.path],
                 ["--port", "x", text_data.path], [text_data.path, "extra"]):
        done = run_tarn("serve", *args)
        assert done.status == 2 and done.err, done


def test_beyond_loopback_needs_a_password(server, run_tarn, data_file):
    data = data_file(records=[(b"k", b"v")])
    done = run_tarn("serve", *ports(), "--bind", "0.0.0.0", data.path)
    assert done.status in (1, 2) and "password" in done.err, done
    running = server(data, "--bind", "0.0.0.0", "--password", "p")
    with running.connect() as client:
        assert client.command("AUTH", "p") == b"OK"
        assert client.command("GET", "k") == b"v"


def test_http_can_be_off(server, data_file):
    running = server(data_file(records=[(b"k", b"v")]), "--http-port", "0")
    assert running.command("GET", "k") == b"v"


def test_config_file_and_flags(server, data_file, tmp_path):
    """A flag wins over the file; the file has the flags' names."""
    port = free_port()
    config = tmp_path / "tarn.conf"
    config.write_text("# comment\nport %d\nmax-connections 77\npassword \"from file\"\n" % port)
    data = data_file(records=[(b"k", b"v")])
    running = server(data, "--config", config, "--max-connections", "78")
    with resp.Connection(running.port) as client:
        assert client.command("AUTH", "from file") == b"OK"
        assert client.command("CONFIG", "GET", "max-connections") == [b"max-connections", b"78"]


def test_file_limit_is_raised(server, data_file):
    """A low soft limit on open files does not bound the connections: the server raises it."""
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 400:
        pytest.skip("the hard limit on open files is %d" % hard)
    running = server(data_file(records=[(b"k", b"v")]),
                     preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)))
    clients = [running.connect() for _ in range(200)]
    for client in clients:
        assert client.command("GET", "k") == b"v"
        client.close()


def test_log_lines(server, data_file):
    """One line an event: time, level, module, event."""
    data = data_file(records=[(b"k", b"v")])
    running = server(data)
    running.command("GET", "k")
    running.stop()
    for line in running.log.text().splitlines():
        words = line.split(" ")
        assert words[0].endswith("Z") and words[0][4] == "-" and "T" in words[0], line
        assert words[1] in ("debug", "info", "warning", "error"), line
