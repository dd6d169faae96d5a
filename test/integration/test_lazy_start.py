"""Goal: a store whose checkpoint is larger than --load-before-serving is served at once, with every
value right while the checkpoint is still being read, and after; a damaged block makes errors of its
keys, never "not there", and of no others; what does not fit in memory is looked up where it lies.

Method: the real program, on a directory with a checkpoint of some hundred blocks. A damaged block
stays where it is, and a cap on memory that is too low makes the reading wait: so "meanwhile" lasts as long as
a test wants. Which keys lie in the damaged block is seen in the file.

Bugs planted once to see it fail: load_bytes_max not set; tarn_value_status() ignored in MGET; healthz
that says ok; async_loading a constant; the log silent.
"""
import json
import os

import pytest

from conftest import eventually, sanitized
from test_dump_load import content
from test_durability_server import ask, kept  # noqa: F401 (fixtures)

COUNT = 60000
DAMAGED = b"ERR cannot read the key: damaged data"
LAZY = ("--load-before-serving", "64K")


@pytest.fixture(scope="module")
def made(tmp_path_factory, run_tarn):
    """A directory with a checkpoint and nothing else, and the records in it."""
    top = tmp_path_factory.mktemp("made")
    records = [(b"key:%d" % i, b"value %d %s" % (i, b"." * (i % 50))) for i in range(COUNT)]
    (top / "text").write_bytes(b"".join(key + b" " + value + b"\n" for key, value in records))
    loaded = run_tarn("load", "--format", "text", top / "store", top / "text")
    assert loaded.status == 0, loaded
    assert os.path.getsize(checkpoint_of(top / "store")) > 2 << 20
    return top / "store", dict(records)


def checkpoint_of(store):
    name, = [name for name in os.listdir(store) if name.startswith("checkpoint-")]
    return store / name


@pytest.fixture
def store(made, tmp_path):
    """A copy of it."""
    os.mkdir(tmp_path / "store")
    for name in os.listdir(made[0]):
        (tmp_path / "store" / name).write_bytes((made[0] / name).read_bytes())
    return tmp_path / "store"


def damage(store, at=5000):
    """Change a byte; by default in the first block."""
    path = checkpoint_of(store)
    data = bytearray(path.read_bytes())
    data[at] ^= 0x20
    path.write_bytes(data)
    return bytes(data)


def get_all(server, keys):
    """{key: value, None or error}, of pipelined GETs."""
    found = {}
    keys = list(keys)
    with server.connect() as c:
        for i in range(0, len(keys), 1000):
            some = keys[i:i + 1000]
            found.update(zip(some, c.pipeline([["GET", key] for key in some])))
    return found


def loaded(server):
    return server.info()["async_loading"] == "0"


def metric(server, name):
    for line in ask(server, "GET", "/metrics").text.splitlines():
        if line.startswith(name + " "):
            return int(line.split(" ")[1])
    return None


# --- sound ---

def test_read_in_the_background(kept, store, made):
    model = dict(made[1])
    server = kept(*LAZY)
    assert server.recovered()["loading"] == "in-background"
    with server.connect() as c:
        for i in range(0, COUNT, 7):  # meanwhile
            key = b"key:%d" % i
            assert c.command("GET", key) == model[key]
            if i % 3 == 0:
                assert c.command("DEL", key) == 1
                del model[key]
            elif i % 3 == 1:
                assert c.command("APPEND", key, "+") == len(model[key]) + 1
                model[key] += b"+"
        assert c.command("GET", "no such key") is None
    eventually(lambda: loaded(server), "the checkpoint is read")
    assert server.log.wait_for(r"store checkpoint-loaded keys=\d+")
    info = server.info()
    assert info["loading"] == "0" and info["tarn_base_records_left"] == "0"
    assert info["tarn_loading_failed"] == "0" and info["tarn_loading_failure"] == ""
    assert server.command("DBSIZE") == len(model)
    assert get_all(server, made[1]) == {key: model.get(key) for key in made[1]}
    server.kill()
    server = kept()  # all at once: it is smaller than the default
    assert server.recovered()["loading"] == "done" and loaded(server)
    assert {key: value for key, (value, _) in content(server.port).items()} == model


def test_all_kinds_of_reads_meanwhile(kept, store, made):
    """Each on a server that has just been started."""
    model = made[1]
    keys = list(model)
    for read in (lambda c: [c.command("MGET", *keys[i:i + 500]) == [
                     model[key] for key in keys[i:i + 500]] for i in range(0, COUNT, 500)],
                 lambda c: [c.command("EXISTS", *keys) == COUNT],
                 lambda c: [sorted(c.command("KEYS", "*")) == sorted(keys)],
                 lambda c: [c.command("RANDOMKEY") in model for _ in range(200)],
                 lambda c: [c.command("STRLEN", key) == len(model[key]) for key in keys[::50]]):
        server = kept(*LAZY)
        with server.connect() as c:
            assert all(read(c))
        server.stop()
    server = kept(*LAZY)
    assert {key: value for key, (value, _) in content(server.port).items()} == model


def test_nothing_is_read_before(kept, store, made):
    server = kept("--load-before-serving", "0")
    assert server.recovered()["loading"] == "in-background"
    assert server.command("GET", "key:1") == made[1][b"key:1"]


def test_checkpoint_meanwhile(kept, store, made):
    """It takes in the rest first."""
    server = kept(*LAZY)
    assert server.command("SET", "new", "1") == b"OK"
    assert server.command("SAVE") == b"OK"
    server.kill()
    server = kept(*LAZY)
    assert {key: value for key, (value, _) in content(server.port).items()} == {
        **made[1], b"new": b"1"}


def test_flushall_meanwhile(kept, store):
    server = kept(*LAZY)
    assert server.command("FLUSHALL") == b"OK"
    assert server.command("DBSIZE") == 0 and server.command("KEYS", "*") == []
    eventually(lambda: loaded(server), "nothing is left to be read")
    assert server.command("DBSIZE") == 0
    server.kill()
    assert kept(*LAZY).command("DBSIZE") == 0


# --- damaged ---

@pytest.fixture
def damaged(kept, store, made):
    """A server whose checkpoint's first block is damaged, once it has met that; and the keys that
    lie in it."""
    data = damage(store)
    server = kept(*LAZY)
    assert server.log.wait_for(r'error store loading-failed reason="\S*checkpoint-\d+: .*" '
                               r'advice="keys in what cannot be read are answered an error; ')
    found = get_all(server, made[1])
    lost = {key for key, value in found.items() if value == DAMAGED}
    assert all(found[key] == value for key, value in made[1].items() if key not in lost)
    head = data[:20000]
    places = {key: head.find(key + value) for key, value in made[1].items()}
    assert len(lost) > 50 and sum(places[key] < 0 for key in lost) <= 1  # the changed byte's
    end = max(places[key] for key in lost)
    assert not any(0 <= places[key] < end for key in made[1] if key not in lost)
    return server, lost


def test_damaged_block(damaged, made):
    server, lost = damaged
    one, sound = next(iter(lost)), next(iter(set(made[1]) - lost))
    with server.connect() as c:
        assert c.command("MGET", sound, one) == DAMAGED
        assert c.command("MGET", sound) == [made[1][sound]]
        assert c.command("EXISTS", one) == c.command("TTL", one) == c.command("INCR", one) == DAMAGED
        assert c.command("DEL", one) == c.command("APPEND", one, "x") == DAMAGED
        for request in (["SCAN", 0], ["KEYS", "*"]):
            assert c.command(*request) == b"ERR cannot read all keys: damaged data"
        assert c.command("DBSIZE") == COUNT
        assert c.command("SAVE").startswith(b"ERR ") and b"checkpoint-" in c.command("SAVE")
        assert c.command("SET", one, "anew") == b"OK"
        assert c.command("GET", one) == b"anew"
        assert c.command("DEL", one) == 1 and c.command("GET", one) is None
        assert c.command("DEL", sound) == 1 and c.command("EXISTS", sound) == 0
        assert c.command("SET", "new", "1") == b"OK" or c.command("GET", "new") == b"1"


def test_damaged_block_is_shown(damaged):
    server, lost = damaged
    info = server.info()
    assert info["loading"] == "0" and info["async_loading"] == "1"
    assert info["tarn_loading_failed"] == "1" and "checkpoint-" in info["tarn_loading_failure"]
    assert 0 < int(info["tarn_base_records_left"]) <= COUNT
    assert metric(server, "tarn_loading") == metric(server, "tarn_loading_failed") == 1
    assert metric(server, "tarn_base_records_left") == int(info["tarn_base_records_left"])
    health = ask(server, "GET", "/healthz")
    assert health.status == 503 and "some keys cannot be read" in json.loads(health.text)["error"]


def test_damaged_block_over_http(damaged, made):
    server, lost = damaged
    one, sound = next(iter(lost)).decode(), next(iter(set(made[1]) - lost)).decode()
    error = {"error": "cannot read the key: damaged data"}
    for method, path, body in (("GET", "/kv/" + one, None), ("GET", "/kv?key=" + one, None),
                               ("POST", "/mget", json.dumps([sound, one])),
                               ("POST", "/incr/" + one, ""), ("DELETE", "/kv/" + one, None),
                               ("PUT", "/kv/" + one, "v")):
        headers = {"If-Match": '"0000000000000000"'} if method == "PUT" else {}
        answer = ask(server, method, path, body, headers)
        assert answer.status == 500 and json.loads(answer.text) == error, (method, path)
    assert ask(server, "HEAD", "/kv/" + one).status == 500
    assert ask(server, "GET", "/kv/" + sound).text.encode() == made[1][sound.encode()]
    assert json.loads(ask(server, "POST", "/mget", json.dumps([sound])).text) == {
        sound: made[1][sound.encode()].decode()}


def test_what_to_do(damaged, kept, run_tarn, store, made, tmp_path):
    """check names the place; dump refuses; repair saves all others."""
    server, lost = damaged
    assert server.command("SET", "new", "1") == b"OK"
    server.stop()
    checked = run_tarn("check", store)
    assert checked.status == 1 and "checkpoint-" in checked.err
    dumped = run_tarn("dump", store, "--output", tmp_path / "dump")
    assert dumped.status == 1 and not (tmp_path / "dump").exists()
    repaired = run_tarn("repair", store, "--into", tmp_path / "new", "--accept-loss")
    assert repaired.status == 0, repaired
    found = content(kept(directory=tmp_path / "new").port)
    assert {key: value for key, (value, _) in found.items()} == {
        **{key: value for key, value in made[1].items() if key not in lost}, b"new": b"1"}


# --- no room ---

@pytest.fixture(scope="module")
def large(tmp_path_factory, run_tarn):
    """As made: 24 MB, much more than the server itself."""
    top = tmp_path_factory.mktemp("large")
    records = [(b"key:%d" % i, b"value %d %s" % (i, b"." * 1200)) for i in range(20000)]
    (top / "text").write_bytes(b"".join(key + b" " + value + b"\n" for key, value in records))
    loaded = run_tarn("load", "--format", "text", top / "store", top / "text")
    assert loaded.status == 0, loaded
    return top / "store", dict(records), sum(len(key) + len(value) for key, value in records)


@pytest.mark.skipif(sanitized(), reason="a sanitizer's memory counts, too")
def test_does_not_fit(kept, large):
    """It is tried again when there is room."""
    store, model, payload = large
    server = kept("--memory", str((payload + (1 << 20)) * 16 // 15), *LAZY, directory=store)
    assert server.log.wait_for('warning store loading-waits reason="')
    info = server.info()
    assert info["async_loading"] == "1" and info["tarn_loading_failed"] == "1"
    assert "does not fit" in info["tarn_loading_failure"]
    assert ask(server, "GET", "/healthz").status == 507
    assert get_all(server, model) == model
    assert server.command("SCAN", 0, "COUNT", 100000) == (
        b"ERR cannot read all keys: the memory limit is reached")
    assert server.command("CONFIG", "SET", "maxmemory", "0") == b"OK"
    eventually(lambda: loaded(server), "there is room now")
    assert ask(server, "GET", "/healthz").text == "ok\n"
    assert {key: value for key, (value, _) in content(server.port).items()} == model


@pytest.mark.skipif(sanitized(), reason="a sanitizer's memory counts, too")
def test_eviction(kept, large):
    """What does not fit goes, as the policy says; values are right or not there."""
    store, model, payload = large
    server = kept("--memory", str(payload), "--max-memory-policy", "allkeys-sieve", *LAZY,
                  directory=store)
    eventually(lambda: loaded(server), "the checkpoint is read")
    found = get_all(server, model)
    assert 0 < sum(value is not None for value in found.values()) < len(model)
    assert all(value in (None, model[key]) for key, value in found.items())
