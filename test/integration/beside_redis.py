"""What tests need that hold the same conversation with tarn and with a real redis-server.

  running_redis(directory)        context manager: an empty redis-server; gives its port
  RawConnection(port)             requests as arrays of bulk strings, replies as the bytes they are
  talk(port, conversation, protocol)   its replies, on a connection of its own
  run_stream(...)                 a stream of requests sent to both, replies compared
"""
import contextlib
import shutil
import subprocess

import conftest
import resp

BATCH = 100  # requests that are sent before their replies are read


class RawConnection:
    """Requests go as arrays of bulk strings; replies come back as the bytes they are."""

    def __init__(self, port, protocol=2):
        self.connection = resp.socket.create_connection(("127.0.0.1", port), conftest.TIMEOUT)
        self.file = self.connection.makefile("rb")
        if protocol == 3:
            self.command("HELLO", "3")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.connection.close()

    def command(self, *args):
        self.connection.sendall(resp.encode(*args))
        return self.read()

    def pipeline(self, requests):
        self.connection.sendall(b"".join(resp.encode(*r) for r in requests))
        return [self.read() for _ in requests]

    def read(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=!" and rest != b"-1":
            return line + self.file.read(int(rest) + 2)
        if kind in b"*~>%" and rest != b"-1":
            count = int(rest) * (2 if kind == b"%" else 1)
            return line + b"".join(self.read() for _ in range(count))
        return line


def split(request):
    return request.split(" ") if isinstance(request, str) else request


def talk(port, conversation, protocol=2):
    with RawConnection(port, protocol) as connection:
        return [connection.command(*split(request)) for request in conversation]


def redis_server_command():
    """Debian's redis-tools has the server under the name of one of its tools."""
    found = shutil.which("redis-server")
    if found:
        return found, found
    return "redis-server", shutil.which("redis-check-rdb")


@contextlib.contextmanager
def running_redis(directory):
    """Port of an empty redis-server, stopped at the end."""
    name, executable = redis_server_command()
    assert executable, "neither redis-server nor redis-check-rdb is installed"
    port = conftest.free_port()
    process = subprocess.Popen(
        [name, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
         "--databases", "1", "--dir", str(directory)],
        executable=executable, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        log = conftest.Output(process.stdout)
        assert log.wait_for("Ready to accept connections"), log.text()
        yield port
    finally:
        process.terminate()
        process.wait()


def run_stream(redis_port, tarn_port, requests, keys, protocol=2):
    """Send all requests to both, batch by batch; replies, and the values of `keys` after each
    batch, must be the same."""
    with RawConnection(redis_port, protocol) as redis, RawConnection(tarn_port, protocol) as tarn:
        for start in range(0, len(requests), BATCH):
            batch = requests[start:start + BATCH]
            wanted, got = redis.pipeline(batch), tarn.pipeline(batch)
            for i, request in enumerate(batch):
                assert got[i] == wanted[i], "request %d: %r" % (start + i, request)
            reads = [("GET", key) for key in keys]
            assert tarn.pipeline(reads) == redis.pipeline(reads), "after request %d" % (start + i)
