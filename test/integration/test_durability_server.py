"""Goal: a store that is kept in a directory loses no more than the dial says, tells of nothing before
it may, and says clearly what is wrong when the disk is; commands, settings and figures about it.

Method: the real program. It is killed in the middle of a run and started again, and what clients were
told is compared with what is there. held_disk.c, preloaded, makes the disk wait, fail or be full; that
a reply is held is seen in the server's own figures.
"""
import http.client
import json
import os
import shutil
import signal
import socket
import threading

import pytest

import conftest
import resp
from conftest import eventually, run

DIALS = ("async", "periodic", "commit")
UNSURE = b"UNSURE outcome unknown: "


class Kept(conftest.Server):
    """One `tarn serve --dir`, that may be killed."""
    killed = False

    def kill(self):
        self.killed = True
        self.process.kill()
        self.process.wait()
        self.log.thread.join(conftest.TIMEOUT)

    def stop(self):
        if not self.killed:
            super().stop()

    def ends(self, status):
        """It ends by itself, with this status."""
        assert self.wait_exit() == status
        self.killed = True

    def info(self, section="persistence"):
        text = self.command("INFO", section).decode()
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)

    def recovered(self):
        """What the log said of recovery, as a dict."""
        line = self.log.wait_for(r"store recovered (.*)").group(1)
        return dict(word.split("=", 1) for word in line.split(" "))


@pytest.fixture
def kept(tmp_path):
    """kept("--durability", "commit", ...) serves the directory tmp_path/store (directory=: another;
    data=: over a data file)."""
    started = []

    def start(*flags, directory=None, env=None, data=None):
        flags = ("--dir", directory or tmp_path / "store") + flags
        if "--threads" not in flags:
            flags += ("--threads", "2")
        flags += tuple(getattr(data, "flags", ()))
        server = Kept(getattr(data, "path", data), flags, env=env)
        started.append(server)
        if not server.ready:
            server.kill()
            pytest.fail("server did not become ready:\n" + server.log.text())
        return server
    yield start
    conftest._stop_all(started)


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    if conftest.sanitized():
        pytest.skip("sanitizers want to be loaded first")
    library = tmp_path_factory.mktemp("held") / "held_disk.so"
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "held_disk.c")
    compiler = os.environ.get("CC") or shutil.which("gcc") or "cc"
    done = run([compiler, "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", library,
                source, "-ldl"])
    assert done.status == 0, done
    return library


class Disk:
    def __init__(self, path, library):
        self.path = path
        path.mkdir()
        self.env = {"LD_PRELOAD": str(library), "HELD_DISK": str(path)}

    def set(self, what):
        (self.path / what).touch()

    def unset(self, what):
        (self.path / what).unlink()


@pytest.fixture
def disk(tmp_path, shim):
    return Disk(tmp_path / "disk", shim)


def has_nothing(connection):
    """Has no byte arrived?"""
    connection.socket.setblocking(False)
    try:
        return connection.socket.recv(1, socket.MSG_PEEK) is None
    except BlockingIOError:
        return True
    finally:
        connection.socket.settimeout(conftest.TIMEOUT)


def ask(server, method, path, body=None, headers=()):
    connection = http_client(server)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        return answer
    finally:
        connection.close()


def http_client(server):
    return http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=conftest.TIMEOUT)


# --- starting ---

@pytest.mark.parametrize("flags, words", [
    (["--durability", "commit"], "--durability is about a store that is kept in a directory, and "
                                 "--dir DIR is missing"),
    (["--log-files", "2"], "--log-files is about"),
    (["--checkpoint-at-exit"], "--checkpoint-at-exit is about"),
    (["--dir", "D", "--durability", "always"], "none, async, periodic"),
    (["--dir", "D", "--queue-depth", "0"], "--queue-depth"),
    (["--dir", "D", "--log-files", "65"], "--log-files"),
    (["--load-before-serving", "1G"], "--load-before-serving is about"),
    (["--dir", "D", "--format", "text"], "--format is about a data file, and FILE is missing"),
])
def test_misuse(run_tarn, tmp_path, flags, words):
    done = run_tarn("serve", "--port", 0, "--http-port", 0, *flags, cwd=tmp_path)
    assert done.status == 2, done
    assert words in done.err
    assert os.listdir(tmp_path) == []


def test_directory_is_locked(kept, run_tarn, tmp_path):
    kept()
    done = run_tarn("serve", "--dir", tmp_path / "store", "--port", 0, "--http-port", 0)
    assert done.status == 1, done
    assert "store" in done.err and "use" in done.err


def test_not_a_directory(run_tarn, tmp_path):
    (tmp_path / "file").write_text("x")
    done = run_tarn("serve", "--dir", tmp_path / "file", "--port", 0, "--http-port", 0)
    assert done.status != 0 and "file" in done.err


@pytest.mark.parametrize("dial", DIALS)
def test_clean_restart(kept, dial):
    first = kept("--durability", dial)
    with first.connect() as c:
        assert c.pipeline([["SET", "k%d" % i, i] for i in range(1000)]) == [b"OK"] * 1000
        assert c.command("SET", "lives", "x", "PX", 100000000) == b"OK"
        assert c.command("DEL", "k0") == 1
        assert c.command("INCRBY", "k1", 41) == 42
        assert c.pipeline([["MULTI"], ["APPEND", "k2", "!"], ["SETRANGE", "k3", 3, "z"], ["EXEC"]])[3]
    first.stop()
    again = kept("--durability", dial)
    found = again.recovered()
    assert found["closed_cleanly"] == "yes" and found["truncated_bytes"] == "0"
    assert found["replayed_records"] == "1005"
    with again.connect() as c:
        assert c.command("DBSIZE") == 1000
        assert c.command("MGET", "k0", "k1", "k2", "k3", "k999") == [
            None, b"42", b"2!", b"3\0\0z", b"999"]
        assert 0 < c.command("PTTL", "lives") <= 100000000


def test_none_keeps_checkpoints(kept):
    server = kept("--durability", "none")
    assert server.command("SET", "a", 1) == b"OK"
    assert server.command("SAVE") == b"OK"
    assert server.command("SET", "b", 1) == b"OK"
    server.stop()
    server = kept("--durability", "none", "--checkpoint-at-exit")
    assert server.command("MGET", "a", "b") == [b"1", None]
    assert server.command("SET", "c", 1) == b"OK"
    server.stop()
    server = kept()
    assert server.command("MGET", "a", "b", "c") == [b"1", None, b"1"]


# --- killed in the middle ---

class Writer(threading.Thread):
    """Writes name:0, name:1, ... a few at a time; `told` are known to be done."""

    def __init__(self, server, name, depth):
        super().__init__(daemon=True)
        self.connection, self.name, self.depth, self.told = server.connect(), name, depth, 0
        self.wrong = None
        self.start()

    def run(self):
        try:
            while True:
                at = self.told
                self.connection.send(b"".join(
                    resp.encode("SET", "%s:%d" % (self.name, i), "%d" % i)
                    for i in range(at, at + self.depth)))
                for _ in range(self.depth):
                    reply = self.connection.read_reply()
                    if reply != b"OK":
                        self.wrong = reply
                        return
                    self.told += 1
        except (resp.Closed, OSError):
            pass


def kept_of(connection, writer):
    """How many of a writer's there are; checks that they are the first and whole."""
    upto = writer.told + writer.depth
    values = connection.command("MGET", *["%s:%d" % (writer.name, i) for i in range(upto + 1)])
    there = [value is not None for value in values]
    count = sum(there)
    assert there == [True] * count + [False] * (len(there) - count), writer.name
    assert values[:count] == [b"%d" % i for i in range(count)]
    return count


@pytest.mark.parametrize("dial, extra, may_lose", [
    ("commit", [], 0),
    ("commit", ["--log-files", "3", "--log-format", "cbor"], 0),
    ("periodic", ["--log-format", "json"], 0),
    ("periodic", ["--write-period-us", "1000000", "--log-files", "2"], 0),
    ("async", ["--queue-depth", "1"], 1),
    ("async", ["--queue-depth", "1000"], 1000),
    ("async", ["--checkpoint-log-bytes", "64K", "--queue-depth", "100"], 100),
    ("commit", ["--checkpoint-log-bytes", "64K"], 0),
])
def test_killed(kept, dial, extra, may_lose):
    for round_ in range(3):
        server = kept("--durability", dial, *extra)
        writers = [Writer(server, "%d:%d" % (round_, i), depth) for i, depth in enumerate((1, 1, 16, 50))]
        eventually(lambda: min(w.told for w in writers) > 200, "the writers write")
        server.kill()
        for writer in writers:
            writer.join(conftest.TIMEOUT)
            assert not writer.is_alive() and writer.wrong is None
        again = kept("--durability", dial, *extra)
        with again.connect() as c:
            lost = sum(max(0, w.told - kept_of(c, w)) for w in writers)
        assert lost <= may_lose
        again.stop()


def test_killed_with_readers(kept):
    """With commit what a reader has seen survives, too, though the writer was not told."""
    server = kept("--durability", "commit")
    writer = Writer(server, "w", 50)
    seen = []

    def read():
        try:
            with server.connect() as c:
                while True:
                    at = writer.told
                    values = c.command("MGET", *["w:%d" % i for i in range(at, at + 50)])
                    seen.append(at + sum(value is not None for value in values))
        except (resp.Closed, OSError):
            pass
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    eventually(lambda: writer.told > 500 and len(seen) > 50, "both go on")
    server.kill()
    writer.connection.close()
    writer.join(conftest.TIMEOUT)
    reader.join(conftest.TIMEOUT)
    with kept().connect() as c:
        assert kept_of(c, writer) >= max(seen)


# --- what is held ---

def held(server, count):
    return eventually(lambda: server.info()["tarn_clients_held"] == str(count), "%d held" % count)


def test_commit_holds_replies(kept, disk):
    server = kept("--durability", "commit", env=disk.env)
    with server.connect() as a, server.connect() as b, server.connect() as c, server.connect() as d:
        assert a.command("SET", "old", "1") == b"OK"
        disk.set("hold")
        a.send(resp.encode("SET", "new", "1") + resp.encode("GET", "old"))
        held(server, 1)
        assert b.command("GET", "old") == b"1"  # others go on
        b.send(resp.encode("GET", "new"))  # but do not see it
        held(server, 2)
        a.send(resp.encode("INCR", "new"))         # is not executed before that is known
        c.send(resp.encode("MULTI") + resp.encode("INCR", "n") + resp.encode("EXEC"))
        held(server, 3)
        d.send(resp.encode("CLIENT", "REPLY", "OFF") + resp.encode("SET", "quiet", "1"))
        held(server, 4)
        assert has_nothing(a) and has_nothing(b) and has_nothing(c) and has_nothing(d)
        disk.unset("hold")
        assert [a.read_reply() for _ in range(3)] == [b"OK", b"1", 2]
        assert b.read_reply() == b"1"
        assert [c.read_reply() for _ in range(3)] == [b"OK", b"QUEUED", [1]]
        d.send(resp.encode("CLIENT", "REPLY", "ON") + resp.encode("GET", "quiet"))
        assert [d.read_reply() for _ in range(2)] == [b"OK", b"1"]
        held(server, 0)


def test_stop_waits_for_the_log(kept, disk):
    server = kept("--durability", "commit", env=disk.env)
    with server.connect() as a:
        a.command("PING")
        disk.set("hold")
        a.send(resp.encode("SET", "k", "1"))
        held(server, 1)
        server.signal(signal.SIGTERM)
        assert server.log.wait_for("server stopping")
        disk.unset("hold")
        assert a.read_reply() == b"OK"
    assert server.wait_exit() == 0
    assert kept().command("GET", "k") == b"1"


def ends_at_second_signal(server, waits_for):
    """It says that it waits, and for what; the next signal ends it."""
    said = server.log.wait_for('server still-stopping waiting_for="([^"]*)" seconds=').group(1)
    assert said == waits_for
    server.signal(signal.SIGINT)
    server.ends(1)
    assert server.log.wait_for('stopped reason="second signal" waited_for="%s"' % waits_for)


@pytest.mark.parametrize("asked", [False, True])
def test_disk_hangs_at_the_end(kept, disk, asked):
    """However the end began, the first signal is not the second."""
    server = kept("--durability", "async", env=disk.env)
    assert server.command("SET", "k", "1") == b"OK"
    disk.set("hold")
    if asked:
        with server.connect() as c, pytest.raises(resp.Closed):
            c.command("SHUTDOWN")
        assert server.log.wait_for("stopping reason=request")
        server.signal(signal.SIGTERM)
        assert server.log.wait_for("stopping signal=SIGTERM waiting_for=")
    else:
        server.signal(signal.SIGTERM)
    ends_at_second_signal(server, "the log to be written and synced")
    disk.unset("hold")
    assert kept().command("GET", "k") == b"1"


def test_disk_hangs_in_the_last_checkpoint(kept, disk):
    server = kept("--checkpoint-at-exit", env=disk.env)
    assert server.command("SET", "k", "1") == b"OK"
    disk.set("hold-save")
    server.signal(signal.SIGTERM)
    ends_at_second_signal(server, "the checkpoint at the end")


def test_end_is_only_late(kept, disk):
    server = kept("--durability", "async", env=disk.env)
    assert server.command("SET", "k", "1") == b"OK"
    disk.set("hold")
    server.signal(signal.SIGTERM)
    assert server.log.wait_for("server still-stopping")
    disk.unset("hold")
    assert server.wait_exit() == 0


def test_monitor_goes_on(kept, disk):
    server = kept("--durability", "commit", "--threads", "1", env=disk.env)
    with server.connect() as m, server.connect() as a:
        assert m.command("MONITOR") == b"OK"
        disk.set("hold")
        a.send(resp.encode("SET", "k", "1"))
        assert m.read_reply().endswith(b'"SET" "k" "1"')
        disk.unset("hold")
        assert a.read_reply() == b"OK"


@pytest.mark.parametrize("dial", ["periodic", "async"])
def test_waitaof(kept, disk, dial):
    server = kept("--durability", dial, "--write-period-us", "3600000000", env=disk.env)
    with server.connect() as a:
        assert a.command("WAITAOF", 1, 0, 0) == [1, 0]  # nothing to wait for
        assert a.command("SET", "k", "1") == b"OK"
        assert a.command("WAITAOF", 0, 0, 0) in ([0, 0], [1, 0])
        assert a.command("WAITAOF", 1, 0, 0) == [1, 0]  # it is hurried
        info = server.info()
        assert info["tarn_log_durable"] == info["tarn_log_sequence"] == "1"
        disk.set("hold")
        assert a.command("SET", "k", "2") == b"OK"
        assert a.command("WAITAOF", 1, 0, 100) == [0, 0]
        assert a.command("WAITAOF", 0, 1, 1) == [0, 0]
        a.send(resp.encode("WAITAOF", 1, 0, 0) + resp.encode("PING"))
        eventually(lambda: server.info("clients")["blocked_clients"] == "1", "it waits")
        assert has_nothing(a)
        disk.unset("hold")
        assert [a.read_reply(), a.read_reply()] == [[1, 0], b"PONG"]
        a.command("SET", "k", "3")
        disk.set("fail")
        assert a.command("WAITAOF", 1, 0, 0).startswith(UNSURE)


def test_waitaof_when_the_dial_is_turned(kept):
    server = kept("--durability", "none")
    error = b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
    assert server.command("WAITAOF", 1, 0, 0) == error
    assert server.command("WAITAOF", 0, 0, 0) == [0, 0]


# --- a disk that fails, or is full ---

def test_log_fails(kept, disk):
    server = kept("--durability", "commit", env=disk.env)
    with server.connect() as a, server.connect() as b:
        assert a.command("SET", "old", "1") == b"OK"
        disk.set("hold")
        a.send(resp.encode("SET", "new", "1") + resp.encode("PING"))
        held(server, 1)
        b.send(resp.encode("GET", "new"))
        held(server, 2)
        disk.set("fail")
        disk.unset("hold")
        assert a.read_reply().startswith(UNSURE) and a.read_reply().startswith(UNSURE)
        assert b.read_reply().startswith(UNSURE)
        assert a.command("GET", "old") == b"1"  # reads go on
        for request in (["SET", "x", "1"], ["DEL", "old"], ["INCR", "n"], ["MSET", "x", "1"],
                        ["APPEND", "old", "x"], ["EXPIRE", "old", "9"], ["FLUSHALL"]):
            assert a.command(*request).startswith(b"MISCONF Errors writing to the AOF file: "), request
        replies = a.pipeline([["MULTI"], ["SET", "x", "1"], ["GET", "old"], ["EXEC"]])
        assert replies[3][0].startswith(b"MISCONF ") and replies[3][1] == b"1"
        assert b.command("MGET", "old", "x") == [b"1", None]
    info = server.info()
    assert info["aof_last_write_status"] == "err" and info["tarn_log_state"] == "failed"
    assert info["tarn_log_failure"]
    assert ask(server, "GET", "/kv/old").text == "1"
    for answer in (ask(server, "PUT", "/kv/x", b"1"), ask(server, "DELETE", "/kv/old"),
                   ask(server, "POST", "/incr/n"), ask(server, "POST", "/mset", b'{"x":"1"}'),
                   ask(server, "GET", "/healthz")):
        assert answer.status == 503 and "the log has failed" in json.loads(answer.text)["error"]
    assert "\ntarn_log_failed 1\n" in ask(server, "GET", "/metrics").text
    server.kill()  # it cannot close cleanly
    disk.unset("fail")
    with kept(env=disk.env).connect() as c:
        assert c.command("GET", "old") == b"1"
        assert c.command("SET", "x", "1") == b"OK"


@pytest.mark.parametrize("dial", DIALS)
def test_disk_full(kept, disk, dial):
    server = kept("--durability", dial, "--queue-depth", "1", env=disk.env)
    with server.connect() as a:
        assert a.command("SET", "old", "1") == b"OK"
        disk.set("full")
        told, i = [], 0
        while True:  # the first may be acknowledged (async), then its outcome is unknown
            reply = a.command("SET", "k%d" % i, "1")
            if reply != b"OK":
                break
            told.append("k%d" % i)
            i += 1
        assert reply.startswith((UNSURE, b"MISCONF "))
        assert len(told) <= (1 if dial == "async" else 0)
        full = b"MISCONF Errors writing to the AOF file: No space left on device"
        assert a.command("SET", "x", "1") == full
        assert a.command("GET", "old") == b"1"
        assert server.info()["tarn_log_state"] == "no-space"
        answer = ask(server, "PUT", "/kv/x", b"1")
        assert answer.status == 507 and "no space left" in json.loads(answer.text)["error"]
        assert ask(server, "GET", "/healthz").status == 507
        disk.unset("full")
        eventually(lambda: a.command("SET", "x", "2") == b"OK", "it writes again by itself")
        assert ask(server, "GET", "/healthz").status == 200
    server.stop()
    with kept(env=disk.env).connect() as c:
        assert c.command("MGET", "old", "x", *told) == [b"1", b"2"] + [b"1"] * len(told)


# --- HTTP ---

def test_http_prefer(kept, disk):
    server = kept("--durability", "async", env=disk.env)
    plain = ask(server, "PUT", "/kv/a", b"1")
    assert plain.status == 201 and plain.getheader("Preference-Applied") is None
    for method, path, body in (("PUT", "/kv/b", b"1"), ("POST", "/incr/n", None),
                               ("POST", "/mset", b'{"c":"1"}'), ("DELETE", "/kv/c", None)):
        answer = ask(server, method, path, body, {"Prefer": "wait=5, durability=commit"})
        assert answer.status < 300 and answer.getheader("Preference-Applied") == "durability=commit"
        info = server.info()
        assert info["tarn_log_durable"] == info["tarn_log_sequence"]
    ask(server, "PUT", "/kv/d", b"1")
    disk.set("fail")
    answer = ask(server, "PUT", "/kv/e", b"1", {"Prefer": "durability=commit"})
    assert answer.status == 503 and "outcome unknown" in json.loads(answer.text)["error"]
    server.kill()


def test_http_waits_for_the_dial(kept, disk):
    server = kept("--durability", "commit", env=disk.env)
    disk.set("hold")
    connection = http_client(server)
    connection.request("PUT", "/kv/a", b"1")
    eventually(lambda: server.info()["tarn_log_sequence"] == "1", "it has been made")
    assert server.info()["tarn_log_durable"] == "0"
    with server.connect() as c:
        c.send(resp.encode("GET", "a"))
        held(server, 1)
        disk.unset("hold")
        assert c.read_reply() == b"1"
    assert connection.getresponse().status == 201
    connection.close()


def test_http_prefer_in_memory(server):
    s = server(None)
    answer = ask(s, "PUT", "/kv/b", b"1", {"Prefer": "durability=commit"})
    assert answer.status == 201 and answer.getheader("Preference-Applied") is None


# --- checkpoints and backups ---

def test_save_commands(kept):
    server = kept()
    started = server.command("LASTSAVE")
    assert 0 <= int(server.command("TIME")[0]) - started < 100000
    with server.connect() as c:
        c.pipeline([["SET", "k%d" % i, i] for i in range(500)])
        assert server.info()["rdb_changes_since_last_save"] == "500"
        assert c.command("SAVE") == b"OK"
        assert c.command("LASTSAVE") >= started
        info = server.info()
        assert info["rdb_changes_since_last_save"] == "0" and info["rdb_saves"] == "1"
        assert info["rdb_last_bgsave_status"] == "ok" and info["tarn_checkpoint_records"] == "500"
        assert c.command("BGSAVE", "SCHEDULE") == b"Background saving started"
        eventually(lambda: server.info()["rdb_saves"] == "2", "it is saved")
        assert c.command("BGREWRITEAOF") == b"Background append only file rewriting started"
        eventually(lambda: server.info()["rdb_saves"] == "3", "it is saved")
        assert c.pipeline([["MULTI"], ["SET", "x", "1"], ["BGSAVE"], ["EXEC"]])[3] == [
            b"OK", b"Background saving scheduled"]
        eventually(lambda: server.info()["rdb_saves"] == "4", "it is saved")
        assert c.command("BGSAVE", "now") == b"ERR syntax error"
        assert c.pipeline([["MULTI"], ["SAVE"]])[1] == (
            b"ERR Command not allowed inside a transaction")
    server.kill()
    again = kept()
    assert again.recovered()["checkpoint_records"] == "501"
    assert again.command("DBSIZE") == 501


@pytest.mark.parametrize("data", [False, True])
def test_nothing_to_save_to(server, data_file, data):
    s = server(data_file() if data else None)
    for command in (["SAVE"], ["BGSAVE"], ["BGREWRITEAOF"], ["TARN.BACKUP", "/tmp/nowhere"]):
        assert s.command(*command).startswith(
            b"ERR there is nothing to save" if data else b"ERR there is nowhere to save to")
    assert s.command("LASTSAVE") > 1700000000
    if not data:
        assert s.command("SHUTDOWN", "SAVE").startswith(b"ERR Errors trying to SHUTDOWN")
        assert s.command("PING") == b"PONG"


def test_checkpoint_by_size_and_time(kept):
    server = kept("--checkpoint-log-bytes", "64K", "--durability", "async")
    with server.connect() as c:
        for _ in range(20):
            c.pipeline([["SET", "k%d" % i, "x" * 1000] for i in range(100)])
        eventually(lambda: int(server.info()["rdb_saves"]) > 0, "a checkpoint for the size")
        saves = int(server.info()["rdb_saves"])
        assert c.command("CONFIG", "SET", "checkpoint-period", "1") == b"OK"
        c.command("SET", "k", "1")
        eventually(lambda: int(server.info()["rdb_saves"]) > saves, "a checkpoint for the time")


@pytest.mark.parametrize("words, checkpoint", [
    ((), False), (("SAVE",), True), (("NOSAVE",), False), (("NOW", "FORCE", "SAVE"), True)])
def test_shutdown(kept, words, checkpoint):
    server = kept()
    assert server.command("SET", "k", "1") == b"OK"
    with server.connect() as c:
        with pytest.raises(resp.Closed):
            c.command("SHUTDOWN", *words)
    assert server.wait_exit() == 0
    again = kept("--checkpoint-at-exit")
    assert again.command("GET", "k") == b"1"
    assert again.recovered()["checkpoint_records"] == str(int(checkpoint))
    with again.connect() as c:
        with pytest.raises(resp.Closed):
            c.command("SHUTDOWN", *words)
    assert again.wait_exit() == 0
    last = kept()
    checkpoint |= "NOSAVE" not in words  # --checkpoint-at-exit said so
    assert last.recovered()["checkpoint_records"] == str(int(checkpoint))
    assert last.command("GET", "k") == b"1"


SHUTDOWN_FAILED = b"ERR Errors trying to SHUTDOWN. Check logs."


@pytest.mark.parametrize("words", [("SAVE",), (), ("NOW", "SAVE")])
def test_shutdown_that_cannot_save(kept, disk, words):
    """As in Redis: an error, and it stays."""
    server = kept("--checkpoint-at-exit", env=disk.env)
    disk.set("fail-save")
    with server.connect() as a, server.connect() as b:
        assert a.command("SET", "k", "1") == b"OK"
        a.send(resp.encode("SHUTDOWN", *words) + resp.encode("SET", "l", "2"))
        assert a.read_reply() == SHUTDOWN_FAILED and a.read_reply() == b"OK"
        assert server.log.wait_for("server save-failed reason=")
        assert b.command("GET", "l") == b"2"
        disk.unset("fail-save")
        with pytest.raises(resp.Closed):
            b.command("SHUTDOWN", *words)
    assert server.wait_exit() == 0
    again = kept()
    assert again.recovered()["checkpoint_records"] == "2"


@pytest.mark.parametrize("words, status", [
    (("FORCE", "SAVE"), 1), (("FORCE",), 1), (("NOSAVE",), 0), (("NOSAVE", "NOW"), 0)])
def test_shutdown_in_any_case(kept, disk, words, status):
    server = kept("--checkpoint-at-exit", env=disk.env)
    disk.set("fail-save")
    with server.connect() as c:
        assert c.command("SET", "k", "1") == b"OK"
        with pytest.raises(resp.Closed):
            c.command("SHUTDOWN", *words)
    server.ends(status)
    assert kept().command("GET", "k") == b"1"


@pytest.mark.parametrize("dial", ["none", "commit"])
def test_shutdown_keeps_what_comes_meanwhile(kept, disk, dial):
    server = kept("--durability", dial, env=disk.env)
    with server.connect() as a, server.connect() as b:
        disk.set("hold-save")
        a.send(resp.encode("SHUTDOWN", "SAVE"))
        eventually(lambda: server.info()["rdb_bgsave_in_progress"] == "1", "it is saved")
        assert b.command("SET", "k", "1") == b"OK"
        assert b.command("SHUTDOWN", "SAVE") == b"ERR Shutdown already in progress"
        disk.unset("hold-save")
        with pytest.raises(resp.Closed):
            a.read_reply()
    assert server.wait_exit() == 0
    assert kept().command("GET", "k") == b"1"


def test_shutdown_aborted(kept, disk):
    server = kept(env=disk.env)
    with server.connect() as a, server.connect() as b:
        assert b.command("SHUTDOWN", "ABORT") == b"ERR No shutdown in progress."
        disk.set("hold-save")
        a.send(resp.encode("SHUTDOWN", "SAVE"))
        eventually(lambda: server.info()["rdb_bgsave_in_progress"] == "1", "it is saved")
        assert b.command("SHUTDOWN", "ABORT") == b"OK"
        disk.unset("hold-save")
        assert a.read_reply() == SHUTDOWN_FAILED
        assert b.command("SHUTDOWN", "ABORT") == b"ERR No shutdown in progress."
        assert a.command("PING") == b"PONG"


def test_backup(kept, tmp_path):
    server = kept("--durability", "commit")
    with server.connect() as c:
        c.pipeline([["SET", "k%d" % i, i] for i in range(300)])
        target = tmp_path / "copy"
        assert c.command("TARN.BACKUP", str(target)) == b"OK"
        assert c.command("SET", "later", "1") == b"OK"
        assert c.command("TARN.BACKUP", str(target)).startswith(b"ERR ")  # it is there already
        assert c.command("TARN.BACKUP", "copy2").startswith(b"ERR the directory must be an absolute")
        assert c.command("TARN.BACKUP", b"/tmp/a\0b") == b"ERR that is no path"
    copy = kept(directory=target)
    assert copy.command("DBSIZE") == 300
    assert copy.command("GET", "k299") == b"299"
    assert kept("--enable-backup-command", "no", directory=tmp_path / "third").command(
        "TARN.BACKUP", str(tmp_path / "no")).startswith(b"ERR TARN.BACKUP not allowed")


# --- settings ---

def test_dial_at_run_time(kept):
    server = kept("--durability", "async", "--threads", "1")
    config = lambda name: server.command("CONFIG", "GET", name)[1]  # noqa: E731
    names = iter(range(1000))

    def write():
        name = "k%d" % next(names)
        assert server.command("SET", name, "1") == b"OK"
    write()
    for setting in (["durability", "commit"], ["log-format", "json"], ["durability", "periodic"],
                    ["write-period-us", "500"], ["log-format", "cbor"], ["queue-depth", "7"],
                    ["appendfsync", "always"], ["appendonly", "yes"], ["log-format", "binary"]):
        assert server.command("CONFIG", "SET", *setting) == b"OK", setting
        assert config(setting[0]) == setting[1].encode()
        write()
    assert server.info()["tarn_durability"] == "commit"
    assert config("appendfsync") == b"always" and config("dir").endswith(b"/store")
    assert server.command("CONFIG", "SET", "save", "900 1", "queue-depth", "9") == b"OK"
    assert config("checkpoint-period") in (b"900s", b"15m") and config("save") == b"900 1"
    assert b"immutable" in server.command("CONFIG", "SET", "dir", "/tmp")
    assert b"immutable" in server.command("CONFIG", "SET", "log-files", "2")
    assert b"'no'" in server.command("CONFIG", "SET", "appendfsync", "no")
    server.kill()
    again = kept()
    assert again.command("DBSIZE") == next(names), again.log.text()


def test_dial_turned_to_commit(kept, disk):
    """What async would still acknowledge, commit does not."""
    server = kept("--durability", "async", env=disk.env)
    with server.connect() as c:
        assert c.command("SET", "k", "1") == b"OK"
        assert c.command("CONFIG", "SET", "durability", "commit") == b"OK"
        assert c.command("SET", "k", "2") == b"OK"
        disk.set("hold")
        c.send(resp.encode("SET", "k", "3"))
        held(server, 1)
        disk.unset("hold")
        assert c.read_reply() == b"OK"


def test_dial_in_memory(server):
    s = server(None)
    config = lambda name: s.command("CONFIG", "GET", name)[1]  # noqa: E731
    assert config("durability") == b"none" and config("appendonly") == b"no" and config("save") == b""
    assert s.command("CONFIG", "SET", "appendonly", "no") == b"OK"
    assert s.command("CONFIG", "SET", "save", "") == b"OK"
    for setting in (["durability", "commit"], ["appendonly", "yes"], ["save", "60 1"],
                    ["checkpoint-at-exit", "yes"]):
        assert b"--dir" in s.command("CONFIG", "SET", *setting)
    assert config("durability") == b"none" and config("save") == b""
