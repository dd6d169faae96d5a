"""Goal: redis-benchmark runs against tarn without an error.

Method: small runs of the tests that read, with and without pipelining, threads and RESP3. Only
that it ends well and reports every test counts: nothing is timed here.
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
