"""Goal: what tarn bench writes is consistent with itself, in every form: text, JSON, CSV, pictures,
the line on a terminal, comparisons, and the search for the peak.

Method: one run each against tarn or a server written here; the forms are read by parsers of their
own and compared with each other and with what the server counted.
"""
import csv
import json
import re
import shutil
import struct
import xml.etree.ElementTree

import pytest

import datasets
from bench_program import keys_of
from bench_servers import RespServer
from test_bench import Slow
from test_cli import Terminal

SMALL = ("--records", 1000, "--load")
PERCENTILES = ["min", "p50", "p90", "p99", "p999", "p9999", "max"]


@pytest.fixture
def served(data_file, server):
    records = [(datasets.uuid_key(i), datasets.printable(str(i), 50)) for i in range(3000)]
    data = data_file("text", records)
    started = server(data)
    return ("--connect", "127.0.0.1:%d" % started.port, *keys_of(data))


# --- text ---

def test_text_has_the_names_of_the_issue(bench, fake):
    """Catches: a figure that is missing, or another one than in the JSON."""
    server = fake(RespServer)
    result = bench("--connect", server.address, *SMALL, "--requests", 5000, "--missing-ratio", 0.1,
                   "--threads", 2)
    shown = result.stdout_figures
    for name in ("total_ops", "total_runtime", "total_ops_per_sec", "average_ops_per_sec", "hits",
                 "misses", "errors"):
        assert name in shown, result.finished.out
    assert re.search(r"bytes", result.finished.out)
    number = re.compile(r"[\d,.]+")

    def figure(name):
        return float(number.match(shown[name]).group().replace(",", ""))
    assert figure("total_ops") == 5000 == result.total_ops
    assert figure("hits") == result.hits and figure("misses") == result.misses
    assert figure("errors") == 0
    assert figure("total_ops_per_sec") == pytest.approx(result.total_ops_per_sec, rel=0.01)
    assert figure("average_ops_per_sec") == pytest.approx(result.total_ops_per_sec / 2, rel=0.02)
    for name in ("p50", "p90", "p99", "p99.9", "p99.99", "max"):
        assert re.search(r"\b%s\b" % re.escape(name), result.finished.out), result.finished.out


def test_nothing_but_results_in_a_pipe(run_tarn, fake):
    """Catches: a live line in a log file. Without files asked for, none is written."""
    server = fake(RespServer)
    finished = run_tarn("bench", "--connect", server.address, *SMALL, "--duration", "1200ms")
    assert finished.status == 0 and finished.err == ""
    assert "\r" not in finished.out and "\x1b" not in finished.out
    assert max(map(len, finished.out.splitlines())) <= 100


def test_live_line_on_a_terminal(bench, fake):
    """Redrawn in place each second, gone at the end. Catches: lines that scroll or wrap."""
    server = fake(RespServer)
    command, _ = bench.command("--connect", server.address, *SMALL, "--duration", "2200ms")
    terminal = Terminal(command)
    status, out = terminal.finish()
    assert status == 0 and b"total_ops" in out
    assert terminal.drawn.count(b"\r") >= 3 and b"\n" not in terminal.drawn
    assert terminal.drawn.endswith(b"\r\x1b[K")
    assert re.search(rb"\d", terminal.drawn)
    for line in re.split(rb"\r|\x1b\[K", terminal.drawn):
        assert len(line.decode()) < 80


# --- JSON ---

def consistent(result):
    latency = [result.latency_us[name] for name in PERCENTILES]
    assert latency == sorted(latency) and latency[0] > 0
    assert sum(point["operations"] for point in result.series) == result.total_ops
    assert sum(point["errors"] for point in result.series) == result.errors
    ends = [point["at_s"] for point in result.series]
    assert ends == sorted(ends) and ends[-1] == pytest.approx(result.total_runtime_s, abs=0.2)
    assert result.total_ops_per_sec == pytest.approx(result.total_ops / result.total_runtime_s,
                                                     rel=0.01)
    assert result.average_ops_per_sec == pytest.approx(
        result.total_ops_per_sec / result.generator["threads"], rel=0.01)


@pytest.mark.parametrize("loop", [(), ("--rate", 3000)], ids=["closed", "open"])
def test_json_and_csv_are_consistent(bench, served, tmp_path, loop):
    """Catches: a series that leaves out its last interval or counts one twice; percentiles that are
    mixed up."""
    path = tmp_path / "series.csv"
    result = bench(*served, *loop, "--duration", "1300ms", "--missing-ratio", 0.1, "--threads", 2,
                   "--verify", "--csv", path)
    consistent(result)
    assert result.complete is True
    assert result.hits + result.misses == result.total_ops
    assert result.bytes_sent > 40 * result.total_ops and result.bytes_received > 50 * result.hits
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == len(result.series) >= 2
    assert sum(int(row["operations"]) for row in rows) == result.total_ops
    for row, point in zip(rows, result.series):
        assert float(row["at_s"]) == pytest.approx(point["at_s"], abs=0.01)


def test_json_by_kind_of_operation(bench, fake):
    """Catches: kinds that share a histogram."""
    server = fake(RespServer)
    result = bench("--connect", server.address, *SMALL, "--workload", "mixed", "--read-ratio", 0.5,
                   "--requests", 4000)
    consistent(result)
    kinds = result.latency_us_by_kind
    assert set(kinds) == {"read", "update"}
    assert kinds["read"]["min"] > 0
    assert max(kinds["read"]["max"], kinds["update"]["max"]) == result.latency_us["max"]
    assert result.hits == server.counts["GET"]


def test_settings_are_in_the_result(bench, fake):
    """A result without its settings is worth nothing."""
    server = fake(RespServer)
    result = bench("--connect", server.address, *SMALL, "--requests", 100, "--pipeline", 3,
                   "--workload", "b", "--seed", 5, "--password", "")
    settings = result.settings
    assert settings["pipeline"] == 3 and settings["workload"] == "b" and settings["seed"] == 5
    assert settings["connect"] == server.address and "password" not in settings


def test_local_server_is_observed(bench, served):
    """tarn runs here: its processor time and memory are known. Catches: the generator's own figures
    in their place."""
    result = bench(*served, "--duration", "400ms", "--connections", 4)
    server = result.server
    assert server["local"] is True
    assert 0 < server["cpu_us_per_op"] < 1000
    assert server["memory_bytes"] > 1 << 20


# --- pictures ---

@pytest.mark.parametrize("extension", ["svg", "png"])
def test_plot(bench, fake, tmp_path, extension):
    if not shutil.which("gnuplot"):
        pytest.skip("gnuplot is not installed")
    path = tmp_path / ("picture." + extension)
    server = fake(RespServer)
    bench("--connect", server.address, *SMALL, "--requests", 3000, "--plot", path)
    if extension == "svg":
        root = xml.etree.ElementTree.parse(path).getroot()
        assert root.tag.endswith("svg") and len(list(root.iter())) > 50
    else:
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"
        width, height = struct.unpack(">II", data[16:24])
        assert width >= 400 and height >= 300


def test_plot_without_gnuplot(bench, fake, tmp_path):
    """Noticed before anything is measured, or at its end with the figures kept."""
    server = fake(RespServer)
    result = bench("--connect", server.address, *SMALL, "--requests", 100, "--plot",
                   tmp_path / "picture.svg", status=1, env={"PATH": str(tmp_path)})
    assert result.finished.err.startswith("tarn bench: ") and result.finished.err.count("\n") == 1
    assert "gnuplot" in result.finished.err


# --- diff ---

def test_diff_with_itself_and_another(bench, run_tarn, fake):
    server = fake(RespServer)
    first = bench("--connect", server.address, *SMALL, "--requests", 5000)
    second = bench("--connect", server.address, *SMALL, "--requests", 1000, "--pipeline", 4)
    same = run_tarn("bench", "diff", first.path, first.path)
    assert same.status == 0 and same.err == ""
    rows = [line for line in same.out.splitlines() if re.match(r" *(total_ops|hits|p50)\b", line)]
    assert rows and all(re.search(r"\b1\.0+\b", line) for line in rows), same.out
    other = run_tarn("bench", "diff", first.path, second.path)
    assert other.status == 0 and "pipeline" in other.out and "pipeline" not in same.out
    (row,) = [line for line in other.out.splitlines() if re.match(r" *total_ops\b", line)]
    assert re.search(r"\b0\.20*\b", row), other.out


@pytest.mark.parametrize("text", [b"", b"garbage", b"[1, 2]", b"{}", b'{"total_ops": "many"}',
                                  b'{"total_ops": 1}', b"{" * 100000, b"\x00\xff", None])
def test_diff_of_what_is_no_result(bench, run_tarn, fake, tmp_path, text):
    server = fake(RespServer)
    good = bench("--connect", server.address, *SMALL, "--requests", 100)
    bad = tmp_path / "bad.json"
    if text is not None:
        bad.write_bytes(text)
    for pair in ((good.path, bad), (bad, good.path)):
        finished = run_tarn("bench", "diff", *pair)
        assert finished.status == 1 and finished.out == "", repr(finished)
        assert finished.err.startswith("tarn bench") and finished.err.count("\n") == 1
        assert str(bad) in finished.err


def test_diff_of_damaged_results(bench, run_tarn, fake, tmp_path):
    """Every member of a good result once with another type. Catches: an assertion, or a crash, on
    what is in a file."""
    server = fake(RespServer)
    good = bench("--connect", server.address, *SMALL, "--requests", 100)
    bad = tmp_path / "bad.json"
    for name in good.json:
        for value in (None, [], "text"):
            bad.write_text(json.dumps({**good.json, name: value}))
            finished = run_tarn("bench", "diff", good.path, bad)
            assert finished.status in (0, 1), repr(finished)
            if finished.status == 1:
                assert finished.err.count("\n") == 1


def test_diff_needs_two_files(run_tarn):
    for files in ((), ("a.json",), ("a.json", "b.json", "c.json")):
        finished = run_tarn("bench", "diff", *files)
        assert finished.status == 2 and finished.out == ""
        assert finished.err.startswith("tarn bench") and finished.err.count("\n") == 1


# --- peak ---

def test_find_peak(bench, served):
    """A generous target, so that some rate holds on any machine that is not busy with other things.
    Catches: a search that names a rate that no step held, or none although one did."""
    result = bench(*served, "--find-peak", "--step", "200ms", "--target", "100ms", "--threads", 1,
                   "--connections", 10)
    peak = result.peak
    held = [step["rate"] for step in peak["steps"] if step["held"]]
    assert len(peak["steps"]) >= 3
    assert all(step["p999_us"] <= 100e3 for step in peak["steps"] if step["held"])
    if held:
        assert peak["rate"] == max(held)
        assert result.complete is True and result.total_ops > 0
    else:  # other programs leave the generator no time: then it has to say that it was late
        assert peak["rate"] is None and peak["generator_limit"] > 0


def test_overload(bench, served):
    """Catches: goodput that counts what came too late, or is above what was answered."""
    result = bench(*served, "--rate", 2000, "--overload", 1.5, "--target", "100ms", "--duration",
                   "500ms")
    over = result.peak["overload"]
    assert over["rate"] == pytest.approx(3000)
    assert 0 < over["goodput"] <= over["answered"] * 1.001


def test_overload_of_a_slow_server(bench, fake):
    """A server that can answer 500 a second is asked for 3,000: nothing of it is in time for long.
    Catches: late answers counted as goodput."""
    server = fake(Slow)
    result = bench("--connect", server.address, *SMALL, "--connections", 4, "--rate", 300,
                   "--overload", 10, "--target", "100ms", "--duration", "500ms")
    over = result.peak["overload"]
    assert over["answered"] <= 600 and over["goodput"] < over["answered"]
    assert over["held"] is False
