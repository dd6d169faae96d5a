"""Goal: redis-cli works against tarn in both protocols, its special modes included.

Method: run it as a user would, compare what it prints with the data set, or with what it has
written.
"""
import shutil
import signal
import subprocess
import threading

import pytest

import datasets
import resp
from conftest import TIMEOUT, Output, run

pytestmark = pytest.mark.skipif(shutil.which("redis-cli") is None,
                                reason="redis-cli is not installed")


@pytest.fixture(params=["-2", "-3"])
def cli(request, text_server):
    """cli(args...) -> Finished, under RESP2 and RESP3."""
    flags = ["-3"] if request.param == "-3" else []
    return lambda *args, **options: run(
        ["redis-cli", "-h", "127.0.0.1", "-p", text_server.port] + flags + list(args), **options)


def test_get(cli, text_data):
    key = datasets.uuid_key(3)
    done = cli("GET", key.decode())
    assert done.status == 0 and done.out_bytes == text_data[key] + b"\n" and done.err == ""
    assert cli("GET", "no such key").out == "\n"
    assert cli("GET", "big:10m").out_bytes == datasets.BIG_10M[1] + b"\n"


def test_mget_and_integers(cli, text_data):
    keys = [datasets.uuid_key(i) for i in range(3)]
    done = cli("MGET", *[k.decode() for k in keys])
    assert done.out_bytes == b"".join(text_data[k] + b"\n" for k in keys)
    assert cli("EXISTS", keys[0].decode(), "no such key").out == "1\n"
    assert cli("DBSIZE").out == "%d\n" % len(text_data)
    assert cli("TTL", keys[0].decode()).out == "-1\n"


def test_errors(cli):
    assert cli("SET", "a", "b").out.startswith("READONLY ")
    assert cli("NOSUCH").out.startswith("ERR unknown command 'NOSUCH'")
    assert cli("-e", "GET").status != 0


def test_json(cli):
    if "-3" not in cli("--help").out + cli("--help").err:
        pytest.skip("this redis-cli is too old")
    assert cli("--json", "GET", "number").out.strip() == '"1234567890"'


def test_commands_from_standard_input(cli, text_data):
    keys = text_data.keys()[:200]
    lines = "".join("GET %s\n" % k.decode() for k in keys)
    done = cli(input=lines.encode(), stdin=None)
    assert done.out_bytes == b"".join(text_data[k] + b"\n" for k in keys)


def test_scan(cli, text_data):
    done = cli("--scan", "--pattern", "big:*")
    assert sorted(done.out.split()) == ["big:10m", "big:1m", "big:20k"]
    done = cli("--scan", "--pattern", "????????-????-????-????-*")
    assert sorted(done.out.split()) == sorted(k.decode() for k in text_data.keys()
                                              if len(k) == 36 and k[8:9] == b"-")


def test_bigkeys_and_memkeys(cli):
    done = cli("--bigkeys", "-i", "0")
    assert done.status == 0, done
    assert 'Biggest string found \'"big:10m"\' has %d bytes' % (10 << 20) in done.out, done
    done = cli("--memkeys", "-i", "0")
    assert done.status == 0 and "big:10m" in done.out, done


def test_info_and_command(cli, text_server):
    assert "redis_version:7.2" in cli("INFO", "server").out
    assert int(cli("COMMAND", "COUNT").out) > 20
    assert "summary" in cli("COMMAND", "DOCS", "get").out
    assert cli("CONFIG", "GET", "port").out.split() == ["port", str(text_server.port)]


def test_stat_mode(text_server):
    process = subprocess.Popen(["redis-cli", "-p", str(text_server.port), "--stat", "-i", "0.01"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               stdin=subprocess.DEVNULL)
    output = Output(process.stdout)
    try:
        # keys, memory, clients, blocked, requests: the first row that has figures
        row = output.wait_for(r"^\d+\s+\S+\s+\d+\s+\d+\s+\d+ ")
        assert row, output.text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)
        output.thread.join(TIMEOUT)


def test_latency_and_ping_modes(cli):
    done = cli("-r", "3", "PING")
    assert done.out == "PONG\nPONG\nPONG\n"


def test_password(server, data_file):
    guarded = server(data_file(records=[(b"k", b"v")]), "--password", "s3cret")
    base = ["redis-cli", "-p", guarded.port]
    assert run(base + ["GET", "k"]).out.startswith("NOAUTH Authentication required.")
    assert run(base + ["--no-auth-warning", "-a", "s3cret", "GET", "k"]).out == "v\n"
    assert run(base + ["--no-auth-warning", "-3", "--user", "default", "--pass", "s3cret", "GET",
                       "k"]).out == "v\n"
    wrong = run(base + ["--no-auth-warning", "-a", "wrong", "GET", "k"])
    assert "WRONGPASS" in wrong.out + wrong.err, wrong


# --- the writable store ---

@pytest.fixture(params=["-2", "-3"])
def writer(request, server):
    """As cli, of a writable store of the test's own; writer.server is the server."""
    running = server(None)
    flags = ["-3"] if request.param == "-3" else []

    def call(*args, **options):
        return run(["redis-cli", "-p", running.port] + flags + list(args), **options)
    call.server = running
    return call


def test_set_get_ttl(writer):
    assert writer("SET", "k", "a value", "EX", "1000").out == "OK\n"
    assert writer("GET", "k").out == "a value\n"
    assert 900 < int(writer("TTL", "k").out) <= 1000
    assert writer("PERSIST", "k").out == "1\n" and writer("TTL", "k").out == "-1\n"
    assert writer("SET", "k", "b", "NX").out == "\n"
    assert writer("SET", "k", "b", "XX", "GET").out == "a value\n"
    assert writer("INCRBYFLOAT", "f", "0.1").out == "0.1\n"
    assert writer("INCR", "k").out == "ERR value is not an integer or out of range\n\n"
    assert writer("-x", "SET", "from input", input=b"a\x00\r\nb", stdin=None).out == "OK\n"
    assert writer("GET", "from input").out_bytes == b"a\x00\r\nb\n"
    assert writer("DEL", "k", "f", "no such key").out == "2\n"
    assert writer("DBSIZE").out == "1\n"


def test_transaction_from_standard_input(writer):
    done = writer(input=b"MULTI\nSET a 1\nINCR a\nGET a\nEXEC\n", stdin=None)
    assert done.out == "OK\nQUEUED\nQUEUED\nQUEUED\nOK\n2\n2\n", done


@pytest.mark.threads
def test_mass_insertion(writer):
    count = 20000
    requests = b"".join(resp.encode("SET", b"key:%d" % i, b"value %d" % i) for i in range(count))
    done = writer("--pipe", input=requests, stdin=None)
    assert done.status == 0 and "errors: 0, replies: %d\n" % count in done.out, done
    with writer.server.connect() as client:
        assert client.command("DBSIZE") == count
        for i in range(0, count, 97):
            assert client.command("GET", "key:%d" % i) == b"value %d" % i
    # one that is refused is told and counted, the others are done
    requests = resp.encode("INCR", "key:1") + resp.encode("SET", "last", "x")
    done = writer("--pipe", input=requests, stdin=None)
    assert "ERR value is not an integer or out of range" in done.out + done.err, done
    assert "errors: 1, replies: 2\n" in done.out and writer("GET", "last").out == "x\n", done


@pytest.mark.threads
def test_scan_and_keys_by_size_while_written(writer):
    """--scan, --bigkeys, --memkeys: exact for what stays, whatever else is written meanwhile."""
    with writer.server.connect() as client:
        client.pipeline([("SET", "stays:%d" % i, "v" * (i % 100)) for i in range(3000)])
        client.command("SET", "the biggest", "v" * 300000)
        stop = threading.Event()
        others = threading.Thread(target=write_until, args=(writer.server, stop))
        others.start()
        try:
            found = writer("--scan", "--pattern", "stays:*").out.split()
            assert sorted(found) == sorted("stays:%d" % i for i in range(3000))
            done = writer("--bigkeys")
            assert 'Biggest string found \'"the biggest"\' has 300000 bytes' in done.out, done
            done = writer("--memkeys")
            assert done.status == 0 and "the biggest" in done.out, done
        finally:
            stop.set()
            others.join()


def write_until(running, stop):
    """Write and delete other keys until told to stop."""
    with running.connect() as client:
        start = 0
        while not stop.is_set():
            keys = [b"goes:%d" % i for i in range(start, start + 100)]
            client.command("MSET", *[part for key in keys for part in (key, b"x" * 50)])
            client.command("DEL", *keys)
            start += 100


def test_stat_of_the_writable_store(server):
    running = server(None)
    assert running.command("SET", "k", "v") == b"OK"
    process = subprocess.Popen(["redis-cli", "-p", str(running.port), "--stat", "-i", "0.01"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               stdin=subprocess.DEVNULL)
    output = Output(process.stdout)
    try:
        row = output.wait_for(r"^(\d+)\s+\S+M\s+(\d+)\s+0\s+\d+ \(\+\d+\)\s+\d+")
        assert row and row.group(1) == "1" and row.group(2) == "1", output.text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)
        output.thread.join(TIMEOUT)
