"""Goal: a data file that stays on disk answers tarn get and tarn bench as one in memory does, within
the memory it is given, and what cannot be read is named.
Method: the program itself on files of its own making; a block of one is damaged."""

import json
import os
import struct

import pytest

from test_durability_server import kept  # noqa: F401 (a fixture)


def record(key, value):
    return struct.pack("<I", len(key)) + key + struct.pack("<I", len(value)) + value


@pytest.fixture
def far_file(run_tarn, tmp_path):
    """Records, one with a value of 3 MiB, and an index of blocks."""
    path = tmp_path / "data"
    large = os.urandom(3 << 20)
    records = [(b"key-%d" % i, b"value %d" % i * 50) for i in range(2000)]
    records.insert(700, (b"large", large))
    path.write_bytes(b"".join(record(*r) for r in records))
    finished = run_tarn("index", "--granule", "4096", path)
    assert finished.status == 0, finished.err
    return path, dict(records)


def raw(tarn, *words):
    import subprocess
    return subprocess.run([tarn, "get", "--raw", *map(str, words)], capture_output=True)


def test_get_from_a_file(tarn, run_tarn, far_file):
    path, records = far_file
    for key in (b"key-0", b"key-1999", b"large", b"key-700"):
        finished = raw(tarn, path, key.decode())
        assert finished.returncode == 0 and finished.stdout == records[key]
    finished = run_tarn("get", path, "key-1", "nothing", "key-2")
    assert finished.status == 1 and finished.err == "tarn get: no such key: nothing\n"
    assert finished.out.split("\n")[:2] == [records[b"key-1"].decode(), records[b"key-2"].decode()]


def test_get_from_a_file_in_memory(run_tarn, tmp_path):
    (tmp_path / "text").write_text("a 1\nb 2\n")
    finished = run_tarn("get", tmp_path / "text", "b", "a")
    assert (finished.status, finished.out) == (0, "2\n1\n")
    assert not (tmp_path / "text.tarnidx").exists()
    finished = run_tarn("get", tmp_path / "no" / "file", "a")
    assert finished.status == 1 and finished.err.count("\n") == 1


def test_damage_is_named(run_tarn, far_file):
    path, records = far_file
    stat = os.stat(path)
    data = bytearray(path.read_bytes())
    at = data.index(records[b"key-100"])
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    finished = run_tarn("get", path, "key-100")
    assert finished.status == 1 and str(path) in finished.err and "byte" in finished.err
    assert run_tarn("get", path, "key-1000").out == records[b"key-1000"].decode() + "\n"


def test_bench_on_disk(run_tarn, tmp_path):
    """Loaded, read and compared within 24 MB; read again as it is; refused where it makes no sense."""
    flags = ("--records", 40000, "--value-size", 500, "--memory", "24M", "--workload", "c",
             "--requests", 20000, "--warmup", 0, "--threads", 2, "--verify")
    for batch in (1, 20):
        finished = run_tarn("bench", "--embedded", "disk:%s" % (tmp_path / "data"), *flags,
                            "--batch", batch, "--json", tmp_path / "json")
        assert finished.status == 0, finished.err
        disk = json.loads((tmp_path / "json").read_text())["disk"]
        assert disk["reads"] <= disk["misses"] and disk["hits"] + disk["misses"] >= 20000
    assert os.path.getsize(tmp_path / "data") == 40000 * (8 + 16 + 500)
    finished = run_tarn("bench", "--embedded", tmp_path / "data", "--data", "disk", "--memory", "8M",
                        "--workload", "get", "--requests", 5000, "--warmup", 0, "--threads", 1,
                        "--verify")
    assert finished.status == 0, finished.err
    finished = run_tarn("bench", "--embedded", "memory", "--data", "disk", "--requests", 10)
    assert finished.status != 0 and "--data needs a data file" in finished.err
    finished = run_tarn("bench", "--embedded", "disk:%s" % (tmp_path / "data"), "--load", *flags)
    assert finished.status != 0 and "there already" in finished.err


def test_a_checkpoint_is_a_data_file(run_tarn, kept, tmp_path):  # noqa: F811
    """A `tarn` file has its index in itself, and expiries."""
    started = kept()
    with started.connect() as client:
        for i in range(300):
            client.command("SET", "key-%d" % i, "value %d" % i)
        client.command("SET", "gone", "1", "PXAT", "1")
        client.command("SET", "far", "x" * (2 << 20), "EX", "1000")
        client.command("SAVE")
    started.stop()
    checkpoint, = (tmp_path / "store").glob("checkpoint-*")
    finished = run_tarn("get", checkpoint, "key-7", "key-299")
    assert (finished.status, finished.out) == (0, "value 7\nvalue 299\n"), finished.err
    assert run_tarn("get", "--raw", checkpoint, "far").out == "x" * (2 << 20)
    assert run_tarn("get", checkpoint, "gone").status == 1
    dumped = [json.loads(line) for line in run_tarn("dump", checkpoint).out.splitlines()]
    assert len(dumped) == 301 and {d["key"]: d["value"] for d in dumped}["key-7"] == "value 7"
    assert [d["key"] for d in dumped if "expire_ms" in d] == ["far"]


def test_dump_of_a_file_in_the_order_of_hashes(run_tarn, tmp_path):
    assert run_tarn("gen", "--count", 20000, "--value-size", "8-500", tmp_path / "a").status == 0
    finished = run_tarn("index", "--rewrite", tmp_path / "a")
    assert finished.status == 0, finished.err
    lines = [sorted(run_tarn("dump", "--format", "text", tmp_path / name).out.splitlines())
             for name in ("a", "a.tarn")]
    assert len(lines[0]) == 20000 and lines[0] == lines[1]
