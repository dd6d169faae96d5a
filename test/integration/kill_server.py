"""Servers killed under load, in any call that touches files, at each setting of the dial.

    kill_server.py [POINTS]     so many kills (2000), and the lines for script/fault; 0 if none of
                                them lost too much or showed something wrong

A point: `tarn serve --dir` with kill_disk.c preloaded, which kills it in its nth call, be that while
it recovers or while four connections write and one has checkpoints made; then the same directory
served again, and compared with what the connections were told. That server is killed, too. Every
connection's keys must be there up to some number, whole; how many may be missing that it was told of
is the dial's.

Bug planted once to see it fail: SHORT_WRITE (script/fault-plants).
"""
import os
import shutil
import subprocess
import sys
import tempfile
import threading

import conftest
import resp

QUEUE = 100
DIALS = {
    "none": (None, []),
    "async": (QUEUE, ["--queue-depth", str(QUEUE), "--log-files", "2"]),
    "periodic": (0, ["--write-period-us", "2000", "--log-format", "json"]),
    "commit": (0, ["--checkpoint-log-bytes", "64K", "--log-files", "3", "--log-format", "cbor"]),
}
DEPTHS = (1, 3, 16, 50)
POINTS_A_DIRECTORY = 12
CALLS_MAX = 600


class Wrong(Exception):
    """Something that should not be so after any kill."""


class Writer(threading.Thread):
    """Writes NAME:0, NAME:1, ... a few at a time; `told` are known to be done."""

    def __init__(self, server, name, depth):
        super().__init__(daemon=True)
        self.name, self.depth, self.told, self.wrong = name, depth, 0, None
        self.server = server
        self.start()

    def run(self):
        try:
            with self.server.connect() as connection:
                while self.wrong is None:
                    at = self.told
                    connection.send(b"".join(resp.encode("SET", "%s:%d" % (self.name, i), "%d" % i)
                                             for i in range(at, at + self.depth)))
                    for _ in range(self.depth):
                        reply = connection.read_reply()
                        if reply != b"OK":
                            self.wrong = reply
                            break
                        self.told += 1
        except (resp.Closed, OSError):
            pass


class Saver(threading.Thread):
    """Has one checkpoint made after the other."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.start()

    def run(self):
        try:
            with self.server.connect() as connection:
                while True:
                    connection.command("SAVE")
        except (resp.Closed, OSError):
            pass


def compile_shim(directory):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kill_disk.c")
    library = os.path.join(directory, "kill_disk.so")
    compiler = os.environ.get("CC") or shutil.which("gcc") or "cc"
    subprocess.run([compiler, "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", library,
                    source, "-ldl"], check=True)
    return library


def end(server):
    server.process.kill()
    server.process.wait()
    server.log.thread.join(conftest.TIMEOUT)


def serve(directory, dial, env=None):
    flags = ["--dir", directory, "--durability", dial, "--threads", "2"] + DIALS[dial][1]
    return conftest.Server(None, flags, env=env)


def write_until_killed(server, name):
    writers = [Writer(server, "%s:%d" % (name, i), depth) for i, depth in enumerate(DEPTHS)]
    saver = Saver(server)
    try:
        server.process.wait(conftest.TIMEOUT)
    except subprocess.TimeoutExpired:
        raise Wrong("it was not killed") from None
    saver.join(conftest.TIMEOUT)
    for writer in writers:
        writer.join(conftest.TIMEOUT)
        if writer.is_alive() or writer.wrong is not None:
            raise Wrong("a writer got %r" % writer.wrong)
    return writers


def count_kept(connection, writer):
    """How many of a writer's there are; they must be the first, and right."""
    upto = writer.told + writer.depth + 1
    values = connection.command("MGET", *["%s:%d" % (writer.name, i) for i in range(upto)])
    count = sum(value is not None for value in values)
    if values != [b"%d" % i for i in range(count)] + [None] * (upto - count):
        raise Wrong("%s: not what was written" % writer.name)
    return count


def one_point(directory, dial, nth, library):
    """Returns how many changes too many were lost."""
    server = serve(directory, dial, {"LD_PRELOAD": library, "KILL_AT": str(nth)})
    writers = write_until_killed(server, str(nth)) if server.ready else []
    end(server)
    if server.process.returncode != -9:
        raise Wrong("exit status %d: %s" % (server.process.returncode, server.log.text()))
    again = serve(directory, dial)
    try:
        if not again.ready:
            raise Wrong("it does not open: " + again.log.text())
        with again.connect() as connection:
            lost = sum(max(0, w.told - count_kept(connection, w)) for w in writers)
    finally:
        end(again)
    may_lose = DIALS[dial][0]
    return 0 if may_lose is None else max(0, lost - may_lose)


def run(points, say=print):
    """So many points, in turn of each dial. Returns {dial: [points, losses, wrong]}."""
    counts = {dial: [0, 0, 0] for dial in DIALS}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as base:
        library = compile_shim(base)
        for i in range(points):
            dial = list(DIALS)[i % len(DIALS)]
            nth = 1 + i // len(DIALS) * 7 % CALLS_MAX
            directory = os.path.join(base, dial + str(i // len(DIALS) // POINTS_A_DIRECTORY))
            if i // len(DIALS) % POINTS_A_DIRECTORY == 0:
                shutil.rmtree(os.path.join(base, dial + str(i // len(DIALS) // POINTS_A_DIRECTORY - 1)),
                              ignore_errors=True)
            counts[dial][0] += 1
            try:
                lost = one_point(directory, dial, nth, library)
                if lost > 0:
                    counts[dial][1] += 1
                    say("%s, call %d: %d changes too many are lost" % (dial, nth, lost))
            except Wrong as wrong:
                counts[dial][2] += 1
                say("%s, call %d: %s" % (dial, nth, wrong))
                shutil.rmtree(directory, ignore_errors=True)
    return counts


def main():
    if conftest.sanitized():
        print("fault: kill: server\tskipped: sanitizers want to be loaded first")
        return 0
    counts = run(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
    for dial, (points, losses, wrong) in counts.items():
        print("fault: kill: server, %s\tpoints %d\tlosses %d\twrong %d" % (dial, points, losses, wrong))
    return int(any(losses or wrong for _, losses, wrong in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
