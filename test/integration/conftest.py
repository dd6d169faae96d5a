"""Fixtures of the integration tests: data files, and the real program serving them.

  tarn              path of the program under test ($TARN, else build/tarn)
  data_file         factory: data_file("text"|"binary", records=None) -> datasets.Dataset
  text_data, binary_data      the standard data sets (session-wide, do not change the files)
  server            factory: server(dataset_or_path, *flags) -> Server, stopped after the test
  bench             bench(*args, status=0) runs `tarn bench --json ...` -> bench_program.Result
  fake              factory: fake(bench_servers.RespServer, ...) -> the server, started
  text_server, binary_server  one server each for the whole session, for tests that only read

$TARN_TEST_DATA=disk has the data files of these fixtures served from disk.

A server that does not exit with status 0 on SIGTERM, or that printed a sanitizer's report, fails
the test that started it. Waiting is always for an event (a log line, a reply, an exit); the time
limits only turn a hang into a failure, and $TARN_TIMEOUT_FACTOR stretches them.
"""
import collections
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bench_program  # noqa: E402
import datasets  # noqa: E402
import resp  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIMEOUT = 60 * float(os.environ.get("TARN_TIMEOUT_FACTOR", "1"))
SANITIZER_REPORT = re.compile(
    r"ERROR: \w+Sanitizer|WARNING: \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer")


def program():
    return os.environ.get("TARN") or os.path.join(ROOT, "build", "tarn")


def environment():
    env = dict(os.environ)
    env.setdefault("ASAN_OPTIONS", "allocator_may_return_null=1")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.setdefault("TSAN_OPTIONS", "allocator_may_return_null=1:detect_deadlocks=0")
    return env


def sanitized():
    """Is the program under test built with a sanitizer? Memory bounds do not hold there."""
    with open(program(), "rb") as f:
        data = f.read()
    return b"__asan_init" in data or b"__tsan_init" in data or b"__ubsan_handle" in data


ports_given = collections.deque(maxlen=100)


def free_port():
    """A free port of $TARN_TEST_PORTS: below the range from which the kernel takes outgoing ports,
    so that no connection of another test can occupy it meanwhile. Tests that run at the same time
    are given ranges that do not overlap. None is given twice within a while: a server asks for two
    before it listens on the first."""
    first, last = map(int, os.environ.get("TARN_TEST_PORTS", "20000-31999").split("-"))
    for _ in range(1000):
        port = random.randint(first, last)
        if port in ports_given:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                ports_given.append(port)
                return port
            except OSError:
                continue
    raise RuntimeError("no free port between %d and %d" % (first, last))


class Output:
    """Reads a pipe to its end on a thread, so that the program never blocks on it; others wait
    for a line that matches."""

    def __init__(self, pipe):
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self.thread.start()

    def _read(self, pipe):
        for line in pipe:
            with self.changed:
                self.lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def text(self):
        with self.changed:
            return "\n".join(self.lines)

    def wait_for(self, pattern, timeout=None, after=0):
        """The first match at or after line number `after`; None when the pipe ended or the time
        is over without one."""
        pattern = re.compile(pattern)
        deadline = time.monotonic() + (TIMEOUT if timeout is None else timeout)
        with self.changed:
            at = after
            while True:
                while at < len(self.lines):
                    match = pattern.search(self.lines[at])
                    if match:
                        return match
                    at += 1
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    return None
                self.changed.wait(left)

    def count(self):
        with self.changed:
            return len(self.lines)


class Server:
    """One `tarn serve`. port, http_port: where it listens. log: its stderr as an Output."""

    def __init__(self, path, flags, env=None, preexec=None):
        flags = [str(f) for f in flags]
        for _ in range(5):
            self.port = self._flag_port(flags, "--port")
            self.http_port = self._flag_port(flags, "--http-port")
            command = [program(), "serve"]
            if "--port" not in flags:
                command += ["--port", str(self.port)]
            if "--http-port" not in flags:
                command += ["--http-port", str(self.http_port)]
            command += flags + ([str(path)] if path is not None else [])
            full_env = environment()
            full_env.update(env or {})
            self.command_line = command
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                            env=full_env, preexec_fn=preexec)
            self.log = Output(self.process.stderr)
            if self.log.wait_for(r"server ready resp=\S+ http=\S+") is not None:
                self.ready = True
                return
            # Somebody else may have taken a port between our look and the server's.
            taken = self.process.poll() is not None and "in use" in self.log.text()
            if not taken or "--port" in flags:
                break
        self.ready = False

    @staticmethod
    def _flag_port(flags, name):
        return int(flags[flags.index(name) + 1]) if name in flags else free_port()

    def connect(self, **options):
        options.setdefault("timeout", TIMEOUT)
        return resp.Connection(self.port, **options)

    def command(self, *args):
        """One request on a connection of its own."""
        with self.connect() as connection:
            return connection.command(*args)

    @property
    def http_url(self):
        return "http://127.0.0.1:%d" % self.http_port

    def signal(self, number):
        self.process.send_signal(number)

    def memory_resident(self):
        """Bytes resident now, or 0 if the process is gone."""
        try:
            with open("/proc/%d/status" % self.process.pid) as f:
                for line in f:
                    if line.startswith("VmRSS:"):
                        return int(line.split()[1]) * 1024
        except FileNotFoundError:
            pass
        return 0

    def file_count(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def wait_exit(self):
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail("server did not exit within %d s; its log:\n%s"
                        % (TIMEOUT, self.log.text()))
        self.log.thread.join(TIMEOUT)
        return self.process.returncode

    def stop(self):
        """SIGTERM, and check that it ends well. Harmless when it has been stopped before."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.wait_exit()
        log = self.log.text()
        assert not SANITIZER_REPORT.search(log), "sanitizer report:\n" + log
        assert status == 0, "exit status %d; log:\n%s" % (status, log)


class Finished:
    """A program that ran to its end: status, out, err (text)."""

    def __init__(self, command, completed):
        self.command = command
        self.status = completed.returncode
        self.out_bytes = completed.stdout
        self.out = completed.stdout.decode("utf-8", "backslashreplace")
        self.err = completed.stderr.decode("utf-8", "backslashreplace")

    def __repr__(self):
        return "%s: status %d\nstdout: %s\nstderr: %s" % (
            " ".join(map(str, self.command)), self.status, self.out[-2000:], self.err[-4000:])


def run(command, **options):
    """Run a program to its end and return Finished. A sanitizer's report is a failure."""
    options.setdefault("timeout", TIMEOUT * 2)
    options.setdefault("stdin", subprocess.DEVNULL)
    env = environment()
    env.update(options.pop("env", {}))
    completed = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=env, **options)
    finished = Finished(command, completed)
    assert not SANITIZER_REPORT.search(finished.err), repr(finished)
    return finished


def raise_file_limit(wanted):
    """Raise this process's (and its children's) limit on open files; True if it suffices."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
                return True
            except (ValueError, OSError):
                return False
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return True


def eventually(condition, what):
    """Wait until condition() is true. Only for what has no event to wait for, such as a counter
    of the server's."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "not within %d s: %s" % (TIMEOUT, what)
        time.sleep(0.01)


# --- fixtures ---

def pytest_sessionstart(session):
    if not os.access(program(), os.X_OK):
        pytest.exit("%s is missing: run make, or set $TARN" % program(), returncode=1)


@pytest.fixture(scope="session")
def tarn():
    return program()


@pytest.fixture(scope="session")
def run_tarn(tarn):
    """run_tarn("gen", "--count", 10, path) -> Finished"""
    return lambda *args, **options: run([tarn] + list(args), **options)


def _standard_records(kind):
    nasty = datasets.NASTY_TEXT_RECORDS if kind == "text" else datasets.NASTY_BINARY_RECORDS
    return datasets.plain_records(5000) + nasty + datasets.BIG_RECORDS


@pytest.fixture
def data_file(tmp_path):
    """data_file(kind="text", records=None, name=None) writes a data file of the test's own. kind
    "text" or "binary"; records: list of (key, value), by default the standard ones (plain, nasty
    and big)."""
    def make(kind="text", records=None, name=None):
        return datasets.Dataset(tmp_path / (name or "data." + kind), kind,
                                _standard_records(kind) if records is None else records).write()
    return make


@pytest.fixture(scope="session")
def text_data(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "data.text"
    return datasets.Dataset(path, "text", _standard_records("text")).write()


@pytest.fixture(scope="session")
def binary_data(tmp_path_factory):
    path = tmp_path_factory.mktemp("binary") / "data.binary"
    return datasets.Dataset(path, "binary", _standard_records("binary")).write()


def index_blocks(path, *flags):
    """An index of blocks of 4 KiB, with which a data file can be served from disk."""
    done = run([program(), "index", "--granule", "4096", "--fingerprint-bits", "4",
                *flags, path])
    assert done.status == 0, repr(done)


def _to_disk(data, flags):
    """$TARN_TEST_DATA=disk: data files are served from disk where a test does not care."""
    if os.environ.get("TARN_TEST_DATA") != "disk" or data is None:
        return flags
    if any(f in flags for f in ("--dir", "--data", "--memory", "--index", "--on-duplicate")):
        return flags
    reading = [f for f in flags if f in ("--format", "text", "binary")]
    index_blocks(getattr(data, "path", data), *reading)
    return list(flags) + ["--data", "disk", "--memory", "128M"]


def _start(started, data, flags, **options):
    if "--format" not in flags:
        flags = list(flags) + getattr(data, "flags", [])
    flags = _to_disk(data, flags)
    server = Server(getattr(data, "path", data), flags, **options)
    started.append(server)
    if not server.ready:
        server.process.kill()
        server.process.wait()
        started.remove(server)
        pytest.fail("server did not become ready (exit status %s): %s\n%s" % (
            server.process.returncode, " ".join(server.command_line), server.log.text()))
    return server


def _stop_all(started):
    failures = []
    for server in started:
        try:
            server.stop()
        except (AssertionError, pytest.fail.Exception) as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


@pytest.fixture
def server(tarn):
    """server(dataset_or_path, *flags, env=None, preexec=None) starts a server of the test's own
    and waits until it is ready. Two threads unless --threads is given."""
    started = []

    def start(data, *flags, **options):
        if "--threads" not in flags:
            flags += ("--threads", "2")
        return _start(started, data, flags, **options)
    yield start
    _stop_all(started)


@pytest.fixture(scope="session")
def text_server(tarn, text_data):
    started = []
    yield _start(started, text_data, ("--threads", "2"))
    _stop_all(started)


@pytest.fixture(scope="session")
def binary_server(tarn, binary_data):
    started = []
    yield _start(started, binary_data, ("--threads", "2"))
    _stop_all(started)


@pytest.fixture
def bench(tarn, tmp_path):
    return bench_program.Bench(tarn, tmp_path)


@pytest.fixture
def fake():
    """fake(kind, **options) starts a server of bench_servers, stopped after the test. A request
    that broke its protocol fails the test."""
    started = []

    def start(kind, *args, **options):
        started.append(kind(*args, **options))
        return started[-1]
    yield start
    for server in started:
        server.stop()
    failures = [server.failure for server in started if server.failure]
    assert not failures, "\n".join(failures)
