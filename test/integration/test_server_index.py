"""Goal: an index that does not belong to the data file, or is damaged, is never used: it is built
anew, the reason is logged, and the answers are right. One that is sound is used as it is.

Method: make an index, change the data or the index in one way, serve, compare every answer.
"""
import os

import pytest

import datasets
from conftest import Server


@pytest.fixture(params=["text", "binary"])
def indexed(request, run_tarn, data_file):
    data = data_file(request.param, records=datasets.plain_records(3000))
    done = run_tarn("index", data.path)
    assert done.status == 0, done
    data.index = data.path + ".tarnidx"
    assert os.path.getsize(data.index) > 0
    return data


def check(server, data, reason):
    """Serve and compare everything; the log must have a line about the index that matches."""
    running = server(data)
    keys = data.keys()
    with running.connect() as client:
        assert client.command("MGET", *keys) == [data[k] for k in keys]
        assert client.command("DBSIZE") == len(keys)
    about_index = [line for line in running.log.text().splitlines() if ".tarnidx" in line
                   or "index" in line]
    if reason:
        assert any(word in line for word in reason for line in about_index), running.log.text()
    return running


def test_a_sound_index_is_used(server, indexed):
    before = os.stat(indexed.index)
    check(server, indexed, None)
    after = os.stat(indexed.index)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def rebuilt(server, data, reason):
    before = os.stat(data.index)
    check(server, data, reason)
    after = os.stat(data.index)
    assert (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns)
    # and the new one is sound
    check(server, data, None)
    assert os.stat(data.index).st_ino == after.st_ino


STALE = ["stale", "belong", "changed", "differ", "size", "modified"]
DAMAGED = ["damaged", "checksum", "truncated", "magic", "not a", "short", "size", "corrupt",
           "version", "header"]


def test_data_of_another_size(server, indexed):
    indexed.records += [(b"one more", b"record")] if indexed.kind == "binary" else \
        [(b"one-more", b"record")]
    indexed.answers = dict(indexed.records)
    indexed.write()
    rebuilt(server, indexed, STALE)


def test_data_of_another_time(server, indexed):
    os.utime(indexed.path, ns=(10**18, 10**18))
    rebuilt(server, indexed, STALE)


def test_other_contents_of_the_same_size_and_time(server, indexed):
    """Only the checksum of the contents can tell."""
    info = os.stat(indexed.path)
    indexed.records = [(key, value.replace(b"value", b"other"))
                       for key, value in indexed.records]
    indexed.records.reverse()
    indexed.answers = dict(indexed.records)
    indexed.write()
    os.utime(indexed.path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert os.path.getsize(indexed.path) == info.st_size
    rebuilt(server, indexed, STALE + ["checksum", "contents"])


@pytest.mark.parametrize("where", ["start", "header", "quarter", "middle", "end"])
def test_one_bit_flipped(server, indexed, where):
    with open(indexed.index, "r+b") as f:
        size = os.path.getsize(indexed.index)
        at = {"start": 0, "header": 20, "quarter": size // 4, "middle": size // 2,
              "end": size - 1}[where]
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x10]))
    rebuilt(server, indexed, DAMAGED + STALE)


@pytest.mark.parametrize("damage", ["empty", "one byte short", "half", "garbage", "longer",
                                    "of another file"])
def test_index_of_other_contents(server, indexed, run_tarn, tmp_path, damage):
    with open(indexed.index, "rb") as f:
        content = f.read()
    if damage == "of another file":
        other = datasets.Dataset(tmp_path / "other", indexed.kind,
                                 datasets.plain_records(2999)).write()
        assert run_tarn("index", other.path).status == 0
        with open(other.path + ".tarnidx", "rb") as f:
            content = f.read()
    content = {"empty": b"", "one byte short": content[:-1], "half": content[:len(content) // 2],
               "garbage": datasets.printable("garbage", len(content)),
               "longer": content + b"\0", "of another file": content}[damage]
    with open(indexed.index, "wb") as f:
        f.write(content)
    rebuilt(server, indexed, DAMAGED + STALE)


def test_index_is_a_directory(tarn, indexed):
    """An index that can be neither read nor replaced: the data are served all the same, or the
    reason is given. Never a wrong answer, never a hang."""
    os.unlink(indexed.index)
    os.mkdir(indexed.index)
    running_or_refused(indexed)


def running_or_refused(data):
    """Either served correctly, or refused with one line that names the index."""
    attempt = Server(data.path, ["--threads", "2"])
    if attempt.ready:
        try:
            keys = data.keys()
            with attempt.connect() as client:
                assert client.command("MGET", *keys) == [data[k] for k in keys]
        finally:
            attempt.stop()
    else:
        assert attempt.wait_exit() == 1
        assert ".tarnidx" in attempt.log.text()
