"""Goal: tarn bench measures Redis: all of YCSB's workloads, every value compared, no error.

Method: a redis-server of the test's own on loopback.
"""
import subprocess

import pytest

import conftest
from beside_redis import redis_server_command


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """HOST:PORT of an empty redis-server."""
    name, executable = redis_server_command()
    assert executable, "neither redis-server nor redis-check-rdb is installed"
    port = conftest.free_port()
    process = subprocess.Popen(
        [name, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
         "--dir", str(tmp_path_factory.mktemp("redis"))],
        executable=executable, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        log = conftest.Output(process.stdout)
        assert log.wait_for("Ready to accept connections"), log.text()
        yield "127.0.0.1:%d" % port
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("flags", [("--connections", 3),
                                   ("--connections", 8, "--pipeline", 16, "--threads", 2),
                                   ("--rate", 40000)], ids=["closed", "pipeline", "open"])
@pytest.mark.parametrize("workload", list("abcdef"))
def test_workloads(bench, redis, workload, flags):
    result = bench("--connect", redis, "--records", 2000, "--value-size", "1-100", "--load",
                   "--verify", "--workload", workload, "--requests", 5000, *flags)
    assert result.total_ops == 5000
    assert result.wrong == result.errors == result.misses == 0


def test_batches_and_scans_of_another_data_set(bench, redis):
    result = bench("--connect", redis, "--records", 5000, "--seed", 7, "--load", "--verify",
                   "--batch", 50, "--requests", 500, "--missing-ratio", 0.1)
    assert result.total_ops == 25000 and result.wrong == 0
    assert result.misses == result.misses_expected > 0


def test_three_of_them_are_one_store(bench, redis):
    """The same server under three names: what was written by slot is found by slot."""
    result = bench("--connect", ",".join([redis] * 3), "--records", 3000, "--key-size", 20,
                   "--load", "--distribution", "sequential", "--requests", 3000, "--verify")
    assert result.hits == 3000 and result.misses == result.wrong == 0


def test_server_side_figures(bench, redis):
    result = bench("--connect", redis, "--records", 5000, "--load", "--duration", "400ms")
    assert result.server["local"] is True and result.server["cpu_us_per_op"] > 0
