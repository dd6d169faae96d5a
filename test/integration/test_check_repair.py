"""Goal: tarn check tells a sound directory from a damaged one, whatever is damaged, and changes
nothing; tarn repair says what is the matter, and only when the loss is accepted brings what is sound
into a new directory, without a value that no key ever had; tarn backup makes a consistent copy, of a
server that goes on or of a directory.

Method: directories with a checkpoint and a log behind it in each log format, left by a server that
was stopped or killed; bytes changed, files cut, removed, doubled and exchanged; what is called sound
must hold what it held. (Every bit, every length and every failing call: the tests in C.)

Bugs planted once to see it fail: check exits with 0 for a damaged directory; check opens it for
writing; repair runs without --accept-loss; repair's target taken though it has files; the path of a
backup not made absolute.
"""
import json
import os
import shutil
import stat

import pytest

from test_cli import one_line
from test_dump_load import FAR, content, parse_json
from test_durability_server import kept  # noqa: F401 (a fixture)

FORMATS = ("binary", "cbor", "json")

# What each key is at the end, and all that it ever was.
BASE = {b"base %d" % i: (b"value %d" % i, FAR + i if i % 5 == 0 else None) for i in range(60)}
BASE[b"\xff\x00binary"] = (bytes(range(256)), None)
BASE[b""] = (b"", None)
LATER = {b"later %d" % i: (b"later value %d" % i, None) for i in range(40)}
LATER[b"base 1"] = (b"changed", None)


def expected():
    records = {**BASE, **LATER}
    del records[b"base 2"]
    return records


EVER = {key: {value, BASE.get(key)} for key, value in {**BASE, **LATER}.items()}


def fill(server, records):
    with server.connect() as client:
        for key, (value, expire_ms) in records.items():
            assert client.command("SET", key, value,
                                  *(("PXAT", expire_ms) if expire_ms else ())) == b"OK"


@pytest.fixture(params=FORMATS)
def store(request, kept, tmp_path):  # noqa: F811
    """A directory with a checkpoint, and a log behind it in one format; the server was killed."""
    return make_store(kept, tmp_path / "store", request.param)


def make_store(kept, path, log_format, closed=False):  # noqa: F811
    server = kept("--durability", "commit", "--log-format", log_format, directory=path)
    fill(server, BASE)
    assert server.command("SAVE") == b"OK"
    fill(server, LATER)
    assert server.command("DEL", "base 2") == 1
    server.stop() if closed else server.kill()
    return path


def snapshot(directory):
    """Everything in it: names, contents, times."""
    return {name: (os.stat(directory / name).st_mtime_ns, stat.S_IMODE(os.stat(
        directory / name).st_mode), (directory / name).read_bytes())
        for name in sorted(os.listdir(directory))}


def dump(run_tarn, directory):
    """What a copy of the directory holds, so that the directory stays as it is."""
    copy = directory.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory, copy)
    dumped = run_tarn("dump", copy)
    assert dumped.status == 0, repr(dumped)
    return parse_json(dumped.out_bytes)


def check(run_tarn, directory):
    """(status, JSON or None)"""
    checked = run_tarn("check", "--json", directory)
    assert checked.status in (0, 1, 2), repr(checked)
    assert (checked.status == 2) == (checked.out == ""), repr(checked)
    return checked.status, json.loads(checked.out) if checked.out else None


# --- sound ---

def test_sound(run_tarn, store):
    before = snapshot(store)
    checked = run_tarn("check", store)
    assert checked.status == 0 and checked.err == "", repr(checked)
    lines = checked.out.splitlines()
    assert lines[-1].startswith("sound: ") and "62 records in the checkpoint" in lines[-1]
    assert any(line.startswith("checkpoint-") and "sound" in line for line in lines)
    status, report = check(run_tarn, store)
    assert status == 0 and report["sound"] is True and report["closed_cleanly"] is False
    assert report["checkpoint_records"] == 62 and report["log_records"] == 42
    assert report["torn_bytes"] == 0 and report["report"] == lines[:-1]
    assert snapshot(store) == before
    assert dump(run_tarn, store) == expected()


def test_closed(run_tarn, kept, tmp_path):  # noqa: F811
    store = make_store(kept, tmp_path / "store", "binary", closed=True)
    assert check(run_tarn, store)[1]["closed_cleanly"] is True
    assert ", closed cleanly" in run_tarn("check", store).out


def test_not_checked(run_tarn, kept, tmp_path):  # noqa: F811
    """In use, not there, not a store: neither sound nor damaged."""
    kept()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_bytes(b"")
    for name, why in (("store", "another process"), ("nothing", "No such file"),
                      ("file", "not a directory"), ("other", "not a directory of a store")):
        for flags in ((), ("--json",)):
            checked = run_tarn("check", *flags, tmp_path / name)
            assert checked.status == 2, repr(checked)
            assert why in one_line(checked, "tarn check: ") and checked.out == ""
    refused = run_tarn("load", tmp_path / "other", input=b"", stdin=None)
    assert refused.status == 1
    one_line(refused, "tarn load: ")
    assert os.listdir(tmp_path / "other") == ["file"]


# --- damaged ---

def assert_noticed(run_tarn, store, what):
    """Refused, by check and by every command that opens it; or all of it is there."""
    checked = run_tarn("check", store)
    if checked.status == 0:
        assert dump(run_tarn, store) == expected(), what
        return False
    assert checked.status == 1, (what, checked)
    one_line(checked, "tarn check: ")
    status, report = check(run_tarn, store)
    assert status == 1 and report["sound"] is False and report["error"], what
    dumped = run_tarn("dump", store)
    assert dumped.status == 1 and dumped.out == "", (what, dumped)
    return True


def files_of(store):
    return sorted(name for name in os.listdir(store) if name != "LOCK")


def test_changed_bytes(run_tarn, store):
    noticed = tried = 0
    for name in files_of(store):
        path, data = store / name, (store / name).read_bytes()
        # what is behind the records is filling
        size = len(data.rstrip(data[-1:])) if name.startswith("wal") else len(data)
        for at in range(0, size, max(1, size // 12)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1:])
            tried += 1
            noticed += assert_noticed(run_tarn, store, "%s, byte %d" % (name, at))
        path.write_bytes(data)
    assert noticed >= tried * 0.9
    assert check(run_tarn, store)[0] == 0


def test_cut_files(run_tarn, store):
    for name in files_of(store):
        path, data = store / name, (store / name).read_bytes()
        size = len(data.rstrip(data[-1:])) if name.startswith("wal") else len(data)
        for length in range(0, size, max(1, size // 7)):
            path.write_bytes(data[:length])
            assert assert_noticed(run_tarn, store, "%s cut to %d" % (name, length))
        path.write_bytes(data)


def test_files_gone_and_exchanged(run_tarn, kept, store, tmp_path):  # noqa: F811
    other = make_store(kept, tmp_path / "other", "binary")
    names = files_of(store)
    for name in names:
        path, data = store / name, (store / name).read_bytes()
        path.unlink()
        assert assert_noticed(run_tarn, store, name + " gone")
        for replacement in names:
            if replacement != name:
                path.write_bytes((store / replacement).read_bytes())
                assert assert_noticed(run_tarn, store, "%s is %s" % (name, replacement))
        if os.path.exists(other / name):
            path.write_bytes((other / name).read_bytes())
            assert assert_noticed(run_tarn, store, name + " of another store")
        path.write_bytes(data)


# --- repair ---

def damage(store, part):
    """Change a byte in the middle of a file; its name."""
    name = next(name for name in files_of(store) if name.startswith(part))
    data = bytearray((store / name).read_bytes())
    size = len(bytes(data).rstrip(data[-1:])) if part == "wal" else len(data)
    data[size // 2] ^= 4
    (store / name).write_bytes(data)
    return name


def repair(run_tarn, store, target):
    """Repaired; what is there, after the target was found sound and the old one unchanged."""
    before = snapshot(store)
    repaired = run_tarn("repair", store, "--into", target, "--accept-loss")
    assert repaired.status == 0 and repaired.err == "", repr(repaired)
    assert snapshot(store) == before
    assert check(run_tarn, target)[0] == 0
    found = dump(run_tarn, target)
    for key, value in found.items():
        assert value in EVER[key], (key, value)
    return found


@pytest.mark.parametrize("part", ["checkpoint", "wal", "MANIFEST", "SYNCED"])
def test_repair(run_tarn, kept, store, tmp_path, part):  # noqa: F811
    damage(store, part)
    before, target = snapshot(store), tmp_path / "repaired"
    refused = run_tarn("repair", store, "--into", target)
    assert refused.status == 2 and "--accept-loss" in one_line(refused, "tarn repair: ")
    assert "damaged" in refused.out or "CORRUPT" in refused.out or part in refused.out, refused
    assert not target.exists() and snapshot(store) == before
    found = repair(run_tarn, store, target)
    if part == "checkpoint":  # its one block is lost, the log is not
        assert {key: found[key] for key in LATER} == LATER
    if part in ("MANIFEST", "SYNCED"):
        assert found == expected()
    if part == "wal":
        assert {key: value for key, value in found.items() if key in BASE and
                key not in (b"base 1", b"base 2")} == \
            {key: value for key, value in BASE.items() if key not in (b"base 1", b"base 2")}
        assert len(found) >= len(BASE) + 15 - 1
    serving = kept(directory=target)
    assert content(serving.port) == found


@pytest.mark.parametrize("part", ["checkpoint", "wal", "MANIFEST", "SYNCED"])
def test_repair_without_a_file(run_tarn, store, tmp_path, part):
    for name in files_of(store):
        if name.startswith(part):
            (store / name).unlink()
    found = repair(run_tarn, store, tmp_path / "repaired")
    if part == "checkpoint":
        assert {key: found[key] for key in LATER} == LATER
    elif part == "wal":
        assert found == BASE
    else:
        assert found == expected()


def test_repair_of_a_sound_one(run_tarn, store, tmp_path):
    explained = run_tarn("repair", store)
    assert explained.status == 0 and "nothing to repair" in explained.out
    assert repair(run_tarn, store, tmp_path / "repaired") == expected()


def test_repair_goes_nowhere_else(run_tarn, store, tmp_path):
    """Into a new or empty directory only, and never into the damaged one."""
    damage(store, "checkpoint")
    before = snapshot(store)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_bytes(b"mine")
    (tmp_path / "empty").mkdir()
    for target in (store, tmp_path / "full", tmp_path / "full" / "file"):
        refused = run_tarn("repair", store, "--into", target, "--accept-loss")
        assert refused.status == 1, repr(refused)
        one_line(refused, "tarn repair: ")
        assert snapshot(store) == before
    assert os.listdir(tmp_path / "full") == ["file"]
    refused = run_tarn("repair", store, "--accept-loss")
    assert refused.status == 2 and "--into" in one_line(refused, "tarn repair: ")
    repair(run_tarn, store, tmp_path / "empty")
    refused = run_tarn("repair", store, "--into", tmp_path / "empty", "--accept-loss")
    assert refused.status == 1  # there is a store in it now
    refused = run_tarn("repair", tmp_path / "nothing", "--into", tmp_path / "x", "--accept-loss")
    assert refused.status == 1 and not (tmp_path / "x").exists(), repr(refused)


# --- backup ---

def test_backup_of_a_server(run_tarn, kept, tmp_path):  # noqa: F811
    server = kept("--durability", "commit")
    fill(server, BASE)
    assert server.command("SAVE") == b"OK"
    fill(server, LATER)
    assert server.command("DEL", "base 2") == 1
    where = "localhost:%d" % server.port
    done = run_tarn("backup", where, "copy", cwd=tmp_path)  # a name of ours, made absolute
    assert done.status == 0 and done.out == "copy: a copy of %s\n" % where, repr(done)
    refused = run_tarn("backup", where, tmp_path / "copy")
    assert refused.status == 1
    one_line(refused, "tarn backup: ")
    # what happens later is not in it
    assert server.command("SET", "base 1", "after") == b"OK"
    assert server.command("SAVE") == b"OK"
    assert check(run_tarn, tmp_path / "copy")[0] == 0
    second = kept(directory=tmp_path / "copy")
    assert content(second.port) == expected()
    assert second.command("SET", "base 3", "changed in the copy") == b"OK"
    assert server.command("GET", "base 3") == BASE[b"base 3"][0]


def test_backup_while_it_is_written_to(run_tarn, kept, tmp_path):  # noqa: F811
    """The copy is of one moment: of changes in order it has the first."""
    server = kept("--durability", "async")
    with server.connect() as client:
        def write(count):
            replies = client.pipeline([("SET", "k%d" % n, n) for n in count])
            assert replies == [b"OK"] * len(replies)
        write(range(2000))
        client.send(b"".join(b"SET k%d %d\r\n" % (n, n) for n in range(2000, 60000)))
        copies = []
        for number in range(3):
            done = run_tarn("backup", "localhost:%d" % server.port, tmp_path / str(number))
            assert done.status == 0, repr(done)
            copies.append(dump(run_tarn, tmp_path / str(number)))
        for _ in range(2000, 60000):
            assert client.read_reply() == b"OK"
    sizes = [len(found) for found in copies]
    assert sizes[0] >= 2000 and sizes == sorted(sizes)
    for found in copies:
        assert found == {b"k%d" % n: (b"%d" % n, None) for n in range(len(found))}


def test_backup_is_allowed_or_not(run_tarn, kept, server, tmp_path):  # noqa: F811
    refusing = kept("--enable-backup-command", "no")
    for running, why in ((refusing, "TARN.BACKUP"), (server(None), "")):
        refused = run_tarn("backup", "localhost:%d" % running.port, tmp_path / "copy")
        assert refused.status == 1 and why in one_line(refused, "tarn backup: ")
        assert not (tmp_path / "copy").exists()


def test_backup_of_a_directory(run_tarn, store, tmp_path):
    done = run_tarn("backup", store, tmp_path / "new copy")
    assert done.status == 0, repr(done)
    assert check(run_tarn, tmp_path / "new copy")[0] == 0
    assert dump(run_tarn, tmp_path / "new copy") == expected()
    assert dump(run_tarn, store) == expected()
    refused = run_tarn("backup", store, tmp_path / "new copy")
    assert refused.status == 1
    one_line(refused, "tarn backup: ")
    assert dump(run_tarn, tmp_path / "new copy") == expected()
    for source in (tmp_path / "nothing", tmp_path):
        refused = run_tarn("backup", source, tmp_path / "x")
        assert refused.status == 1 and "no store" in one_line(refused, "tarn backup: ")
