"""Goal: RELOAD and SIGHUP replace the data without dropping, mixing or delaying a request, and a
version that cannot be loaded leaves the old one in service.

Method: every value of a generation of the file names that generation, so that each reply tells
which version answered. Clients ask without pause on threads while the file is replaced.
"""
import http.client
import os
import signal
import threading

import pytest

import datasets
import resp
from conftest import eventually

pytestmark = pytest.mark.threads

KEYS = 2000


def rewrite(data, generation, count=KEYS):
    data.records = datasets.plain_records(count, generation)
    data.answers = dict(data.records)
    data.write()


def generation_of(value):
    return int(value.rsplit(b" ", 1)[1])


class Asker(threading.Thread):
    """Asks until told to stop; keeps the generations it saw, in order, and what went wrong."""

    def __init__(self, running, kind):
        super().__init__(daemon=True)
        self.running, self.kind = running, kind
        self.stopping = threading.Event()
        self.seen, self.replies, self.problem = [0], 0, None

    def run(self):
        try:
            getattr(self, "ask_" + self.kind)()
        except Exception as problem:  # reported by the test
            self.problem = problem

    def saw(self, value, key_number):
        assert value.startswith(b"value %d of " % key_number), (value, key_number)
        generation = generation_of(value)
        assert generation >= self.seen[-1], "generation %d after %d" % (generation, self.seen[-1])
        if generation != self.seen[-1]:
            self.seen.append(generation)
        self.replies += 1

    def ask_pipelines(self):
        with self.running.connect() as client:
            while not self.stopping.is_set():
                values = client.pipeline([("GET", datasets.uuid_key(n)) for n in range(100)])
                for number, value in enumerate(values):
                    self.saw(value, number)

    def ask_mget(self):
        """All answers of one MGET are from one version."""
        keys = [datasets.uuid_key(n) for n in range(200)]
        with self.running.connect() as client:
            while not self.stopping.is_set():
                values = client.command("MGET", *keys)
                assert len({generation_of(v) for v in values}) == 1, "versions mixed in one MGET"
                for number, value in enumerate(values):
                    self.saw(value, number)

    def ask_new_connections(self):
        while not self.stopping.is_set():
            with self.running.connect() as client:
                self.saw(client.command("GET", datasets.uuid_key(5)), 5)

    def ask_http(self):
        client = http.client.HTTPConnection("127.0.0.1", self.running.http_port, timeout=60)
        while not self.stopping.is_set():
            client.request("GET", "/kv/" + datasets.uuid_key(9).decode())
            reply = client.getresponse()
            value = reply.read()
            assert reply.status == 200, (reply.status, value)
            # with no version seen twice: HTTP threads may switch at different moments
            self.seen = [0]
            self.saw(value, 9)
        client.close()


@pytest.mark.threads
def test_reload_under_load_drops_nothing(server, data_file):
    data = data_file(records=datasets.plain_records(KEYS, 0))
    running = server(data)
    askers = [Asker(running, kind) for kind in ("pipelines", "mget", "new_connections", "http")]
    for asker in askers:
        asker.start()
    with running.connect() as control:
        for generation in range(1, 7):
            rewrite(data, generation)
            if generation % 2:
                assert control.command("RELOAD") == b"OK"
                value = control.command("GET", datasets.uuid_key(1))
                assert generation_of(value) == generation
            else:
                running.signal(signal.SIGHUP)
                eventually(lambda: generation_of(control.command("GET", datasets.uuid_key(1)))
                           == generation, "SIGHUP loads the new version")
            # every asker has had its turn with this version before the next comes
            before = [asker.replies for asker in askers]
            eventually(lambda: all(asker.replies > count + 200 or asker.problem
                                   or asker.kind in ("new_connections", "http")
                                   and asker.replies > count
                                   for asker, count in zip(askers, before)), "askers go on")
    for asker in askers:
        asker.stopping.set()
    for asker in askers:
        asker.join(60)
        assert asker.problem is None, "%s: %r" % (asker.kind, asker.problem)
        assert not asker.is_alive()
    assert askers[0].seen[-1] == askers[1].seen[-1] == 6


def test_reload_sees_added_and_removed_keys(server, data_file):
    data = data_file(records=datasets.plain_records(100))
    running = server(data)
    with running.connect() as client:
        assert client.command("DBSIZE") == 100
        rewrite(data, 1, count=250)
        assert client.command("RELOAD") == b"OK"
        assert client.command("DBSIZE") == 250
        assert client.command("GET", datasets.uuid_key(249)) == data[datasets.uuid_key(249)]
        rewrite(data, 2, count=10)
        assert client.command("RELOAD") == b"OK"
        assert client.command("DBSIZE") == 10
        assert client.command("GET", datasets.uuid_key(249)) is None
        data.records = []
        data.answers = {}
        data.write()
        reply = client.command("RELOAD")
        assert reply == b"OK", reply
        assert client.command("DBSIZE") == 0


@pytest.mark.parametrize("damage", ["truncated", "missing", "directory"])
def test_a_version_that_cannot_be_loaded(server, data_file, damage):
    data = data_file("binary", records=datasets.plain_records(1000))
    running = server(data, "--format", "binary")
    with running.connect() as client:
        if damage == "truncated":
            with open(data.path, "rb") as f:
                content = f.read()
            with open(data.path + ".new", "wb") as f:
                f.write(content[:-3])
            os.rename(data.path + ".new", data.path)
        else:
            os.unlink(data.path)
            if damage == "directory":
                os.mkdir(data.path)
        reply = client.command("RELOAD")
        assert isinstance(reply, resp.RespError) and data.path.encode() in reply, reply
        lines = running.log.count()
        running.signal(signal.SIGHUP)
        # the log says why, once per attempt
        assert running.log.wait_for(r"(error|warning) .*" + data.path.replace(".", r"\."),
                                    after=max(0, lines - 1)), running.log.text()
        for number in (0, 500, 999):
            key = datasets.uuid_key(number)
            assert client.command("GET", key) == data[key]
        # and the next good version is taken
        if damage == "directory":
            os.rmdir(data.path)
        rewrite(data, 3)
        eventually(lambda: client.command("RELOAD") == b"OK", "reload after the file is good")
        assert generation_of(client.command("GET", datasets.uuid_key(0))) == 3


@pytest.mark.heavy
def test_reload_keeps_memory(server, data_file):
    """The old version is freed: many reloads do not add up."""
    data = data_file()  # 12 MB
    running = server(data)
    with running.connect() as client:
        assert client.command("RELOAD") == b"OK"
        first = running.memory_resident()
        for _ in range(12):
            assert client.command("RELOAD") == b"OK"
        # room for one version not yet given back, far below the twelve that a leak would keep
        eventually(lambda: running.memory_resident() < first + (40 << 20),
                   "memory goes back after reloads: %d -> %d"
                   % (first, running.memory_resident()))
        assert client.command("GET", "big:1m") == datasets.BIG_1M[1]


def test_reload_while_a_big_reply_is_under_way(server, data_file):
    """A reply that started from the old version is finished from it, byte for byte."""
    data = data_file()
    running = server(data)
    with running.connect(receive_buffer=16384) as slow, running.connect() as control:
        slow.send(resp.encode("GET", "big:10m") * 2)
        slow.pending[:0] = slow.read_bytes(1)
        data.records = datasets.plain_records(10, 1)
        data.answers = dict(data.records)
        data.write()
        assert control.command("RELOAD") == b"OK"
        assert control.command("DBSIZE") == 10
        first = slow.read_reply()
        assert first == datasets.BIG_10M[1]
        second = slow.read_reply()
        assert second is None or second == datasets.BIG_10M[1]


def test_second_reload_at_once(server, data_file):
    """Reloads at the same time: each is done or refused with a clear error, none is lost."""
    data = data_file()
    running = server(data)
    clients = [running.connect() for _ in range(8)]
    for client in clients:
        client.send(resp.encode("RELOAD"))
    replies = [client.read_reply() for client in clients]
    assert b"OK" in replies
    for reply in replies:
        assert reply == b"OK" or isinstance(reply, resp.RespError) and len(reply) > 10, reply
    for client in clients:
        assert client.command("PING") == b"PONG"
        client.close()
