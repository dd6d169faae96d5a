"""Goal: redis-py works against tarn as it does against Redis, without a workaround.

Method: the same calls with every parser and protocol (redis_py.py); answers are compared with the
data set, errors with redis-py's own exception classes. test_redis_py_writes.py is of the writable
store.
"""
import pytest
import redis

import datasets
from redis_py import connect  # noqa: F401 (a fixture)

pytestmark = pytest.mark.threads


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_every_record_is_got(connect, request, kind):
    server = request.getfixturevalue(kind + "_server")
    data = request.getfixturevalue(kind + "_data")
    client = connect(server)
    for key in data.keys()[::37] + [key for key, _ in datasets.NASTY_TEXT_RECORDS]:
        assert client.get(key) == data[key], key
    for key, value in datasets.BIG_RECORDS:
        assert client.get(key) == value, key
    assert client.get(b"no such key") is None
    keys = data.keys()[:1000]
    wanted = [data[k] for k in keys] + [None]
    assert client.mget(keys + [b"no such key"]) == wanted
    assert client.dbsize() == len(data)


def test_reading_commands(connect, text_server, text_data):
    client = connect(text_server)
    key, value = datasets.uuid_key(7), text_data[datasets.uuid_key(7)]
    assert client.exists(key) == 1
    assert client.exists(key, key, b"no such key") == 2
    assert client.strlen(key) == len(value)
    assert client.strlen(b"no such key") == 0
    assert client.getrange(key, 2, 5) == value[2:6]
    assert client.getrange(key, -3, -1) == value[-3:]
    assert client.getrange(datasets.BIG_1M[0], 500000, 600000) == \
        datasets.BIG_1M[1][500000:600001]
    assert client.substr(key, 0, 3) == value[:4]
    assert client.type(key) == b"string"
    assert client.type(b"no such key") == b"none"
    assert client.ttl(key) == -1 and client.ttl(b"no such key") == -2
    assert client.pttl(key) == -1 and client.pttl(b"no such key") == -2
    assert client.randomkey() in text_data.answers
    assert client.object("encoding", key) == b"embstr"
    assert client.object("encoding", b"number") == b"int"
    assert client.object("encoding", datasets.BIG_20K[0]) == b"raw"
    assert client.memory_usage(key) >= len(key) + len(value)
    assert client.memory_usage(b"no such key") is None


def test_scan_visits_every_key_once(connect, text_server, text_data):
    client = connect(text_server)
    found = list(client.scan_iter(count=500))
    assert sorted(found) == sorted(text_data.keys())
    assert sorted(client.scan_iter(match=b"big:*", count=1000)) == \
        sorted(key for key, _ in datasets.BIG_RECORDS)
    assert list(client.scan_iter(match=b"big:1?", count=5000, _type="string")) != []
    assert list(client.scan_iter(count=5000, _type="hash")) == []
    assert sorted(client.keys(b"big:*")) == sorted(key for key, _ in datasets.BIG_RECORDS)


def test_pipeline_keeps_order(connect, text_server, text_data):
    client = connect(text_server)
    keys = text_data.keys()[:5000]
    pipe = client.pipeline(transaction=False)
    for number, key in enumerate(keys):
        pipe.get(key)
        if number % 100 == 0:
            pipe.strlen(key)
            pipe.echo(b"%d" % number)
    expected = []
    for number, key in enumerate(keys):
        expected.append(text_data[key])
        if number % 100 == 0:
            expected += [len(text_data[key]), b"%d" % number]
    assert pipe.execute() == expected


def test_pipeline_as_the_library_sends_it_by_default(connect, text_server, text_data):
    """Between MULTI and EXEC; a refused write takes the whole with it."""
    client = connect(text_server)
    keys = text_data.keys()[:1000]
    pipe = client.pipeline()
    for key in keys:
        pipe.get(key)
    pipe.mget(keys[:3]).get(b"big:1m").exists(keys[0])
    assert pipe.execute() == [text_data[key] for key in keys] + [
        [text_data[key] for key in keys[:3]], text_data[b"big:1m"], 1]
    with pytest.raises(redis.RedisError):
        client.pipeline().get(keys[0]).set(keys[0], b"x").execute()
    assert client.transaction(lambda p: p.multi() or p.get(keys[0]), keys[0]) == [
        text_data[keys[0]]]


def test_pipeline_reports_an_error_in_its_place(connect, text_server, text_data):
    client = connect(text_server)
    key = text_data.keys()[0]
    results = client.pipeline(transaction=False).get(key).set(key, b"x").get(key).execute(
        raise_on_error=False)
    assert results[0] == results[2] == text_data[key]
    assert isinstance(results[1], redis.ReadOnlyError)


def test_writes_are_refused_as_by_a_read_only_replica(connect, text_server):
    client = connect(text_server)
    for write in (lambda: client.set(b"a", b"b"), lambda: client.delete(b"a"),
                  lambda: client.incr(b"a"), lambda: client.lpush(b"a", b"b"),
                  lambda: client.expire(b"a", 5), lambda: client.flushall()):
        with pytest.raises(redis.ReadOnlyError):
            write()


def test_errors_map_to_the_clients_classes(connect, text_server):
    client = connect(text_server)
    with pytest.raises(redis.ResponseError, match="unknown command"):
        client.execute_command("NOSUCHCOMMAND", "x")
    with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
        client.execute_command("GET")
    with pytest.raises(redis.ResponseError, match="out of range"):
        client.execute_command("SELECT", "1")
    assert client.ping() is True  # the connection goes on


def test_connection_commands(connect, text_server):
    client = connect(text_server, client_name="tester", db=0)
    assert client.ping() is True
    assert client.echo(b"\x00\xff") == b"\x00\xff"
    assert client.client_getname() in ("tester", b"tester")
    assert client.client_setname("renamed") is True
    assert client.client_getname() in ("renamed", b"renamed")
    number = client.client_id()
    mine = [c for c in client.client_list() if int(c["id"]) == number]
    assert len(mine) == 1 and mine[0]["name"] == "renamed"
    assert int(client.client_info()["id"]) == number
    seconds, microseconds = client.time()
    assert seconds > 1600000000 and 0 <= microseconds < 1000000


def test_administration(connect, text_server, text_data):
    client = connect(text_server)
    info = client.info()
    assert info["redis_version"].startswith("7.2")
    assert info["tarn_version"]
    assert info["redis_mode"] == "standalone" and info["role"] == "master"
    assert info["loading"] == 0 and info["cluster_enabled"] == 0
    assert info["db0"]["keys"] == len(text_data) and info["db0"]["expires"] == 0
    assert info["connected_clients"] >= 1
    assert info["tcp_port"] == text_server.port
    assert set(client.info("keyspace")) == {"db0"}
    assert client.config_get("port") == {"port": str(text_server.port)}
    assert "get" in client.command()
    assert client.command_count() == len(client.command())
    assert client.command_getkeys("MGET", "a", "b") == [b"a", b"b"] or \
        client.command_getkeys("MGET", "a", "b") == ["a", "b"]
    assert isinstance(client.slowlog_get(), list)
    assert client.slowlog_len() >= 0


def test_password(connect, server, data_file):
    guarded = server(data_file(records=[(b"k", b"v")]), "--password", "s3cret")
    with pytest.raises(redis.AuthenticationError):
        connect(guarded).get(b"k")
    # A plain ResponseError in older versions of redis-py
    with pytest.raises((redis.AuthenticationError, redis.ResponseError), match="WRONGPASS|invalid"):
        connect(guarded, password="wrong").get(b"k")
    assert connect(guarded, password="s3cret").get(b"k") == b"v"
    assert connect(guarded, username="default", password="s3cret").get(b"k") == b"v"
    with pytest.raises((redis.AuthenticationError, redis.ResponseError), match="WRONGPASS|invalid"):
        connect(guarded, username="somebody", password="s3cret").get(b"k")


def test_decoded_responses(connect, text_server):
    client = connect(text_server, decode_responses=True)
    assert client.get("schlüssel-日本語-🔑") == "wert-値-💎"
