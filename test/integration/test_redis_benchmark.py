"""Goal: redis-benchmark runs against tarn without an error.

Method: small runs of the tests that read, with and without pipelining, threads and RESP3, and of
the default tests of strings against a writable store. Only that it ends well, reports every test
and leaves what it must have written counts: nothing is timed here.
"""
import csv
import io
import shutil

import pytest

import datasets
from conftest import run

pytestmark = pytest.mark.skipif(shutil.which("redis-benchmark") is None,
                                reason="redis-benchmark is not installed")


def benchmark(server, *args):
    done = run(["redis-benchmark", "-h", "127.0.0.1", "-p", server.port, "--csv"] + list(args))
    assert done.status == 0, done
    assert "rror" not in done.out + done.err, done
    return [row[0] for row in csv.reader(io.StringIO(done.out)) if row and row[0] != "test"]


@pytest.mark.parametrize("flags", [
    ["-c", "1"], ["-c", "20"], ["-c", "20", "-P", "16"], ["-c", "10", "--threads", "2"],
    ["-c", "10", "-P", "64", "-3"]], ids=" ".join)
def test_reading_tests(text_server, flags):
    rows = benchmark(text_server, "-n", "2000", "-r", "100", "-t", "ping_inline,ping_mbulk,get",
                     *flags)
    assert rows == ["PING_INLINE", "PING_MBULK", "GET"]


@pytest.mark.threads
def test_mget_and_big_values(text_server):
    keys = [datasets.uuid_key(i).decode() for i in range(10)]
    benchmark(text_server, "-n", "1000", "-P", "8", "MGET", *keys)
    benchmark(text_server, "-n", "200", "-c", "5", "-P", "4", "GET", "big:20k")
    benchmark(text_server, "-n", "40", "-c", "5", "GET", "big:1m")


# --- the writable store ---

STRING_TESTS = "ping_inline,ping_mbulk,set,get,incr,mset"
STRING_ROWS = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"]
REQUESTS = 3000
CLIENTS = 20


def counters(client):
    """The sum of redis-benchmark's counters."""
    return sum(int(client.command("GET", key)) for key in client.command("KEYS", "counter:*"))


@pytest.mark.threads
@pytest.mark.parametrize("flags", [
    ["-P", "1"], ["-P", "16"], ["-P", "16", "-d", "1000"], ["-P", "16", "-d", "1000", "-r", "50"],
    ["-P", "1", "-r", "1000", "--threads", "2"], ["-P", "16", "-r", "1000", "-3"],
    ["-P", "4", "-d", "20000", "-r", "10", "--threads", "2"]], ids=" ".join)
def test_string_tests(server, flags):
    """The default tests of strings; what they must have left is there."""
    running = server(None)
    assert benchmark(running, "-n", REQUESTS, "-c", CLIENTS, "-t", STRING_TESTS, *flags) == \
        STRING_ROWS
    pipeline = int(flags[1])
    size = int(flags[flags.index("-d") + 1]) if "-d" in flags else 3
    kinds = int(flags[flags.index("-r") + 1]) if "-r" in flags else 1
    with running.connect() as client:
        # Every request was done once; when the last reply is in, some more may be on their way.
        assert REQUESTS <= counters(client) <= REQUESTS + CLIENTS * pipeline
        keys = client.command("KEYS", "key:*")
        assert 0 < len(keys) <= kinds
        assert len(client.command("KEYS", "*")) == len(keys) + \
            len(client.command("KEYS", "counter:*"))
        for value in client.command("MGET", *keys):
            assert len(value) == size


def test_what_it_asks_of_config(server):
    """It asks how the server saves, and says what it heard; nothing is said to be wrong."""
    done = run(["redis-benchmark", "-p", server(None).port, "-n", "100", "-t", "set"])
    assert done.status == 0, done
    assert 'host configuration "save": \n' in done.out, done
    assert 'host configuration "appendonly": no\n' in done.out, done
    assert "WARNING" not in done.out + done.err, done


def test_all_tests_end_where_lists_begin(server):
    """Without -t it goes on to lists, which tarn does not have: it is told so."""
    done = run(["redis-benchmark", "-p", server(None).port, "-n", "100", "-q"])
    assert done.status != 0, done
    assert "tarn does not serve 'lpush': it holds strings only" in done.out + done.err, done
