"""Goal: a data file rewritten in the order of hashes is a file by itself: every tool reads it, a
server serves it from disk, large values too; a rewriting that was killed goes on.
Method: the program itself on files of its own making, everything compared with what was put in."""

import os
import signal
import struct
import subprocess

import pytest


def record(key, value):
    return struct.pack("<I", len(key)) + key + struct.pack("<I", len(value)) + value


@pytest.fixture(scope="module")
def records():
    made = {b"key-%d" % i: b"value %d " % i * (i % 60) for i in range(5000)}
    made[b"large"] = os.urandom(3 << 20)
    return made


@pytest.fixture
def rewritten(run_tarn, tmp_path, records):
    path = tmp_path / "data"
    path.write_bytes(record(b"key-7", b"does not count") +
                     b"".join(record(*r) for r in records.items()))
    finished = run_tarn("index", "--rewrite", "--memory", "16M", path)
    assert finished.status == 0, finished.err
    assert "5,001 keys in 5,002 records, 1 duplicates\n" in finished.out
    assert "in the order of hashes" in finished.out
    assert sorted(os.listdir(tmp_path)) == ["data", "data.tarn"]
    return tmp_path / "data.tarn"


def test_tools(run_tarn, rewritten, tmp_path, records):
    finished = run_tarn("verify", rewritten)
    assert finished.status == 0 and "5,001 keys found in 5,001 records\n" in finished.out
    finished = run_tarn("inspect", rewritten)
    assert finished.status == 0, finished.err
    assert "format    tarn (detected)\nrecords   5,001\n" in finished.out
    finished = run_tarn("get", rewritten, "key-7", "nothing", "key-59")
    assert finished.status == 1
    assert finished.out == "%s\n%s\n" % (records[b"key-7"].decode(), records[b"key-59"].decode())
    out = tmp_path / "out"
    finished = run_tarn("dump", rewritten, "--format", "binary", "--output", out)
    assert finished.status == 0, finished.err
    assert sorted(len(r) for r in [out.read_bytes()]) == \
        [sum(len(record(*r)) for r in records.items())]


def test_served(server, rewritten, records):
    with server(rewritten, "--memory", "32M").connect() as connection:
        for key, value in records.items():
            assert connection.command("GET", key) == value
        assert connection.command("GET", "nothing") is None
        assert connection.command("DBSIZE") == len(records)
        assert connection.command("RANDOMKEY") in records
        seen, cursor = [], b"0"
        while True:
            cursor, keys = connection.command("SCAN", cursor, "COUNT", "500")
            seen += keys
            if cursor == b"0":
                break
        assert sorted(seen) == sorted(records)
        assert b"tarn_data_format:tarn\r\n" in connection.command("INFO")


def test_output_and_refusals(run_tarn, rewritten, tmp_path):
    other = tmp_path / "elsewhere"
    finished = run_tarn("index", "--rewrite", "--output", other, tmp_path / "data")
    assert finished.status == 0 and run_tarn("verify", other).status == 0
    for words, text in [(["--rewrite", rewritten], "is its own index"),
                        (["--output", "x", tmp_path / "data"], "--output is for --rewrite"),
                        (["--rewrite", "--memory", "1M", tmp_path / "data"], "are needed"),
                        ([rewritten], "is its own index")]:
        finished = run_tarn("index", *words)
        assert finished.status != 0 and text in finished.err, finished.err


def test_damage_is_named(run_tarn, rewritten, records):
    data = bytearray(rewritten.read_bytes())
    data[data.index(records[b"key-59"])] ^= 1
    rewritten.write_bytes(data)
    finished = run_tarn("get", rewritten, "key-59")
    assert finished.status == 1 and "damaged at byte" in finished.err
    assert run_tarn("verify", rewritten).status == 1
    found = [run_tarn("get", rewritten, "key-%d" % i).status for i in range(0, 5000, 500)]
    assert found.count(0) >= 8


def size_of(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it has just come to its end
        return 0


def test_killed_and_gone_on_with(tarn, run_tarn, rewritten, tmp_path):
    spill = tmp_path / "data.tarn.spill"
    for size in (1, 1 << 20, 3 << 20):
        process = subprocess.Popen([tarn, "index", "--rewrite", "--memory", "16M",
                                    tmp_path / "data"], stdout=subprocess.DEVNULL)
        while process.poll() is None and (not spill.exists() or size_of(spill) < size):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = run_tarn("index", "--rewrite", "--memory", "16M", tmp_path / "data")
    assert finished.status == 0, finished.err
    assert run_tarn("verify", rewritten).status == 0
    assert sorted(os.listdir(tmp_path)) == ["data", "data.tarn"]
