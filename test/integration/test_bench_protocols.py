"""Goal: tarn bench over HTTP, over memcached's text protocol and in process measures and verifies
as it does over RESP.

Method: tarn's own server, memcached if it is installed, and servers written here that answer in
ways that are rare but allowed.
"""
import os
import shutil
import subprocess

import pytest

import conftest
import datasets
from bench_program import keys_of
from bench_servers import Close, HttpServer, MemcachedServer, http_response

RECORDS = 1000
LOADED = ("--records", RECORDS, "--load", "--verify")


@pytest.fixture
def served(data_file, server):
    """(data, server): 3,000 records served by tarn."""
    records = [(datasets.uuid_key(i), datasets.printable(str(i), 200)[:i % 200])
               for i in range(3000)]
    data = data_file("text", records)
    return data, server(data)


# --- HTTP ---

@pytest.mark.parametrize("connections", [1, 10, 100])
def test_http_of_tarn(bench, served, connections):
    """The issue's 1, 10 and 100 users. Catches: bodies that are mixed up between connections."""
    data, started = served
    result = bench("--http", started.http_url, *keys_of(data), "--verify", "--requests",
                   3000, "--distribution", "sequential", "--connections", connections)
    assert result.hits == result.total_ops == 3000
    assert result.misses == result.wrong == result.errors == 0


def test_http_missing_keys(bench, served):
    """404 is a miss, not an error."""
    data, started = served
    result = bench("--http", started.http_url, *keys_of(data), "--verify", "--requests",
                   20000, "--missing-ratio", 0.25, "--connections", 10)
    assert abs(result.misses / 20000 - 0.25) < 0.015
    assert result.misses == result.misses_expected and result.errors == result.wrong == 0


def test_http_nasty_keys(bench, server, data_file):
    """Keys of all bytes, percent-encoded. Catches: encodings that our server reads otherwise. The
    empty key has no URL of its own, and the longest is too long for one."""
    nasty = [(key, value) for key, value in datasets.NASTY_BINARY_RECORDS if 0 < len(key) < 1000]
    data = data_file("binary", nasty + datasets.plain_records(100) + datasets.BIG_RECORDS)
    result = bench("--http", server(data).http_url, *keys_of(data), "--verify",
                   "--requests", len(data), "--distribution", "sequential", "--connections", 4)
    assert result.hits == len(data) and result.wrong == result.misses == 0


def test_http_open_loop_and_url_with_a_place_for_the_key(bench, served):
    data, started = served
    result = bench("--http", started.http_url + "/kv/{key}", *keys_of(data), "--verify",
                   "--rate", 1000, "--requests", 500)
    assert result.hits == 500 and result.wrong == 0


def test_http_fields(bench, fake):
    """Catches: a Host field without the port, a path that is not the one asked for."""
    server = fake(HttpServer, prefix=b"/store/v1/")
    bench("--http", "http://%s/store/v1/{key}" % server.address, *LOADED, "--requests", 500)
    assert server.host.decode() == server.address
    assert server.counts == {"PUT": RECORDS, "GET": 500}


def chunked(server, connection, words):
    value = server.store.get(words[1])
    if words[0] != b"GET" or value is None:
        return None
    cut = len(value) // 3
    pieces = b"".join(b"%x;name=x\r\n%s\r\n" % (len(piece), piece)
                      for piece in (value[:cut], value[cut:]) if piece)
    return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces +
            b"0\r\nTrailer: x\r\n\r\n")


def test_http_chunked_bodies(bench, fake):
    """Catches: chunk headers or trailers taken for the value."""
    server = fake(HttpServer, answer=chunked)
    result = bench("--http", "http://" + server.address, *LOADED, "--requests", 2000,
                   "--connections", 5)
    assert result.hits == 2000 and result.wrong == 0


def test_http_connection_close(bench, fake):
    """Every third answer closes its connection. Catches: requests that are lost or sent twice, a
    new connection that is not opened."""
    def answer(server, connection, words):
        connection.state = (connection.state or 0) + 1
        if connection.state > 3:
            raise Close()
        if words[0] == b"GET" and connection.state == 3:
            return http_response(200, server.store[words[1]], [b"Connection: close"])
        return None
    server = fake(HttpServer)
    bench("--http", "http://" + server.address, "--records", RECORDS, "--load-only")
    store = server.store
    server = fake(HttpServer, store=store, answer=answer)
    result = bench("--http", "http://" + server.address, "--records", RECORDS, "--verify",
                   "--requests", 600, "--connections", 4)
    assert result.hits == result.total_ops == 600 and result.wrong == 0
    assert server.count == 600 and server.connections >= 200


def test_http_errors_are_counted_by_status(bench, fake):
    """404s are misses, 503s errors. Catches: a 503's body taken for a value."""
    def answer(server, connection, words):
        number = server.counts["GET"]
        if words[0] == b"GET" and number % 10 == 0:
            return http_response(503, b"come back later", reason=b"Service Unavailable")
        if words[0] == b"GET" and number % 10 == 1:
            return http_response(404, b"not here", reason=b"Not Found")
        return None
    server = fake(HttpServer, answer=answer)
    result = bench("--http", "http://" + server.address, *LOADED, "--requests", 1000, status=1)
    assert result.errors == 100 and result.misses == 100 and result.hits == 800
    assert result.total_ops == 900 and result.wrong == 0
    assert result.error_texts == {"HTTP 503 Service Unavailable": 100}


def test_http_wrong_value(bench, fake):
    def answer(server, connection, words):
        if server.counts["GET"] == 77:
            return http_response(200, server.store[words[1]][:-1])
        return None
    server = fake(HttpServer, answer=answer)
    result = bench("--http", "http://" + server.address, *LOADED, "--requests", 500, status=1)
    assert result.wrong == 1


def test_http_not_http(bench, fake):
    def answer(server, connection, words):
        return b"-ERR this is Redis\r\n" if server.counts["GET"] == 50 else None
    server = fake(HttpServer, answer=answer)
    result = bench("--http", "http://" + server.address, *LOADED, "--requests", 500,
                   "--connections", 1, "--timeout", "1s", status=1)
    assert server.address in result.finished.err and result.finished.err.count("\n") == 1
    assert result.total_ops == 49 and result.complete is False


# --- memcached ---

@pytest.mark.parametrize("batch", [1, 10])
def test_memcached_written_here(bench, fake, batch):
    """Keys that are not there are left out of the answer. Catches: values given to the wrong key of
    a batch when one before it is missing."""
    server = fake(MemcachedServer)
    result = bench("--memcached", server.address, *LOADED, "--requests", 3000, "--batch", batch,
                   "--missing-ratio", 0.25, "--pipeline", 4)
    assert result.total_ops == result.hits + result.misses == 3000 * batch
    assert result.misses == result.misses_expected
    assert abs(result.misses / result.total_ops - 0.25) < 0.04
    assert result.wrong == result.errors == 0
    assert server.counts["get"] == 3000 and len(server.store) == RECORDS


def test_memcached_errors(bench, fake):
    def answer(server, connection, words):
        if words[0] != b"get":
            return None
        return b"SERVER_ERROR out of memory\r\n" if server.counts["get"] % 4 == 0 else None
    server = fake(MemcachedServer, answer=answer)
    result = bench("--memcached", server.address, *LOADED, "--requests", 1000, status=1)
    assert result.error_texts == {"SERVER_ERROR out of memory": 250}
    assert result.hits == result.total_ops == 750


def test_memcached_wrong_value(bench, fake):
    def answer(server, connection, words):
        if words[0] != b"get" or server.counts["get"] != 33:
            return None
        value = server.store[words[1]][:-1] + b"~"
        return b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (words[1], len(value), value)
    server = fake(MemcachedServer, answer=answer)
    assert bench("--memcached", server.address, *LOADED, "--requests", 500, status=1).wrong == 1


def test_memcached_itself(bench, tmp_path):
    unpacked = os.path.join(conftest.ROOT, "build/bench/peers/memcached/usr/bin/memcached")
    program = shutil.which("memcached") or (unpacked if os.path.exists(unpacked) else None)
    if not program:
        pytest.skip("memcached is not installed (nor unpacked by bench/compare)")
    port = conftest.free_port()
    user = ["-u", "root"] if conftest.os.geteuid() == 0 else []
    process = subprocess.Popen([program, "-l", "127.0.0.1", "-p", str(port), "-U", "0"] + user,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        conftest.eventually(lambda: process.poll() is not None or answers(port), "it listens")
        assert process.poll() is None
        for workload in "abcdf":
            result = bench("--memcached", "127.0.0.1:%d" % port, "--records", 5000, "--load",
                           "--verify", "--workload", workload, "--requests", 10000, "--pipeline", 4)
            assert result.total_ops == 10000
            assert result.wrong == result.errors == result.misses == 0
        result = bench("--memcached", "127.0.0.1:%d" % port, "--records", 5000, "--verify",
                       "--batch", 20, "--requests", 1000, "--missing-ratio", 0.2)
        assert result.misses == result.misses_expected > 0 and result.wrong == 0
    finally:
        process.terminate()
        process.wait()


def answers(port):
    try:
        with conftest.socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


# --- in process ---

def test_embedded_file(bench, text_data):
    """Every record once. Catches: a store that answers from another place than the file."""
    result = bench("--embedded", text_data.path, *text_data.flags, "--verify", "--distribution",
                   "sequential", "--requests", len(text_data))
    assert result.hits == result.total_ops == len(text_data)
    assert result.misses == result.wrong == 0
    assert result.value_bytes == sum(map(len, text_data.answers.values()))


def test_embedded_file_with_threads_batches_and_missing_keys(bench, text_data):
    result = bench("--embedded", text_data.path, *text_data.flags, "--verify", "--threads", 2,
                   "--batch", 16, "--requests", 2000, "--missing-ratio", 0.25)
    assert result.total_ops == 2000 * 16
    assert result.misses == result.misses_expected and result.wrong == 0
    assert abs(result.misses / result.total_ops - 0.25) < 0.01
    assert result.generator["threads"] == 2


def test_embedded_memory(bench):
    result = bench("--embedded", "memory", "--records", 20000, "--workload", "c", "--verify",
                   "--requests", 50000, "--threads", 2)
    assert result.hits == result.total_ops == 50000 and result.wrong == 0
    assert result.total_ops_per_sec > 10000
    assert 0 < result.latency_us["p50"] < 1000


@pytest.mark.parametrize("workload", ["a", "b", "d", "e", "f", "set", "mixed"])
def test_embedded_memory_is_written(bench, workload):
    """Catches: writes that go nowhere or store other bytes, scans that see nothing."""
    result = bench("--embedded", "memory", "--records", 5000, "--workload", workload, "--verify",
                   "--requests", 20000, "--threads", 2)
    assert result.wrong == 0 and result.misses == 0
    assert result.total_ops >= 20000


DIALS = [("none",), ("async", "--queue-depth", 100), ("periodic", "--write-period-us", 2000),
         ("commit", "--log-format", "cbor"), ("async", "--log-files", 3, "--log-format", "json")]


@pytest.mark.parametrize("dial", DIALS, ids=lambda dial: " ".join(map(str, dial)))
def test_embedded_directory(bench, tmp_path, dial):
    """A new directory is loaded and written, and read again by the next run. Catches: a dial that does
    not reach the store, a log that is not counted, records that are gone afterwards."""
    options = ("--records", 2000, "--durability", *dial, "--verify", "--threads", 2)
    result = bench("--embedded", "dir:%s" % (tmp_path / "store"), *options, "--workload", "mixed",
                   "--requests", 5000, "--batch", 4)
    assert result.load["ops"] == 2000 and result.hits > 0
    assert result.misses == result.wrong == 0
    assert result.settings["durability"] == dial[0]
    log = result.log
    writes = result.total_ops - result.hits
    if dial[0] == "none":
        assert log["records"] == log["bytes"] == log["syncs"] == 0
        return
    assert log["records"] == writes and log["bytes"] > writes * 80
    assert result.process["cpu_s"] > 0
    if dial[0] == "commit":
        assert log["syncs"] > 0 and log["sync_s"] > 0
    again = bench("--embedded", tmp_path / "store", *options, "--distribution", "sequential",
                  "--requests", 2000)
    assert again.load is None
    assert again.hits == 2000 and again.wrong == 0 and again.log["records"] == 0


def test_embedded_directory_of_somebody_else(bench, tmp_path):
    """Catches: test data in a store that is used."""
    store = tmp_path / "store"
    options = ("--records", 100, "--requests", 100)
    bench("--embedded", "dir:%s" % store, *options)
    (store / "TARN-BENCH").unlink()
    before = sorted((f.name, f.read_bytes()) for f in store.iterdir())
    result = bench("--embedded", store, *options, "--load", status=1)
    assert "did not make" in result.finished.err and result.finished.err.count("\n") == 1
    assert sorted((f.name, f.read_bytes()) for f in store.iterdir()) == before
    bench("--embedded", "memory", *options, "--durability", "commit", status=2)


def test_embedded_none_is_the_generator_alone(bench):
    result = bench("--embedded", "none", "--records", 20000, "--duration", "300ms")
    assert result.hits == result.total_ops > 10000
    assert result.total_ops_per_sec > 100000
    result = bench("--embedded", "none", "--records", 20000, "--verify", status=2)
    assert "--verify" in result.finished.err and result.finished.err.count("\n") == 1


def test_embedded_open_loop(bench):
    result = bench("--embedded", "memory", "--records", 1000, "--rate", 5000, "--duration", "500ms")
    assert abs(result.total_ops - 2500) <= 4


@pytest.mark.parametrize("workload", ["a", "d", "set"])
def test_embedded_files_are_read_only(bench, text_data, workload):
    """Catches: writes that are measured and go nowhere."""
    result = bench("--embedded", text_data.path, *text_data.flags, "--workload", workload, status=2)
    assert result.finished.err.startswith("tarn bench: ") and result.finished.err.count("\n") == 1
    assert result.finished.out == "" and result.json is None
