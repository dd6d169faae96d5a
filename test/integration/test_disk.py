"""A data file that stays on disk while it is served: the same answers as from memory, whatever the
cache holds; pipelines and crowds over a small cache; large values sent as they are taken; files
that are damaged, cut, replaced or removed under the server; ends of clients and of the server with
reads under way.

Method: two servers of one file, one with --data memory and one with --data disk, hold the same
conversations, byte for byte; where the disk itself is the matter, the data set knows the answers.
Slow and failing reads are unit tests (test_server_fetch.c, test_store_far.c).
"""
import json
import os
import random
import re
import signal
import socket
import threading

import pytest

import conftest
import datasets
import resp
from beside_redis import RawConnection, split
from conftest import eventually, index_blocks, sanitized
from test_differential import RECORDS, SAME
from test_http import Http

pytestmark = pytest.mark.threads

FAR = 1 << 20  # larger values are read by pieces


def info(server, section="disk"):
    text = server.command("INFO", section).decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


@pytest.fixture
def on_disk(server):
    """on_disk(data, *flags): a server that leaves the file on disk."""
    def start(data, *flags, memory="64M", **options):
        index_blocks(data.path, *data.flags)
        return server(data, "--data", "disk", "--memory", memory, *flags, **options)
    return start


@pytest.fixture
def both(server, on_disk):
    """both(data, ...): a server of the file in memory, and one of it on disk."""
    def start(data, *flags, memory="64M"):
        disk = on_disk(data, *flags, memory=memory)
        other = data.path + ".memory"
        os.link(data.path, other)
        return server(other, "--data", "memory", *data.flags), disk
    return start


# --- the same answers ---

# About the memory that a key takes, or not answered the same twice.
DIFFERENT = re.compile(r"RANDOMKEY|MEMORY|CONFIG|INFO|SCAN|KEYS|DEBUG|CLIENT|COMMAND|TIME", re.I)


def test_every_command(both, data_file):
    memory, disk = both(data_file("binary", RECORDS))
    for protocol in (2, 3):
        for conversation in SAME:
            requests = [split(r) for r in conversation]
            if any(DIFFERENT.search(str(r[0])) for r in requests if r):
                continue
            with RawConnection(memory.port, protocol) as a, RawConnection(disk.port, protocol) as b:
                for request in requests:
                    assert a.command(*request) == b.command(*request), (conversation, request)


def test_scans_meet_every_key(on_disk, data_file):
    data = data_file("binary", RECORDS)
    disk = on_disk(data)
    with disk.connect() as c:
        assert sorted(c.command("KEYS", "*")) == sorted(data.keys())
        found, cursor = [], b"0"
        while True:
            cursor, keys = c.command("SCAN", cursor, "COUNT", "3")
            found += keys
            if cursor == b"0":
                break
        assert sorted(found) == sorted(data.keys())
        assert c.command("DBSIZE") == len(data)
        assert c.command("RANDOMKEY") in data.answers


def random_request(choice, keys):
    key = choice.choice(keys) if choice.random() < 0.8 else b"absent %d" % choice.randrange(100)
    other = choice.choice(keys)
    number = choice.randrange(-100, 3000)
    return choice.choice([
        ("GET", key), ("GET", key), ("GET", key), ("STRLEN", key), ("MGET", key, other, b"none"),
        ("EXISTS", key, other), ("TYPE", key), ("TTL", key), ("GETRANGE", key, number, number + 50),
        ("OBJECT", "ENCODING", key), ("BITCOUNT", key), ("GETBIT", key, abs(number)), ("PING",),
        ("DUMP", key), ("TOUCH", key), ("SET", key, "x"), ("GET",), ("NOSUCH", key),
        ("LCS", key, other, "LEN") if len(key) < 100 else ("ECHO", "x"),
    ])


def random_stream(choice, keys, count):
    requests = []
    while len(requests) < count:
        if choice.random() < 0.05:
            requests.append(("MULTI",))
            requests += [random_request(choice, keys) for _ in range(choice.randrange(5))]
            requests.append((choice.choice(["EXEC", "EXEC", "DISCARD"]),))
        else:
            requests.append(random_request(choice, keys))
    return requests


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_random_workload(both, data_file, kind):
    """Several clients a server, each with pipelines of random sizes; the cache is small."""
    nasty = datasets.NASTY_TEXT_RECORDS if kind == "text" else datasets.NASTY_BINARY_RECORDS
    short = [r for r in nasty if len(r[1]) < 1000]
    data = data_file(kind, datasets.plain_records(20000) + short + [datasets.BIG_20K])
    memory, disk = both(data, memory="6M")
    keys = data.keys()
    failures = []

    def client(seed):
        choice = random.Random(seed)
        hot = choice.sample(keys, 200)
        with RawConnection(memory.port) as a, RawConnection(disk.port) as b:
            for _ in range(30):
                some = hot if choice.random() < 0.5 else keys
                requests = random_stream(choice, some, choice.choice([1, 3, 50, 500]))
                if a.pipeline(requests) != b.pipeline(requests):
                    failures.append((seed, requests))
    clients = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert not failures, failures[0]
    figures = info(disk)
    assert int(figures["tarn_cache_hits"]) > 0 and int(figures["tarn_disk_misses"]) > 0
    assert int(figures["tarn_disk_corrupt"]) == int(figures["tarn_disk_io_errors"]) == 0


# --- crowds over a small cache ---

def test_long_pipelines(on_disk, data_file):
    data = data_file("binary", datasets.plain_records(30000))
    disk = on_disk(data, memory="8M")
    keys = data.keys()
    random.Random(1).shuffle(keys)
    with disk.connect() as c:
        sender = threading.Thread(
            target=c.send, args=(b"".join(resp.encode("GET", k) for k in keys),))
        sender.start()
        for k in keys:
            assert c.read_reply() == data[k]
        sender.join()
        c.send(resp.encode("MGET", *keys))
        assert c.read_reply() == [data[k] for k in keys]
    figures = info(disk)
    assert int(figures["tarn_disk_misses"]) >= 30000
    assert float(figures["tarn_disk_reads_per_miss"]) <= 1.01
    assert int(figures["tarn_disk_in_flight"]) == 0


def test_many_connections(on_disk, data_file):
    data = data_file("binary", datasets.plain_records(20000))
    disk = on_disk(data, memory="8M")
    keys = data.keys()
    choice = random.Random(2)
    connections = [disk.connect() for _ in range(300)]
    try:
        for _ in range(5):
            asked = []
            for c in connections:
                some = choice.sample(keys, 20)
                c.send(b"".join(resp.encode("GET", k) for k in some))
                asked.append(some)
            for c, some in zip(connections, asked):
                assert [c.read_reply() for _ in some] == [data[k] for k in some]
    finally:
        for c in connections:
            c.close()
    assert int(info(disk)["tarn_disk_io_errors"]) == 0


def test_crowd_without_room(on_disk, data_file):
    """Far more is asked for at a time than fits: connections take turns, nobody gets an error."""
    records = [(k, datasets.printable(k.decode(), 4000)) for k, _ in datasets.plain_records(5000)]
    data = data_file("binary", records)
    disk = on_disk(data, memory="8M")
    choice = random.Random(5)
    connections = [disk.connect() for _ in range(150)]
    asked = [choice.sample(data.keys(), 100) for _ in connections]
    for c, some in zip(connections, asked):
        c.send(b"".join(resp.encode("GET", k) for k in some))
    for c, some in zip(connections, asked):
        assert [c.read_reply() for _ in some] == [data[k] for k in some]
        c.close()


def test_same_keys_by_many(on_disk, data_file):
    """Clients that want the same keys at the same time share reads."""
    data = data_file("binary", datasets.plain_records(2000))
    disk = on_disk(data)
    keys = data.keys()
    connections = [disk.connect() for _ in range(50)]
    for c in connections:
        c.send(b"".join(resp.encode("GET", k) for k in keys))
    for c in connections:
        assert [c.read_reply() for _ in keys] == [data[k] for k in keys]
        c.close()
    figures = info(disk)
    assert int(figures["tarn_disk_reads"]) <= 1.2 * len(keys)


def test_absent_keys_are_not_read(on_disk, data_file):
    data = data_file("binary", datasets.plain_records(5000))
    disk = on_disk(data)
    with disk.connect() as c:
        for _ in range(2):
            replies = c.pipeline([("GET", "absent %d" % i) for i in range(4000)])
            assert replies == [None] * 4000
    figures = info(disk)
    assert int(figures["tarn_disk_refused"]) > 2 * 4000 * 0.9
    assert int(figures["tarn_disk_reads"]) < 4000 / 8  # 4 bits of fingerprint


# --- large values ---

def big_data(data_file):
    return data_file("binary", datasets.plain_records(100) + datasets.BIG_RECORDS +
                     [(b"just", b"x" * FAR), (b"far", datasets.printable("far", FAR + 1))])


def test_large_values(both, data_file):
    data = big_data(data_file)
    memory, disk = both(data)
    requests = [("GET", "big:10m"), ("PING",), ("STRLEN", "big:10m"), ("TYPE", "far"),
                ("GET", "just"), ("GET", "far"), ("GETRANGE", "big:10m", 0, 10),
                ("GETRANGE", "big:10m", -20, -1), ("GETRANGE", "big:10m", 3 << 20, 5 << 20),
                ("GETRANGE", "big:10m", 5, 4), ("EXISTS", "big:10m", "far"), ("TTL", "far"),
                ("GET", data.keys()[0]), ("BITCOUNT", "far"), ("DUMP", "far"),
                ("MGET", "far", "just"), ("OBJECT", "ENCODING", "far"), ("NOSUCH",)]
    with RawConnection(memory.port) as a, RawConnection(disk.port) as b:
        for request in requests:
            assert a.command(*request) == b.command(*request), request
        assert a.pipeline(requests) == b.pipeline(requests)
        transaction = [("MULTI",), ("GET", "far"), ("STRLEN", "far"), ("EXEC",)]
        assert a.pipeline(transaction) == b.pipeline(transaction)


def test_large_value_and_replies_off(on_disk, data_file):
    data = big_data(data_file)
    with on_disk(data).connect() as c:
        c.send(resp.encode("CLIENT", "REPLY", "OFF") + resp.encode("GET", "big:10m") +
               resp.encode("CLIENT", "REPLY", "ON"))
        assert c.read_reply() == b"OK"
        c.send(resp.encode("CLIENT", "REPLY", "SKIP") + resp.encode("GET", "big:10m") +
               resp.encode("PING"))
        assert c.read_reply() == b"PONG"


def test_readers_that_take_their_time(on_disk, data_file):
    """Who does not read its large value holds a piece of it, not all."""
    data = big_data(data_file)
    disk = on_disk(data, memory="32M")
    before = disk.memory_resident()
    connections = [disk.connect(receive_buffer=4096) for _ in range(30)]
    for c in connections:
        c.send(resp.encode("GET", "big:10m") + resp.encode("PING"))
    eventually(lambda: int(info(disk)["tarn_disk_in_flight"]) == 0, "no reads")
    if not sanitized():
        assert disk.memory_resident() - before < 80 << 20  # not 300 MB
    assert disk.command("GET", "big:20k") == data[b"big:20k"]
    # One is killed, one goes in the middle; the others read on.
    assert disk.command("CLIENT", "KILL", "ADDR",
                        "%s:%d" % connections[0].socket.getsockname()) == 1
    with pytest.raises((resp.Closed, ConnectionResetError)):
        connections[0].read_reply()
    connections[1].read_bytes(5 << 20)
    connections[1].close()
    for c in connections[2:]:
        assert c.read_reply() == data[b"big:10m"]
        assert c.read_reply() == b"PONG"
        c.close()
    connections[0].close()


# --- HTTP ---

def ask(port, text, head=False):
    with Http(port) as h:
        h.send(text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return h.read(head=head)


@pytest.mark.parametrize("key", ["just", "far", "big:10m", "big:20k", "none"])
@pytest.mark.parametrize("fields", ["", "Range: bytes=0-9", "Range: bytes=-5",
                                    "Range: bytes=1000000-1048700", "Range: bytes=99999999-",
                                    "If-Match: *", "If-None-Match: *"])
def test_http_values(session_pair, key, fields):
    memory, disk = session_pair
    for method in ("GET", "HEAD"):
        text = "%s /kv/%s HTTP/1.1\nHost: localhost" % (method, key)
        text += "\n" + fields if fields else ""
        a = ask(memory.http_port, text, method == "HEAD")
        b = ask(disk.http_port, text, method == "HEAD")
        assert (a.status, a.body) == (b.status, b.body)
        skip = ("date", "etag") if key in ("far", "big:10m") else ("date",)
        assert [f for f in a.fields if f[0].lower() not in skip] == \
            [f for f in b.fields if f[0].lower() not in skip]


@pytest.fixture(scope="module")
def session_pair(tarn, tmp_path_factory):
    started = []
    path = tmp_path_factory.mktemp("disk") / "data"
    records = datasets.BIG_RECORDS + [(b"just", b"x" * FAR),
                                      (b"far", datasets.printable("far", FAR + 1))]
    data = datasets.Dataset(path, "binary", datasets.plain_records(3000) + records).write()
    os.link(data.path, data.path + ".memory")
    index_blocks(data.path)
    yield (conftest._start(started, data.path + ".memory", ("--data", "memory")),
           conftest._start(started, data, ("--data", "disk", "--memory", "64M")))
    conftest._stop_all(started)


def test_http_many(session_pair):
    memory, disk = session_pair
    keys = [k.decode() for k, _ in datasets.plain_records(3000)]
    choice = random.Random(3)
    for count in (0, 1, 10, 3000):
        some = choice.sample(keys, count) + ["none"] * (count > 0)
        body = json.dumps(some)
        text = "POST /mget HTTP/1.1\nHost: localhost\nContent-Length: %d\n\n%s" % (len(body), body)
        answers = []
        for s in session_pair:
            with Http(s.http_port) as h:
                h.send(text.replace("\n", "\r\n").encode())
                answers.append(h.read())
        assert answers[0].status == answers[1].status == 200
        assert answers[0].body == answers[1].body


def test_http_many_connections(session_pair):
    """Requests whose keys are being read wait; their threads serve others meanwhile."""
    _, disk = session_pair
    records = datasets.plain_records(3000)
    connections = [Http(disk.http_port) for _ in range(100)]
    for round in range(5):
        for i, h in enumerate(connections):
            key = records[(i * 31 + round * 577) % 3000][0].decode()
            h.send(b"GET /kv/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % key.encode())
        for i, h in enumerate(connections):
            response = h.read()
            assert (response.status, response.body) == \
                (200, records[(i * 31 + round * 577) % 3000][1])
    for h in connections:
        h.socket.close()


def test_http_reader_that_goes(session_pair):
    _, disk = session_pair
    for size in (0, 1000, 3 << 20):
        with Http(disk.http_port) as h:
            h.send(b"GET /kv/big:10m HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while size > 0:
                size -= len(h.socket.recv(65536))
    assert ask(disk.http_port, "GET /kv/just HTTP/1.1\nHost: localhost").body == b"x" * FAR


# --- bad files ---

def damage(path, offset):
    """Another byte there, written to the file itself."""
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)
        f.seek(offset)
        f.write(bytes([byte[0] ^ 0x20]))


def test_damaged_block(on_disk, data_file):
    data = data_file("binary", datasets.plain_records(5000))
    disk = on_disk(data)
    bad = data.keys()[2500]
    content = open(data.path, "rb").read()
    damage(data.path, content.index(bad) + len(bad) + 6)
    replies = {}
    with disk.connect() as c:
        for key, reply in zip(data.keys(), c.pipeline([("GET", k) for k in data.keys()])):
            replies[key] = reply
        wrong = {k: r for k, r in replies.items() if r != data[k]}
        assert bad in wrong and len(wrong) < 200  # its block
        for reply in wrong.values():
            assert isinstance(reply, resp.RespError)
            assert reply.startswith(b"ERR cannot read the key: ") and data.path.encode() in reply
            assert re.search(rb"\d", reply.replace(data.path.encode(), b""))  # where
        assert isinstance(c.command("MGET", data.keys()[0], bad), resp.RespError)
        assert isinstance(c.command("EXISTS", bad), resp.RespError)
    response = ask(disk.http_port, "GET /kv/%s HTTP/1.1\nHost: localhost" % bad.decode())
    assert response.status == 500 and data.path in response.error
    figures = info(disk)
    assert int(figures["tarn_disk_corrupt"]) > 0
    assert data.path in figures["tarn_disk_failure"]


def test_file_cut_short(on_disk, data_file):
    data = data_file("binary", datasets.plain_records(5000))
    disk = on_disk(data)
    os.truncate(data.path, os.path.getsize(data.path) // 2)
    with disk.connect() as c:
        replies = c.pipeline([("GET", k) for k in data.keys()])
        for key, reply in zip(data.keys(), replies):
            assert reply == data[key] or isinstance(reply, resp.RespError)
        assert sum(isinstance(r, resp.RespError) for r in replies) >= 2400
        assert c.command("PING") == b"PONG"


def test_file_removed_or_replaced(on_disk, data_file):
    """What was opened is served on, and a reload takes what is there then."""
    data = data_file("binary", datasets.plain_records(3000))
    disk = on_disk(data)
    os.unlink(data.path)
    with disk.connect() as c:
        assert c.pipeline([("GET", k) for k in data.keys()]) == [data[k] for k in data.keys()]
    eventually(lambda: disk.command("GET", "none") is None and
               info(disk)["tarn_disk_changed"] == "1", "that it was removed is seen")
    new = data_file("binary", datasets.plain_records(3000, generation=1))
    index_blocks(new.path)
    disk.signal(signal.SIGHUP)
    assert disk.log.wait_for("reloaded")
    with disk.connect() as c:
        assert c.pipeline([("GET", k) for k in new.keys()]) == [new[k] for k in new.keys()]
    assert info(disk)["tarn_disk_changed"] == "0"


def test_reloads_under_load(on_disk, data_file):
    """While versions are swapped, every answer is of one of them; large values too."""
    data = data_file("binary", datasets.plain_records(2000) + [datasets.BIG_10M])
    disk = on_disk(data, memory="96M")
    stop = threading.Event()
    failures = []

    def client(seed):
        choice = random.Random(seed)
        with disk.connect() as c:
            while not stop.is_set():
                some = choice.sample(data.keys()[:2000], 50)
                for key, reply in zip(some, c.pipeline([("GET", k) for k in some])):
                    if not re.fullmatch(data[key].split(b" of ")[0] + rb" of generation \d", reply):
                        failures.append((key, reply))
                if seed == 0 and c.command("GET", "big:10m") != data[b"big:10m"]:
                    failures.append("big")
    clients = [threading.Thread(target=client, args=(seed,)) for seed in range(3)]
    for c in clients:
        c.start()
    for generation in range(1, 4):
        seen = disk.log.count()
        data_file("binary", datasets.plain_records(2000, generation) + [datasets.BIG_10M])
        index_blocks(data.path)
        disk.signal(signal.SIGHUP)
        assert disk.log.wait_for("reloaded|reload-failed", after=seen)
    stop.set()
    for c in clients:
        c.join()
    assert not failures, failures[0]


# --- ends ---

def test_clients_that_go(on_disk, data_file):
    data = data_file("binary", datasets.plain_records(20000))
    disk = on_disk(data, memory="8M")
    choice = random.Random(4)
    for i in range(200):
        c = disk.connect()
        c.send(b"".join(resp.encode("GET", k) for k in choice.sample(data.keys(), 300)))
        if i % 3 == 0:
            c.read_reply()
        if i % 7 == 0:
            disk.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        c.close()
    assert disk.command("GET", data.keys()[0]) == data[data.keys()[0]]


def test_stop_answers_what_was_received(on_disk, data_file):
    data = data_file("binary", datasets.plain_records(20000) + [datasets.BIG_10M])
    disk = on_disk(data, memory="32M")
    keys = data.keys()[:5000]
    with disk.connect() as c, disk.connect() as d:
        c.send(b"".join(resp.encode("GET", k) for k in keys))
        d.send(resp.encode("GET", "big:10m") + resp.encode("PING"))
        assert c.read_reply() == data[keys[0]]
        disk.signal(signal.SIGTERM)
        for k in keys[1:]:
            try:
                assert c.read_reply() == data[k]
            except resp.Closed as closed:
                assert closed.rest == b""
                break
        try:
            assert d.read_reply() == data[b"big:10m"]
        except resp.Closed:
            pass  # it had five seconds
    assert disk.wait_exit() == 0


# --- flags ---

def test_what_is_said(on_disk, data_file, run_tarn):
    data = data_file("binary", datasets.plain_records(1000))
    disk = on_disk(data, "--read-depth", "7")
    assert disk.log.wait_for(r"store loaded .* data=disk cache_bytes_max=\d+ read_depth=7")
    assert info(disk)["tarn_disk_read_depth"] == "7"
    assert info(disk, "tarn")["tarn_data_on_disk"] == "1"
    assert info(disk, "default")["tarn_cache_hits"] == "0"
    assert disk.command("CONFIG", "GET", "data") == [b"data", b"disk"]
    disk.command("GET", data.keys()[0])
    metrics = ask(disk.http_port, "GET /metrics HTTP/1.1\nHost: localhost").body.decode()
    assert re.search(r"^tarn_disk_reads_total 1$", metrics, re.M)
    counts = [int(n) for n in
              re.findall(r"^tarn_disk_read_duration_seconds_bucket\{.*\} (\d+)$", metrics, re.M)]
    assert counts == sorted(counts) and counts[-1] == 1
    assert re.search(r"^tarn_disk_read_duration_seconds_count 1$", metrics, re.M)
    stats = json.loads(ask(disk.http_port, "GET /stats HTTP/1.1\nHost: localhost").body)
    assert stats["disk"]["tarn_disk_misses"] == 1


def test_memory_server_says_nothing_of_disks(text_server):
    if os.environ.get("TARN_TEST_DATA") == "disk":
        pytest.skip("it is served from disk")
    assert info(text_server) == {}
    metrics = ask(text_server.http_port, "GET /metrics HTTP/1.1\nHost: localhost").body.decode()
    assert "tarn_data_on_disk 0" in metrics and "tarn_disk" not in metrics


def test_refusals(run_tarn, data_file, tmp_path):
    data = data_file("binary", datasets.plain_records(1000))
    index_blocks(data.path)

    def refused(*flags):
        done = run_tarn("serve", "--port", "0", "--http-port", "0", *flags, data.path)
        assert done.status != 0
        return done.err
    assert "memory" in refused("--data", "disk", "--memory", "500K")
    assert re.search(r"needs|at least", refused("--data", "disk", "--memory", "500K"))
    assert "memory" in refused("--data", "memory", "--memory", "20K")
    assert "disk" in refused("--data", "disk", "--dir", tmp_path / "d")
    assert "--read-depth" in refused("--read-depth", "0")
    assert "--data" in refused("--data", "tape")
    done = run_tarn("serve", "--data", "disk")
    assert done.status == 2 and "FILE is missing" in done.err
