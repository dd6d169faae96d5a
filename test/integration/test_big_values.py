"""Goal: values up to 512 MiB are taken and given in full, and not a byte more; large ones neither
stall other clients nor leave memory behind.

Method: values whose bytes are known by their position, sent and received in pieces. Whether others
are served is counted in their requests, not in time.
"""
import threading

import pytest

import resp
from conftest import eventually, sanitized
from test_memory import info

MIB = 1 << 20
LARGEST = 512 * MIB
BLOCK = bytes(range(251)) * 4178  # 1 MiB and a bit, no power of two
TOO_LONG = b"ERR string exceeds maximum allowed size (proto-max-bulk-len)"


def part(start, size):
    """Bytes start.. of the endless repetition of BLOCK."""
    start %= len(BLOCK)
    out = BLOCK[start:start + size]
    while len(out) < size:
        out += BLOCK[:size - len(out)]
    return out


def send_set(client, key, size):
    client.send(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n" % (len(key), key, size))
    for start in range(0, size, len(BLOCK)):
        client.send(part(start, min(len(BLOCK), size - start)))
    client.send(b"\r\n")


def check_get(client, key, size):
    client.send(resp.encode("GET", key))
    assert client.read_line() == b"$%d" % size
    for start in range(0, size, len(BLOCK)):
        step = min(len(BLOCK), size - start)
        assert client.read_bytes(step) == part(start, step)
    assert client.read_bytes(2) == b"\r\n"


@pytest.mark.heavy
def test_largest_value(server):
    running = server(None)
    with running.connect() as client, running.connect() as other:
        before = info(other, "used_memory")
        send_set(client, b"big", LARGEST)
        assert client.read_reply() == b"OK"
        assert other.command("STRLEN", "big") == LARGEST
        # once: not the request's buffer beside the item
        assert info(other, "used_memory") - before < LARGEST + LARGEST // 8
        assert other.command("GETRANGE", "big", 0, 9) == part(0, 10)
        assert other.command("GETRANGE", "big", -10, -1) == part(LARGEST - 10, 10)
        check_get(other, "big", LARGEST)
        for command in (("APPEND", "big", "x"), ("SETRANGE", "big", LARGEST, "x"),
                        ("SETRANGE", "new", LARGEST, "x")):
            assert client.command(*command) == TOO_LONG, command
        assert client.command("SETBIT", "new", LARGEST * 8, 1) == \
            b"ERR bit offset is not an integer or out of range"
        assert client.command("STRLEN", "big") == LARGEST
        assert client.command("SETRANGE", "big", LARGEST - 3, "abc") == LARGEST
        assert client.command("GETRANGE", "big", -5, -1) == part(LARGEST - 5, 2) + b"abc"
        if not sanitized():
            assert running.memory_resident() < 2 * LARGEST + 64 * MIB
        assert client.command("DEL", "big") == 1
        eventually(lambda: info(other, "used_memory") - before < 8 * MIB, "it is given back")


def test_larger_than_the_largest(server):
    running = server(None, "--memory", "64M")
    with running.connect() as client:
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (LARGEST + 1))
        assert client.read_to_end() == b"-ERR Protocol error: invalid bulk length\r\n"
    with running.connect() as client:  # one that could be, but not here: refused before it is sent
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % LARGEST + b"x" * 70000)
        assert client.read_to_end() == b"-ERR out of memory: no room to receive the request\r\n"
    assert running.memory_resident() < 64 * MIB or sanitized()
    assert running.command("EXISTS", "k") == 0


def test_request_limit(server):
    running = server(None, "--request-limit", "1M")
    with running.connect() as client:
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000000\r\n")
        assert client.read_to_end() == b"-ERR Protocol error: too big request\r\n"
    with running.connect() as client:
        assert client.command("SET", "k", b"x" * 900000) == b"OK"
        assert client.command("APPEND", "k", b"y" * 900000) == 1800000  # the value may be larger
        assert client.command("GETRANGE", "k", 899999, 900000) == b"xy"


def test_value_larger_than_free_memory_evicts(server):
    running = server(None, "--memory", "96M", "--max-memory-policy", "allkeys-sieve")
    with running.connect() as client:
        for start in range(0, 100000, 500):
            assert set(client.pipeline([("SET", "k%d" % n, b"v" * 1000)
                                        for n in range(start, start + 500)])) == {b"OK"}
        send_set(client, b"big", 10 * MIB)
        assert client.read_reply() == b"OK"
        check_get(client, "big", 10 * MIB)
        assert info(client, "used_memory") <= 96 * MIB


def count_pings(witness, client_work):
    """PINGs answered one after the other while client_work() runs in a thread."""
    failures = []

    def work():
        try:
            client_work()
        except Exception as failure:  # pylint: disable=broad-except
            failures.append(failure)
    thread = threading.Thread(target=work)
    thread.start()
    count = 0
    while thread.is_alive():
        assert witness.command("PING") == b"PONG"
        count += 1
    thread.join()
    assert not failures, failures
    return count


ROUNDS = 20


@pytest.mark.parametrize("direction", ["in", "out"])
def test_large_values_do_not_stall_others(server, direction):
    """One thread serves both, and goes on serving the other. (How much of a value a turn takes is
    tested where sockets are not in the way: test_server_connection, test_server_output.)"""
    running = server(None, "--threads", 1)
    size = 10 * 1000 * 1000
    with running.connect() as client, running.connect() as witness:
        send_set(client, b"big", size)
        assert client.read_reply() == b"OK"

        def work():
            for _ in range(ROUNDS):
                if direction == "in":
                    send_set(client, b"big", size)
                    assert client.read_reply() == b"OK"
                else:
                    check_get(client, b"big", size)
        assert count_pings(witness, work) > 2 * ROUNDS  # a value in one turn: at most one a round
        check_get(client, b"big", size)
