"""Goal: tarn bench sends what it was told to, counts what was answered, and shows a stall.

Method: servers written here count and write down every request (bench_servers), so that the
figures have an independent witness. Latencies are only compared with waits that really took place:
the server sleeps half a second, and nothing can be faster than that.
"""
import collections
import signal
import subprocess
import time

import pytest

from bench_program import keys_of
from bench_servers import RespServer
from conftest import TIMEOUT, environment

STALL_S = 0.5


def small(*args):
    """Options of a small data set, written first, and what a test adds."""
    return ("--records", 1000, "--value-size", 20, "--load") + args


# --- how many, how long ---

@pytest.mark.parametrize("shape", [
    dict(connections=1, threads=1, pipeline=1, batch=1),
    dict(connections=7, threads=3, pipeline=5, batch=1),  # nothing divides 10007
    dict(connections=4, threads=2, pipeline=16, batch=7),
    dict(connections=50, threads=1, pipeline=1, batch=3),
], ids=lambda s: "c{connections}-t{threads}-p{pipeline}-b{batch}".format(**s))
def test_requests_are_exactly_as_many_as_asked_for(bench, fake, shape):
    """Catches: a thread or a connection that rounds its share of the requests; operations counted
    per request where a batch has several; the load counted as operations."""
    server = fake(RespServer)
    flags = [word for name, value in shape.items() for word in ("--" + name, value)]
    result = bench("--connect", server.address, "--requests", 10007, *flags, *small())
    reads = "MGET" if shape["batch"] > 1 else "GET"
    assert server.counts[reads] == 10007
    assert result.total_ops == 10007 * shape["batch"]
    assert result.hits == result.total_ops and result.misses == 0 and result.errors == 0
    assert len(server.store) == 1000
    assert server.connections == shape["connections"]
    assert result.generator["threads"] == shape["threads"]


def test_open_loop_sends_exactly_as_many(bench, fake):
    """Catches: requests that were due and skipped, or sent twice, when the client is late: so many
    a second that it always is."""
    server = fake(RespServer)
    result = bench("--connect", server.address, "--requests", 5003, "--rate", 1000000,
                   "--threads", 2, "--connections", 3, *small())
    assert server.counts["GET"] == result.total_ops == 5003


def test_duration_ends_it(bench, fake):
    """Catches: a deadline that is not looked at, or one from before the load; a rate computed from
    the intended time."""
    server = fake(RespServer)
    began = time.monotonic()
    result = bench("--connect", server.address, "--duration", "700ms", *small())
    took = time.monotonic() - began
    assert 0.69 < result.total_runtime_s < took
    assert server.counts["GET"] == result.total_ops > 0
    assert result.total_ops_per_sec == pytest.approx(result.total_ops / result.total_runtime_s,
                                                     rel=0.01)


def test_warmup_is_not_counted(bench, fake):
    """Catches: operations, hits or time of the warm-up among the figures."""
    server = fake(RespServer)
    result = bench("--connect", server.address, "--requests", 1000, "--warmup", "300ms", *small())
    assert result.total_ops == result.hits == 1000
    assert server.counts["GET"] > 1000


@pytest.mark.parametrize("flags", [(), ("--poisson",), ("--arrival", "burst"),
                                   ("--arrival", "ramp"), ("--arrival", "sine")],
                         ids=lambda f: "-".join(f).strip("-") or "fixed")
def test_rate_is_that_asked_for(bench, fake, flags):
    """Whole periods, so that each pattern has its mean. Catches: a pattern whose integral is not
    its rate, a rate per thread or per connection. Poisson: 4 standard deviations."""
    server = fake(RespServer)
    period = ("--arrival-period", "250ms") if "--arrival" in flags else ()
    result = bench("--connect", server.address, "--rate", 1000, "--duration", "500ms",
                   "--threads", 2, *flags, *period, *small())
    if "--poisson" in flags:
        assert abs(result.total_ops - 500) < 4 * 500 ** 0.5
    else:
        assert abs(result.total_ops - 500) <= 4


def test_open_loop_counts_what_it_could_not_send(bench, fake):
    """A server that answers 500 a second at most is asked for 10,000: most requests are late, none
    is forgotten. Catches: a schedule that gives up in silence, a run that never ends."""
    server = fake(Slow)
    result = bench("--connect", server.address, "--rate", 10000, "--duration", "500ms",
                   "--connections", 2, *small())
    assert abs(result.total_ops + result.unsent - 5000) <= 4
    assert result.unsent > 1000 and result.total_ops == server.counts["GET"]
    assert result.latency_us["max"] > 1e6


# --- the stall ---

class Slow(RespServer):
    """Takes at least 2 ms for each GET."""

    def note(self, connection, name, words):
        super().note(connection, name, words)
        if name == "GET":
            time.sleep(0.002)


class Stalling(RespServer):
    """Waits for STALL_S, once, before it answers its 3,000th GET."""

    def note(self, connection, name, words):
        super().note(connection, name, words)
        if self.counts["GET"] == 3000 and name == "GET":
            time.sleep(STALL_S)


def test_open_loop_shows_a_stall(bench, fake):
    """2,000 requests a second for 3 s: 1,000 of 6,000 were due while the server slept, and waited
    for a quarter of a second on average. Catches coordinated omission: latency from when a request
    was sent, or requests due meanwhile that are skipped."""
    server = fake(Stalling)
    result = bench("--connect", server.address, "--rate", 2000, "--duration", "3s",
                   "--connections", 8, *small())
    latency = result.latency_us
    assert latency["max"] >= 1e6 * STALL_S
    assert latency["p999"] >= 0.96e6 * STALL_S
    assert latency["p99"] >= 0.8e6 * STALL_S
    assert latency["p90"] >= 1e5
    assert result.total_ops == pytest.approx(6000, abs=4)


def test_closed_loop_does_not(bench, fake):
    """Two connections wait once each among 20,000 requests: far beyond p99.9, which is the 20th
    slowest. Catches a closed loop that counts from a schedule, and shows why the test above needs
    an open one."""
    server = fake(Stalling)
    result = bench("--connect", server.address, "--requests", 20000, "--connections", 2, *small())
    assert result.latency_us["max"] >= 1e6 * STALL_S
    assert result.latency_us["p999"] < 0.2e6 * STALL_S


# --- what is asked ---

def keys_asked(server):
    return [words[1] for _, words in server.log if words[0] == b"GET"]


def test_same_seed_asks_for_the_same(bench, fake, text_data):
    """Catches: a seed taken from the clock, or not used."""
    server = fake(RespServer, store=dict(text_data.records), record=True)

    def asked(*flags):
        server.reset()
        bench("--connect", server.address, "--connections", 1, "--requests", 2000, *flags)
        return keys_asked(server)
    generated = ("--workload", "c", "--records", 5000, "--load")
    first = asked(*generated)
    assert asked(*generated) == first == asked("--seed", 1, *generated)
    assert set(asked("--seed", 2, *generated)) != set(first)
    from_file = keys_of(text_data)
    first = asked(*from_file)
    assert len(set(first)) > 1000
    assert asked(*from_file) == first
    assert asked("--seed", 2, *from_file) != first


def test_keys_and_values_have_the_sizes_asked_for(bench, fake):
    """Catches: sizes at the edges left out, keys that are not all different."""
    server = fake(RespServer)
    bench("--connect", server.address, "--records", 3000, "--key-size", 24, "--value-size", "5-9",
          "--load-only")
    assert len(server.store) == 3000
    assert {len(key) for key in server.store} == {24}
    assert {len(value) for value in server.store.values()} == {5, 6, 7, 8, 9}


def test_load_only_measures_nothing(bench, fake):
    """Catches: a measurement that begins all the same; a load that leaves out its last records or
    writes some twice."""
    server = fake(RespServer, record=True)
    result = bench("--connect", server.address, "--records", 1003, "--connections", 3, "--pipeline",
                   4, "--batch", 10, "--load-only")
    written = [key for _, words in server.log for key in words[1::2]]
    assert len(written) == len(set(written)) == 1003
    assert set(server.counts) <= {"MSET", "SET"}
    assert result.load["ops"] == 1003


def test_load_over_several_connections_writes_each_once(bench, fake):
    server = fake(RespServer, record=True)
    bench("--connect", server.address, "--records", 5000, "--connections", 5, "--threads", 2,
          "--requests", 10, "--load")
    written = collections.Counter(words[1] for _, words in server.log if words[0] == b"SET")
    assert len(written) == 5000 and set(written.values()) == {1}


# --- ending early ---

def interrupted(bench, server, number, count, *args):
    """Run until the server was asked `count` times, send the signal; (Result, stdout)."""
    command, path = bench.command("--connect", server.address, *args)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environment())
    try:
        assert server.wait_for_count(count, TIMEOUT)
        process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + number, err
    assert err.startswith(b"tarn bench: ") and err.endswith(b"\n") and err.count(b"\n") == 1, err
    return bench.read(path), out.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_what_there_is(bench, fake, number):
    """Catches: figures that are lost or look complete; an exit status that says all went well."""
    server = fake(RespServer)
    result, out = interrupted(bench, server, number, 3000, "--duration", "60s", *small())
    assert result.complete is False and result.stopped
    assert 0 < result.total_ops <= server.counts["GET"]
    assert "total_ops" in out and "PARTIAL" in out and result.total_runtime_s < 50


def test_a_signal_ends_waiting_for_a_silent_server(bench, fake):
    """Catches: a signal that is looked at only when answers come."""
    server = fake(RespServer, answer=lambda server, connection, words:
                  b"" if server.counts["GET"] > 100 else None)
    result, _ = interrupted(bench, server, signal.SIGINT, 1104, "--duration", "60s", "--timeout",
                            "1h", "--connections", 4, *small())
    assert result.complete is False and result.total_ops == 100 and result.lost == 4


def test_a_signal_ends_the_load(bench, fake):
    """Nothing was measured, and so nothing is written."""
    server = fake(Slow, answer=lambda server, connection, words:
                  time.sleep(0.001) if words[0] == b"SET" else None)
    result, out = interrupted(bench, server, signal.SIGINT, 100, "--records", 100000,
                              "--connections", 2, "--load")
    assert out == "" and result.json is None


def test_a_signal_ends_the_search_for_the_peak(bench, fake):
    """Catches: steps that were made and are lost; a search that goes on with the next step."""
    server = fake(RespServer)
    result, _ = interrupted(bench, server, signal.SIGINT, 4000, "--find-peak", "--step", "20s",
                            "--target", "1s", *small())
    assert result.complete is False and result.peak["steps"] == []
