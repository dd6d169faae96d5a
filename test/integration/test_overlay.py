"""Goal: `tarn serve FILE --dir DIR` is a writable store that begins with FILE's records: what is
changed, deleted and expires is kept in DIR, through clean stops, kills and checkpoints, and FILE is
never touched; after a checkpoint it is not needed. Who names the wrong file, or none, is told so.

Method: the real program over text and binary files, the same changes made to it and to a dict;
clients are redis-py, curl and our own; FILE's bytes, inode and times are compared at the end of each
test. Directories are read by tarn dump, check, repair and backup, too.

Bugs planted once to see it fail: options.path left out of the store's options when there is a
directory; a data file of the same size taken though its bytes are others; the server called read-only
because there is a data file; dump opening the directory without the file; SIGHUP loading the file.
"""
import os
import random
import signal

import pytest

import resp

from conftest import eventually, run
from datasets import plain_records
from redis_py import connect  # noqa: F401 (a fixture)
from test_cli import one_line
from test_dump_load import content, parse_json
from test_durability_server import kept  # noqa: F401 (fixtures)

FAR = 4102444800000  # in 2100, ms
RECORDS = plain_records(700) + [(b"n", b"41"), (b"empty", b""), (b"big", b"x" * 100000)]
BASE = {key: (value, None) for key, value in RECORDS}


@pytest.fixture(params=["text", "binary"])
def data(request, data_file):
    """The data file; it must be as it was at the end."""
    made = data_file(request.param, RECORDS)
    before = look(made.path)
    yield made
    assert look(made.path) == before


def look(path):
    s = os.stat(path)
    with open(path, "rb") as f:
        return f.read(), s.st_ino, s.st_mtime_ns, s.st_ctime_ns


def change(server, model, seed, count=600):
    """Make random changes, to the server and to the model: {key: (value, expire_ms)}."""
    choose = random.Random(seed)
    keys = [key for key, _ in RECORDS[:400]] + [b"new %d" % i for i in range(100)]
    with server.connect() as c:
        for i in range(count):
            key, other = choose.choice(keys), choose.choice(keys)
            what = choose.randrange(7)
            if what == 0:
                assert c.command("SET", key, b"%d of %d" % (i, seed)) == b"OK"
                model[key] = (b"%d of %d" % (i, seed), None)
            elif what == 1:
                assert c.command("DEL", key) == (key in model)
                model.pop(key, None)
            elif what == 2:
                assert c.command("PEXPIREAT", key, FAR + i) == (key in model)
                if key in model:
                    model[key] = (model[key][0], FAR + i)
            elif what == 3:
                value, expire_ms = model.get(key, (b"", None))
                assert c.command("APPEND", key, b"+") == len(value) + 1
                model[key] = (value + b"+", expire_ms)
            elif what == 4 and key in model and key != other:
                assert c.command("RENAME", key, other) == b"OK"
                model[other] = model.pop(key)
            elif what == 5:
                assert c.command("GETDEL", key) == model.pop(key, (None,))[0]
            elif what == 6:
                assert c.command("PEXPIREAT", key, 1) == (key in model)  # gone at once
                model.pop(key, None)


def assert_holds(server, model):
    assert content(server.port) == model
    assert server.command("DBSIZE") == len(model)
    keys = list(BASE) + list(model) + [b"no such key"]
    assert server.command("MGET", *keys) == [model.get(key, (None,))[0] for key in keys]
    with server.connect() as c:
        found = {c.command("RANDOMKEY") for _ in range(50)}
    assert found <= (set(model) or {None})


# --- what it is ---

def test_begins_with_the_file(kept, data):
    server = kept(data=data)
    assert_holds(server, BASE)
    info = server.info("tarn")
    assert info["tarn_writable"] == "1" and info["tarn_data_file"] == data.path
    assert server.info()["tarn_base_records_left"] == str(len(RECORDS))
    assert server.info()["async_loading"] == "0"
    assert server.command("SET", "n", "1") == b"OK"
    assert server.info()["tarn_base_records_left"] == str(len(RECORDS) - 1)
    assert 'data_file="%s"' % data.path in server.log.text()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_changes_are_kept(kept, data, end):
    model = dict(BASE)
    for round_ in range(3):
        server = kept("--durability", "commit", data=data)
        assert_holds(server, model)
        change(server, model, round_)
        assert_holds(server, model)
        getattr(server, end)()
    assert_holds(kept(data=data), model)


def test_checkpoint(kept, data):
    """All is in DIR then, and changes go on; with the file or without."""
    model = dict(BASE)
    server = kept(data=data)
    change(server, model, 1)
    assert server.command("SAVE") == b"OK"
    assert_holds(server, model)
    change(server, model, 2)
    assert_holds(server, model)
    server.kill()
    server = kept(data=data)  # --durability periodic loses nothing to a kill
    assert_holds(server, model)
    change(server, model, 3)
    server.stop()
    server = kept()
    assert_holds(server, model)
    change(server, model, 4)
    assert server.command("SAVE") == b"OK"
    server.stop()
    server = kept(data=data)
    assert_holds(server, model)
    assert server.info()["tarn_base_records_left"] == "0"


def test_checkpoint_under_way(kept, data):
    """Changes while checkpoints are made one after another."""
    model = dict(BASE)
    server = kept(data=data)
    for round_ in range(8):
        assert server.command("BGSAVE").startswith(b"Background")
        change(server, model, round_, 150)
        eventually(lambda: server.info()["rdb_bgsave_in_progress"] == "0", "it ends")
    assert server.info()["rdb_last_bgsave_status"] == "ok"
    assert_holds(server, model)
    server.kill()
    assert_holds(kept(), model)


def test_checkpoint_at_exit(kept, data):
    server = kept("--checkpoint-at-exit", data=data)
    assert server.command("DEL", "n") == 1
    server.stop()
    assert_holds(kept(), {key: BASE[key] for key in BASE if key != b"n"})


def test_expiry(kept, data):
    server = kept(data=data)
    with server.connect() as c:
        assert c.command("PEXPIRE", "n", 1) == 1
        eventually(lambda: c.command("EXISTS", "n") == 0, "it expires")
        assert c.command("INCR", "n") == 1  # not 42
        assert c.command("PEXPIRE", "n", 1) == 1
        assert c.command("PEXPIREAT", "empty", FAR) == 1
        eventually(lambda: c.command("EXISTS", "n") == 0, "it expires")
    server.kill()
    model = dict(BASE, empty=None)
    del model["empty"], model[b"n"]
    model[b"empty"] = (b"", FAR)
    assert_holds(kept(data=data), model)


@pytest.mark.parametrize("saved", [False, True])
def test_flushall(kept, data, saved):
    server = kept(data=data)
    assert server.command("SET", "x", "1") == b"OK"
    assert server.command("FLUSHALL") == b"OK"
    assert_holds(server, {})
    assert server.command("SET", "n", "2") == b"OK"
    if saved:
        assert server.command("SAVE") == b"OK"
    server.kill()
    assert_holds(kept(data=data), {b"n": (b"2", None)})


def test_transactions(kept, data):
    server = kept(data=data)
    with server.connect() as c, server.connect() as other:
        assert c.command("WATCH", "n", "no such key") == b"OK"
        assert other.command("INCR", "n") == 42
        assert c.pipeline([["MULTI"], ["SET", "n", "0"], ["EXEC"]])[2] == resp.NULL_ARRAY
        assert c.command("WATCH", "empty") == b"OK"
        assert other.command("GET", "empty") == b""  # no change
        assert c.pipeline([["MULTI"], ["INCR", "n"], ["GET", "empty"], ["DEL", "big"], ["EXEC"]])[4] == [
            43, b"", 1]
        assert c.command("MSETNX", "x", "1", "n", "2") == 0
        assert c.command("MSETNX", "x", "1", "big", "2") == 1


# --- clients ---

def test_redis_py(kept, data, connect):
    r = connect(kept(data=data))
    assert r.get("n") == b"41" and r.incr("n") == 42
    assert r.set("n", "1", nx=True) is None and r.delete("n") == 1 and r.set("n", "1", nx=True)
    assert set(r.scan_iter(count=50)) == set(BASE) and r.dbsize() == len(BASE)
    pipe = r.pipeline()
    assert pipe.get("empty").append("empty", "x").ttl("empty").execute() == [b"", 1, -1]


def test_curl(kept, data):
    server = kept(data=data)

    def curl(path, *flags):
        done = run(["curl", "-sS", "-i", *flags, server.http_url + path])
        assert done.status == 0, done
        head, body = done.out.split("\r\n\r\n", 1)
        return int(head.split()[1]), body

    assert curl("/kv/n") == (200, "41")
    assert curl("/kv/n", "-X", "PUT", "--data-binary", "7")[0] == 204
    assert curl("/kv/new", "-X", "PUT", "--data-binary", "8")[0] == 201
    assert curl("/kv/n", "-X", "PUT", "--data-binary", "9", "-H", "If-None-Match: *")[0] == 412
    assert curl("/kv/empty", "-X", "DELETE")[0] == 204
    assert curl("/kv/empty")[0] == 404
    assert curl("/mget", "-d", '["n", "new", "empty"]') == (200, '{"n":"7","new":"8","empty":null}\n')
    assert curl("/incr/n", "-X", "POST") == (200, "8")
    assert curl("/healthz") == (200, "ok\n")
    assert len(curl("/kv/big")[1]) == 100000
    server.stop()
    again = kept(data=data)
    assert again.command("MGET", "n", "new", "empty") == [b"8", b"8", None]


def test_not_loaded_anew(kept, data):
    server = kept(data=data)
    assert server.command("SET", "n", "1") == b"OK"
    assert server.command("RELOAD").startswith(b"ERR the data file is not loaded anew: ")
    server.signal(signal.SIGHUP)
    assert server.log.wait_for("reload-refused reason=\"the data file is not loaded anew: ")
    assert server.command("GET", "n") == b"1"


# --- the file's flags ---

def test_flags_of_the_file(kept, data_file, tmp_path):
    """A format that cannot be detected, an index elsewhere, repeated keys."""
    records = [(b"a", b"1\0"), (b"b", b"2"), (b"a", b"3")]
    data = data_file("text", records)
    assert data.flags == ["--format", "text"]
    flags = ("--index", tmp_path / "elsewhere", "--on-duplicate", "first")
    server = kept(*flags, data=data)
    assert content(server.port) == {b"a": (b"1\0", None), b"b": (b"2", None)}
    assert (tmp_path / "elsewhere").exists() and not os.path.exists(data.path + ".tarnidx")
    assert server.command("DEL", "a") == 1
    server.kill()
    assert content(kept(*flags, data=data).port) == {b"b": (b"2", None)}


def test_memory(kept, run_tarn, data, tmp_path):
    refused = serve(run_tarn, data, tmp_path / "store", "--memory", "100K")
    assert refused.status == 1 and "memory" in refused.err
    server = kept("--memory", "64M", data=data)
    used = int(server.info("memory")["used_memory"])
    assert used > os.path.getsize(data.path)
    with server.connect() as c:
        replies = c.pipeline([["SET", "full %d" % i, "x" * 1000000] for i in range(70)])
        assert replies[-1].startswith(b"OOM ")
        assert c.command("GET", "n") == b"41" and c.command("DEL", "n") == 1
        assert c.command("GET", "n") is None


# --- the wrong file, or none ---

def serve(run_tarn, data, directory, *flags):
    words = [data.path, *data.flags] if data is not None else []
    return run_tarn("serve", *words, "--dir", directory, "--port", 0, "--http-port", 0, *flags)


def test_another_file(kept, run_tarn, data, data_file, tmp_path):
    server = kept(data=data)
    assert server.command("SET", "n", "1") == b"OK"
    server.stop()
    same_size = [(key, value[::-1]) for key, value in RECORDS]
    for name, records in (("size", RECORDS[:-1]), ("same", same_size)):
        other = data_file(data.kind, records, name=name)
        assert name == "size" or os.path.getsize(other.path) == os.path.getsize(data.path)
        line = one_line(serve(run_tarn, other, tmp_path / "store"), "tarn serve: " + other.path)
        assert "not the data file that the changes in" in line and "bytes and checksum" in line
    line = one_line(serve(run_tarn, None, tmp_path / "store"), "tarn serve: ")
    assert "it holds changes to a data file of %d bytes" % os.path.getsize(data.path) in line
    assert "name that file, too" in line
    assert kept(data=data).command("GET", "n") == b"1"


def test_store_of_its_own(kept, run_tarn, data, tmp_path):
    server = kept()
    assert server.command("SET", "n", "1") == b"OK"
    server.stop()
    line = one_line(serve(run_tarn, data, tmp_path / "store"), "tarn serve: ")
    assert "a store of its own, which holds no changes to a data file" in line
    assert kept().command("GET", "n") == b"1"


def test_after_a_checkpoint(kept, run_tarn, data, data_file, tmp_path):
    """The file is only looked at: another size is refused."""
    server = kept(data=data)
    assert server.command("SAVE") == b"OK"
    server.stop()
    other = data_file(data.kind, RECORDS[1:], name="other")
    line = one_line(serve(run_tarn, other, tmp_path / "store"), "tarn serve: ")
    assert "not the data file that the changes in" in line


# --- tools ---

def test_tools(kept, run_tarn, data, tmp_path):
    store = tmp_path / "store"
    model = dict(BASE)
    server = kept(data=data)
    change(server, model, 1)
    server.kill()
    checked = run_tarn("check", store)
    assert checked.status == 0, checked
    assert "no checkpoint yet: over a data file of %d bytes, which is not looked at" % os.path.getsize(
        data.path) in checked.out
    for command in (["dump", store], ["backup", store, tmp_path / "copy"],
                    ["repair", store, "--into", tmp_path / "new", "--accept-loss"]):
        refused = run_tarn(*command)
        assert refused.status == 1, refused
        assert "name that file, too: --over FILE" in refused.err
    assert not (tmp_path / "new").exists()
    dumped = run_tarn("dump", store, "--over", data.path)
    assert dumped.status == 0, dumped
    assert parse_json(dumped.out_bytes) == model
    repaired = run_tarn("repair", store, "--over", data.path, "--into", tmp_path / "new", "--accept-loss")
    assert repaired.status == 0, repaired
    assert_holds(kept(directory=tmp_path / "new"), model)
    copied = run_tarn("backup", store, tmp_path / "copy", "--over", data.path)
    assert copied.status == 0, copied
    assert_holds(kept(directory=tmp_path / "copy", data=data), model)
    loaded = run_tarn("load", "--over", data.path, store, input=b'{"key":"n","value":"loaded"}\n',
                      stdin=None)
    assert loaded.status == 0, loaded
    model[b"n"] = (b"loaded", None)
    assert_holds(kept(), model)  # loading made a checkpoint


def test_tools_and_the_wrong_file(kept, run_tarn, data, data_file, tmp_path):
    server = kept(data=data)
    assert server.command("DEL", "n") == 1
    server.stop()
    other = data_file(data.kind, RECORDS[:-1], name="other")
    for command in (["dump", tmp_path / "store"],
                    ["repair", tmp_path / "store", "--into", tmp_path / "new", "--accept-loss"]):
        refused = run_tarn(*command, "--over", other.path)
        assert refused.status == 1, refused
        assert "not the data file that the changes in" in refused.err
    refused = run_tarn("dump", data.path, "--over", other.path)
    assert refused.status == 2 and "that is about a directory" in refused.err


def test_backup_of_a_server(kept, run_tarn, data, tmp_path):
    model = dict(BASE)
    server = kept(data=data)
    change(server, model, 1)
    done = run_tarn("backup", "127.0.0.1:%d" % server.port, tmp_path / "copy")
    assert done.status == 0, done
    change(server, dict(model), 2)
    assert_holds(kept(directory=tmp_path / "copy", data=data), model)


def test_dump_of_a_server(kept, run_tarn, data):
    model = dict(BASE)
    server = kept(data=data)
    change(server, model, 1)
    dumped = run_tarn("dump", "127.0.0.1:%d" % server.port)
    assert dumped.status == 0 and parse_json(dumped.out_bytes) == model
