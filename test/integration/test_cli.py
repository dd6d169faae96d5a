"""The command line: every subcommand, its errors, and what a person sees.

Method: the real program is run; what it prints, its exit status and the files it leaves are
compared. Servers are started where a subcommand needs one.
"""
import fcntl
import hashlib
import os
import pty
import re
import signal
import socket
import stat
import struct
import subprocess
import termios

import pytest

from conftest import TIMEOUT, environment, eventually, run

COMMANDS = ["gen", "index", "plan", "serve", "get", "bench", "inspect", "verify", "dump", "load", "check",
            "repair",
            "backup", "help"]
FILE_COMMANDS = ["index", "serve", "inspect", "verify"]


def one_line(finished, prefix):
    """stderr is exactly one line, and begins so."""
    assert finished.err.endswith("\n") and finished.err.count("\n") == 1, repr(finished)
    assert finished.err.startswith(prefix), repr(finished)
    return finished.err


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def left_in(directory):
    return sorted(os.listdir(directory))


# --- help, usage ---

def test_help_and_version(run_tarn):
    help_ = run_tarn("--help")
    assert help_.status == 0 and help_.err == ""
    for command in COMMANDS:
        assert re.search(r"^  %s " % command, help_.out, re.M)
        own = run_tarn(command, "--help")
        assert own.status == 0 and own.err == ""
        assert own.out.startswith("Usage: tarn " + command)
        assert max(len(line) for line in own.out.splitlines()) <= 80
        assert run_tarn("help", command).out == own.out
    version = run_tarn("--version")
    assert re.fullmatch(r"tarn \d+\.\d+\.\d+\n", version.out)
    assert run_tarn("help").out == help_.out


def test_manual_page_has_every_option(run_tarn):
    manual = run_tarn("help", "--man").out
    assert manual.startswith(".TH TARN 1")
    plain = manual.replace("\\-", "-")
    for command in COMMANDS:
        assert ".SS tarn %s " % command in plain
        for flag in re.findall(r"^  (--\S+)", run_tarn(command, "--help").out, re.M):
            assert "\n.B %s" % flag in plain


@pytest.mark.parametrize("args, text", [
    ([], "no command given"),
    (["serv"], "did you mean serve?"),
    (["xyzzy"], "see tarn --help"),
    (["--frobnicate"], "no such command"),
    (["help", "xyzzy"], "no such command"),
    (["gen"], "FILE is missing"),
    (["gen", "a", "b"], "one argument too many: b"),
    (["gen", "--cuont", "3", "x"], "did you mean --count?"),
    (["gen", "--count"], "needs a value"),
    (["gen", "--count", "many", "x"], "--count"),
    (["gen", "--count", "-1", "x"], "--count"),
    (["gen", "--value-size", "9-5", "x"], "--value-size"),
    (["gen", "--value-size", "600M", "x"], "--value-size"),
    (["gen", "--format", "yaml", "x"], "--format"),
    (["gen", "--size-type", "u16", "x"], "--format binary"),
    (["gen", "--format", "binary", "--size-type", "u16", "--value-size", "70000", "x"], "65535"),
    (["gen", "--format", "binary", "--size-type", "varint", "--big-endian", "x"], "byte order"),
    (["index"], "FILE is missing"),
    (["index", "--separator", "ab", "x"], "--separator"),
    (["index", "--format", "text", "--size-type", "u16", "x"], "--size-type"),
    (["index", "--port", "1", "x"], "--port"),
    (["serve", "--index", "x"], "FILE is missing"),
    (["serve", "--max-memory-policy", "lru"], "allkeys-sieve"),
    (["serve", "--port", "70000", "x"], "--port"),
    (["serve", "--bind", "0.0.0.0", "x"], "password"),
    (["serve", "--bind", "localhost", "x"], "--bind"),
    (["get", "localhost:1"], "missing"),
    (["get", "localhost:0", "k"], "port"),
    (["get", "::1:6379", "k"], "brackets"),
    (["get", "--raw", "--null", "localhost:1", "k"], "exclude"),
    (["get", "--timeout", "0", "localhost:1", "k"], "--timeout"),
    (["bench"], "--connect"),
    (["bench", "word"], "word"),
    (["bench", "diff", "a"], "two files"),
    (["bench", "--rate", "5", "diff", "a", "b"], "--rate"),
    (["inspect", "--on-duplicate", "first", "x"], "--on-duplicate"),
    (["verify"], "FILE is missing"),
    (["verify", "-x", "f"], "-x"),
])
def test_wrong_usage(run_tarn, tmp_path, args, text):
    finished = run_tarn(*args, cwd=tmp_path)
    assert finished.status == 2 and finished.out == ""
    prefix = "tarn %s: " % args[0] if args and args[0] in COMMANDS else "tarn: "
    assert text in one_line(finished, prefix)
    assert left_in(tmp_path) == []


# --- bad files ---

@pytest.mark.parametrize("command", FILE_COMMANDS)
def test_unusable_files(run_tarn, tmp_path, command):
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in [tmp_path / "missing", tmp_path / "directory", tmp_path / "pipe", "/dev/null",
                 tmp_path / "no" / "such" / "place"]:
        finished = run_tarn(command, name, cwd=tmp_path)
        assert finished.status == 1 and finished.out == ""
        # serve's log may say more; the error is one line
        errors = [line for line in finished.err.splitlines()
                  if line.startswith("tarn %s: " % command)]
        assert len(errors) == 1 and str(name) in errors[0], repr(finished)
    assert left_in(tmp_path) == ["directory", "pipe"]


def as_nobody():
    os.setgid(65534)
    os.setuid(65534)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_no_permission(tarn, data_file, tmp_path):
    data = data_file("text")
    os.chmod(data.path, 0o600)
    # the program must be reachable for nobody; where it is not there is nothing to test
    try:
        probe = run([tarn, "--version"], preexec_fn=as_nobody)
    except (PermissionError, subprocess.SubprocessError):
        pytest.skip("nobody cannot run the program")
    assert probe.status == 0
    directory = tmp_path
    while directory != directory.parent:  # let nobody reach the file, but not read it
        os.chmod(directory, os.stat(directory).st_mode | stat.S_IXOTH)
        directory = directory.parent
    for command in FILE_COMMANDS:
        finished = run([tarn, command, data.path], preexec_fn=as_nobody)
        assert finished.status == 1
        assert data.path in finished.err and re.search("permission", finished.err, re.I)
    # may read, may not write beside it
    os.chmod(data.path, 0o644)
    finished = run([tarn, "index", data.path], preexec_fn=as_nobody)
    assert finished.status == 1 and re.search("permission", finished.err, re.I)
    assert left_in(tmp_path) == [os.path.basename(data.path)]


def binary_records(count, key_size=8, value_size=20):
    return b"".join(struct.pack("<I", key_size) + b"%0*d" % (key_size, i) +
                    struct.pack("<I", value_size) + b"v" * value_size for i in range(count))


@pytest.mark.parametrize("flags", [[], ["--format", "binary"]])
@pytest.mark.parametrize("command", ["index", "serve", "inspect"])
def test_truncated_record_names_its_place(run_tarn, tmp_path, command, flags):
    data = binary_records(1000)
    path = tmp_path / "cut.bin"
    path.write_bytes(data[:-5])
    finished = run_tarn(command, *flags, path)
    assert finished.status == 1 and finished.out == ""
    assert str(path) in finished.err
    assert "record 999 at byte %d" % (999 * 36) in finished.err, repr(finished)
    assert left_in(tmp_path) == ["cut.bin"]


@pytest.mark.parametrize("command", ["index", "serve", "inspect"])
def test_line_without_separator_names_its_place(run_tarn, tmp_path, command):
    path = tmp_path / "bad.txt"
    path.write_bytes(b"key value\n" * 50000 + b"oops\n" + b"key value\n" * 200000)
    finished = run_tarn(command, path)
    assert finished.status == 1
    assert "record 50000 at byte 500000" in finished.err and "separator" in finished.err
    assert left_in(tmp_path) == ["bad.txt"]


def test_sizes_over_the_limits(run_tarn, tmp_path):
    path = tmp_path / "big.bin"
    path.write_bytes(struct.pack("<I", 65536) + b"k" * 65536 + struct.pack("<I", 0))
    finished = run_tarn("index", "--format", "binary", path)
    assert finished.status == 1 and "65535" in one_line(finished, "tarn index: ")
    path.write_bytes(struct.pack("<I", 1) + b"k" + struct.pack("<I", (512 << 20) + 1))
    finished = run_tarn("index", "--format", "binary", path)
    assert finished.status == 1 and "512 MiB" in one_line(finished, "tarn index: ")
    path.write_bytes(b"k" * 65536 + b" v\n")
    finished = run_tarn("index", "--format", "text", path)
    assert finished.status == 1 and "65535" in one_line(finished, "tarn index: ")


def test_empty_file_is_an_empty_set(run_tarn, tmp_path, server):
    path = tmp_path / "empty"
    path.write_bytes(b"")
    finished = run_tarn("index", path)
    assert finished.status == 0 and "0 keys in 0 records" in finished.out
    inspected = run_tarn("inspect", path)
    assert inspected.status == 0 and re.search(r"^records +0$", inspected.out, re.M)
    assert run_tarn("verify", path).status == 0
    started = server(path)
    assert started.command("DBSIZE") == 0
    finished = run_tarn("get", "localhost:%d" % started.port, "k")
    assert finished.status == 1 and finished.out == ""


# --- gen ---

# Written down so that a change of the generator, or another machine that differs, is noticed.
KNOWN_SHA256 = {
    ("--count", "1000"):
        "3b3d02bb9a7053ee9238331cb384af3ffc86d1d51339ef886650eeb4050c8253",
    ("--count", "1000", "--seed", "7", "--value-size", "100"):
        "79cb58caf193a2a0ecdca50a058454303d68989336e11686d3b1ecb3ab5f8d82",
    ("--count", "1000", "--format", "binary"):
        "ca656022bd0fb0a5b03ec3fc68265b5ed4d7588b131d3af82bda9d019c4cfdf5",
    ("--count", "1000", "--format", "binary", "--size-type", "varint"):
        "2ce3e3489520e64c0990520807f88a6b44ad502daf009039bc3ae1c5d5827f8b",
}


@pytest.mark.parametrize("flags", list(KNOWN_SHA256))
def test_gen_is_reproducible(run_tarn, tmp_path, flags):
    finished = run_tarn("gen", *flags, tmp_path / "a")
    assert finished.status == 0 and finished.err == ""
    assert sha256(tmp_path / "a") == KNOWN_SHA256[flags]
    assert run_tarn("gen", *flags, "-").out_bytes == (tmp_path / "a").read_bytes()


def test_gen_defaults(run_tarn, tmp_path):
    finished = run_tarn("gen", tmp_path / "a")
    assert "1,000,000 records" in finished.out
    lines = (tmp_path / "a").read_bytes().split(b"\n")
    assert lines.pop() == b"" and len(lines) == 1000000
    keys = {line[:36] for line in lines}
    assert len(keys) == 1000000
    assert all(re.fullmatch(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
                            key) for key in list(keys)[:1000])
    sizes = sorted(len(line) - 37 for line in lines)
    assert (sizes[0], sizes[500000], sizes[-1]) == (8, 35, 62)
    assert 71e6 < os.path.getsize(tmp_path / "a") < 74e6


@pytest.mark.parametrize("flags, described", [
    (["--format", "text"], "text"),
    (["--format", "binary"], "binary u32 little-endian"),
    (["--format", "binary", "--big-endian"], "binary u32 big-endian"),
    (["--format", "binary", "--size-type", "u16"], "binary u16 little-endian"),
    (["--format", "binary", "--size-type", "u16", "--big-endian"], "binary u16 big-endian"),
    (["--format", "binary", "--size-type", "u64"], "binary u64 little-endian"),
    (["--format", "binary", "--size-type", "u64", "--big-endian"], "binary u64 big-endian"),
    (["--format", "binary", "--size-type", "varint"], "binary varint"),
])
def test_every_format_is_detected_and_verified(run_tarn, tmp_path, flags, described):
    path = tmp_path / "data"
    assert run_tarn("gen", "--count", 30000, *flags, path).status == 0
    inspected = run_tarn("inspect", path)
    assert re.search(r"^format +%s \(detected\)$" % described, inspected.out, re.M), repr(inspected)
    assert re.search(r"^records +30,000$", inspected.out, re.M)
    assert re.search(r"^keys +\S+ \S+ +36 +36 +36 +36 +36 +36\.0$", inspected.out, re.M)
    assert run_tarn("index", path).status == 0
    verified = run_tarn("verify", path)
    assert verified.status == 0 and "30,000 keys found in 30,000 records" in verified.out


def test_gen_replaces_files_only(run_tarn, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"old")
    assert run_tarn("gen", "--count", 5, path).status == 0
    assert len(path.read_bytes().splitlines()) == 5
    for target, reason in [(tmp_path, "directory"), ("/dev/null", "not a regular file"),
                           (tmp_path / "no" / "file", "No such file")]:
        finished = run_tarn("gen", "--count", 5, target)
        assert finished.status == 1 and reason in one_line(finished, "tarn gen: ")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert left_in(tmp_path) == ["data"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB, or skip."""
    where = tmp_path / "small"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tarn-test", where],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    yield where
    subprocess.run(["umount", where], check=True)


def test_full_disk_leaves_nothing(run_tarn, small_disk):
    finished = run_tarn("gen", "--count", 100000, small_disk / "data")
    assert finished.status == 1 and "No space left" in one_line(finished, "tarn gen: ")
    assert left_in(small_disk) == []
    # room for the data, none for its index
    assert run_tarn("gen", "--count", 13000, small_disk / "data").status == 0
    (small_disk / "filler").write_bytes(b"x" * 80000)
    finished = run_tarn("index", small_disk / "data")
    assert finished.status == 1 and "No space left" in one_line(finished, "tarn index: ")
    assert left_in(small_disk) == ["data", "filler"]


def test_full_standard_output(tarn):
    with open("/dev/full", "wb") as full:
        for args in (["gen", "--count", "100000", "-"], ["--help"], ["help", "--man"]):
            finished = subprocess.run([tarn] + args, stdout=full, stderr=subprocess.PIPE,
                                      env=environment(), timeout=TIMEOUT)
            assert finished.returncode == 1
            assert b"No space left" in finished.stderr


# --- a terminal ---

class Terminal:
    """Runs a program whose stderr is a terminal of 80 columns; reads what it draws."""

    def __init__(self, command, **options):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        env = environment()
        env["TERM"] = "xterm"
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=slave, env=env, **options)
        os.close(slave)
        self.drawn = b""

    def read(self):
        """More of what is drawn; False at the end."""
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: the other side is closed
            data = b""
        self.drawn += data
        return data != b""

    def finish(self):
        while self.read():
            pass
        out = self.process.stdout.read()
        self.process.stdout.close()
        os.close(self.master)
        return self.process.wait(TIMEOUT), out


def test_progress_on_a_terminal(tarn, tmp_path):
    terminal = Terminal([tarn, "gen", "--count", "300000", tmp_path / "data"])
    status, out = terminal.finish()
    assert status == 0 and b"300,000 records" in out
    assert re.search(rb"\rwriting  \[[=> ]*\] +\d+ %", terminal.drawn)
    assert terminal.drawn.endswith(b"\r\x1b[K") and b"\n" not in terminal.drawn
    for line in re.split(rb"\r|\x1b\[K", terminal.drawn):
        assert len(line) < 80
    terminal = Terminal([tarn, "index", tmp_path / "data"])
    status, out = terminal.finish()
    assert status == 0 and b"300,000 keys" in out
    assert b"\rreading  [" in terminal.drawn and terminal.drawn.endswith(b"\r\x1b[K")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels_and_leaves_nothing(tarn, tmp_path, number):
    terminal = Terminal([tarn, "gen", "--count", str(1 << 30), tmp_path / "data"])
    while b"writing" not in terminal.drawn and terminal.read():
        pass
    terminal.process.send_signal(number)
    status, _ = terminal.finish()
    assert status == 128 + number
    assert b"tarn gen: cancelled" in terminal.drawn
    assert left_in(tmp_path) == []


# --- index, inspect, verify ---

def test_index_reports(run_tarn, tmp_path):
    path = tmp_path / "data.txt"
    path.write_bytes(b"a 1\nb 2\na 3\n\xff 4\n")
    finished = run_tarn("index", path)
    assert finished.status == 0 and finished.err == ""
    assert "%s: text, 16 B" % path in finished.out, repr(finished)
    assert "3 keys in 4 records, 1 duplicates" in finished.out
    assert re.search(r"%s\.tarnidx: .*, [\d.]+ bytes per key" % re.escape(str(path)), finished.out)
    assert left_in(tmp_path) == ["data.txt", "data.txt.tarnidx"]
    finished = run_tarn("index", "--on-duplicate", "error", "--index", tmp_path / "other", path)
    assert finished.status == 1 and "record 2" in one_line(finished, "tarn index: ")
    assert left_in(tmp_path) == ["data.txt", "data.txt.tarnidx"]
    assert run_tarn("index", "--index", tmp_path / "other", path).status == 0
    assert left_in(tmp_path) == ["data.txt", "data.txt.tarnidx", "other"]


def test_index_state_in_inspect(run_tarn, tmp_path):
    path, index = tmp_path / "data.txt", tmp_path / "data.txt.tarnidx"
    path.write_bytes(b"a 1\nb 2\na 3\n")
    assert re.search(r"^index +none", run_tarn("inspect", path).out, re.M)
    assert run_tarn("index", "--on-duplicate", "first", path).status == 0
    shown = run_tarn("inspect", path).out
    assert re.search(r"^state +fresh$", shown, re.M)
    assert re.search(r"^keys +2$", shown, re.M)
    assert re.search(r"^repeated +1 records, the first of a key counts$", shown, re.M)
    with open(path, "ab") as f:
        f.write(b"c 4\n")
    shown = run_tarn("inspect", path).out
    assert re.search(r"^state +(?!fresh).+", shown, re.M)
    assert re.search(r"^records +4$", shown, re.M)
    assert run_tarn("verify", path).status == 1
    index.write_bytes(b"not an index")
    assert re.search(r"^index +unusable: ", run_tarn("inspect", path).out, re.M)
    assert run_tarn("verify", path).status == 1


def test_verify_finds_a_changed_byte(run_tarn, tmp_path):
    path = tmp_path / "data.txt"
    assert run_tarn("gen", "--count", 50000, path).status == 0
    finished = run_tarn("verify", path)
    assert finished.status == 1
    assert "run tarn index first" in one_line(finished, "tarn verify: ")
    assert run_tarn("index", path).status == 0
    assert run_tarn("verify", path).status == 0
    info = os.stat(path)
    with open(path, "r+b") as f:  # a change that neither size nor time shows
        f.seek(2000000)
        byte = f.read(1)
        f.seek(2000000)
        f.write(b"x" if byte != b"x" else b"y")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    finished = run_tarn("verify", path)
    assert finished.status == 1 and str(path) in one_line(finished, "tarn verify: ")


# --- serve and get ---

def test_get(run_tarn, server, data_file):
    data = data_file("text", [(b"a", b"1"), (b"empty", b""), ("k\u00e9y%+&/?".encode(), b"odd"),
                              (b"", b"nothing"), (b"big", b"x" * 3000000)])
    started = server(data)
    for where in ("localhost:%d" % started.port, "127.0.0.1:%d" % started.port,
                  "http://localhost:%d" % started.http_port,
                  "http://127.0.0.1:%d/" % started.http_port):
        finished = run_tarn("get", where, "a", "empty", "k\u00e9y%+&/?", "", "a")
        assert (finished.status, finished.out, finished.err) == (0, "1\n\nodd\nnothing\n1\n", "")
        finished = run_tarn("get", "--raw", where, "big", "a")
        assert finished.out == "x" * 3000000 + "1"
        assert run_tarn("get", "--null", where, "a", "empty").out == "1\0\0"
        finished = run_tarn("get", where, "a", "miss\ning", "a")
        assert finished.status == 1 and finished.out == "1\n1\n"
        assert one_line(finished, "tarn get: ") == "tarn get: no such key: miss\\x0aing\n"
        many = ["a", "none"] * 500
        finished = run_tarn("get", where, *many)
        assert finished.status == 1 and finished.out == "1\n" * 500
        assert finished.err.count("\n") == 500


def test_get_with_password(run_tarn, server, data_file, tmp_path):
    started = server(data_file("text", [(b"a", b"1")]), "--password", "s3cret")
    (tmp_path / "password").write_text("s3cret\n")
    for where in ("localhost:%d" % started.port, "http://localhost:%d" % started.http_port):
        assert run_tarn("get", "--password", "s3cret", where, "a").out == "1\n"
        assert run_tarn("get", "--password-file", tmp_path / "password", where, "a").out == "1\n"
        for flags in ([], ["--password", "wrong"]):
            finished = run_tarn("get", *flags, where, "a")
            assert finished.status == 1 and finished.out == ""
            one_line(finished, "tarn get: ")


def test_get_from_nobody_and_from_others(run_tarn):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        finished = run_tarn("get", "127.0.0.1:%d" % port, "a")  # bound, not listening
        assert finished.status == 1 and "Connection refused" in one_line(finished, "tarn get: ")
        listening.listen()
        finished = run_tarn("get", "--timeout", 1, "127.0.0.1:%d" % port, "a")
        assert finished.status == 1 and "no answer within 1 s" in one_line(finished, "tarn get: ")
    finished = run_tarn("get", "no-such-host.invalid:1", "a")
    assert finished.status == 1 and "no-such-host.invalid" in one_line(finished, "tarn get: ")


def test_get_at_the_wrong_port(run_tarn, server, data_file):
    started = server(data_file("text", [(b"a", b"1")]))
    for where in ("localhost:%d" % started.http_port, "http://localhost:%d" % started.port):
        finished = run_tarn("get", where, "a")
        assert finished.status == 1 and "http://" in one_line(finished, "tarn get: ")


def test_get_over_ipv6(run_tarn, server, data_file):
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    started = server(data_file("text", [(b"a", b"1")]), "--bind", "::1")
    assert run_tarn("get", "[::1]:%d" % started.port, "a").out == "1\n"
    assert run_tarn("get", "http://[::1]:%d" % started.http_port, "a").out == "1\n"


def test_serve_says_how_to_ask(tarn, run_tarn, data_file):
    """The greeting goes to stdout after the server listens."""
    data = data_file("text", [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    process = subprocess.Popen([tarn, "serve", "--port", "0", "--http-port", "0", data.path],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, env=environment())
    lines = []
    for line in process.stdout:
        lines.append(line.decode())
        if line.startswith(b"stop with"):
            break
    text = "".join(lines)
    port = re.search(r"^RESP +127\.0\.0\.1:(\d+) .*redis-cli -p \1 get KEY$", text, re.M)
    assert port, text
    assert re.search(r"^data +%s: text" % re.escape(data.path), text, re.M)
    assert re.search(r"^keys +2 \(repeated keys count once\)$", text, re.M)
    assert "HTTP" not in text
    assert run_tarn("get", "127.0.0.1:" + port.group(1), "a").out == "3\n"
    process.stdout.close()  # whoever started it may go away
    assert run_tarn("get", "127.0.0.1:" + port.group(1), "b").out == "2\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT) == 0


def test_serve_from_a_configuration_file(run_tarn, server, data_file, tmp_path):
    config = tmp_path / "tarn.conf"
    config.write_text("# served for tests\npassword \"from file\"\nlog-level debug\n"
                      "on-duplicate first\n")
    data = data_file("text", [(b"a", b"1"), (b"a", b"2")])
    started = server(data, "--config", config)
    where = "localhost:%d" % started.port
    assert run_tarn("get", "--password", "from file", where, "a").out == "1\n"
    # the command line wins
    started = server(data, "--on-duplicate", "last", "--config", config)
    where = "localhost:%d" % started.port
    assert run_tarn("get", "--password", "from file", where, "a").out == "2\n"
    config.write_text("port 70000\n")
    finished = run_tarn("serve", "--config", config, data.path)
    assert finished.status == 2 and "tarn.conf" in one_line(finished, "tarn serve: ")
    assert "1" in finished.err and "70000" in finished.err
    finished = run_tarn("serve", "--config", tmp_path / "missing.conf", data.path)
    assert finished.status == 1 and "missing.conf" in one_line(finished, "tarn serve: ")


def test_serve_on_a_port_in_use(run_tarn, data_file):
    data = data_file("text", [(b"a", b"1")])
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        for flags in (["--port", port, "--http-port", 0], ["--port", 0, "--http-port", port]):
            finished = run_tarn("serve", *flags, data.path)
            assert finished.status == 1 and finished.out == ""
            assert "tarn serve: " in finished.err and str(port) in finished.err
