"""Writing over HTTP (doc/http.md): PUT, POST, DELETE, /mset, /incr on a writable store.

Method: plain sockets (test_http.Http) where bytes matter, curl and http.client as users have them;
RESP beside HTTP shows that both see one store; compare-and-set loops from several threads count up
together. Bugs planted once to see these tests fail: conditions of PUT checked before the lock; a
malformed If-None-Match taken for none; the ttl read from a key's decoded bytes; Origin not looked at;
/mset that stores one record after the other; an end in the middle of a body not looked for."""
import base64
import http.client
import json
import os
import shutil
import subprocess
import threading

import pytest

from conftest import TIMEOUT, eventually
from test_http import Http, head

pytestmark = pytest.mark.threads


@pytest.fixture
def store(server):
    return server(None)


@pytest.fixture
def web(store):
    with Http(store.http_port) as connection:
        yield connection


def put(web, target, body, *fields):
    return web.request("PUT", target, *fields, body=body)


def tag_of(web, target):
    return web.get(target)["ETag"]


# --- PUT, POST, DELETE ---

@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_create_replace_delete(store, web, method):
    response = web.request(method, "/kv/a", body=b"one")
    assert response.status == 201 and response.body == b""
    assert web.get("/kv/a").body == b"one" and response["ETag"] == tag_of(web, "/kv/a")
    response = web.request(method, "/kv/a", body=b"two")
    assert response.status == 204 and response["ETag"] == tag_of(web, "/kv/a")
    assert not response.all("Content-Length") or response["Content-Length"] == "0"
    assert store.command("GET", "a") == b"two"
    assert web.request("DELETE", "/kv/a").status == 204
    assert web.get("/kv/a").status == 404
    response = web.request("DELETE", "/kv/a")
    assert response.status == 404 and response.error == "no such key"


@pytest.mark.parametrize("value", [b"", b"\0", bytes(range(256)), b"x" * 16384, b"x" * 16385,
                                   b"\r\n\r\nGET / HTTP/1.1\r\n", os.urandom(3 << 20)],
                         ids=lambda v: "%d bytes" % len(v))
def test_any_value(store, web, value):
    assert put(web, "/kv/k", value).status == 201
    assert web.get("/kv/k").body == value
    assert store.command("GET", "k") == value
    assert put(web, "/kv/k", value + b".").status == 204
    assert web.get("/kv/k").body == value + b"."


def test_any_key(store, web):
    key = bytes(range(256))
    escaped = "".join("%%%02X" % b for b in key)
    for target in ("/kv/" + escaped, "/kv?key=" + escaped):
        store.command("DEL", key)
        assert put(web, target, b"v").status == 201
        assert store.command("GET", key) == b"v"
        assert web.request("DELETE", target).status == 204
    assert put(web, "/kv/", b"empty key").status == 201
    assert store.command("GET", "") == b"empty key"


def test_put_without_a_body_is_the_empty_value(store, web):
    assert web.request("PUT", "/kv/a", "Content-Length: 0").status == 201
    assert web.request("PUT", "/kv/b").status == 201
    assert web.get("/kv/a").body == web.get("/kv/b").body == b""


def test_chunked_and_in_pieces(web):
    value = os.urandom(300000)
    web.send(head("PUT /kv/a HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked"))
    for i in range(0, len(value), 70000):
        web.send(b"%x\r\n%s\r\n" % (len(value[i:i + 70000]), value[i:i + 70000]))
    web.send(b"0\r\n\r\n")
    assert web.read().status == 201
    assert web.get("/kv/a").body == value
    web.send(head("PUT /kv/a HTTP/1.1", "Host: localhost", "Content-Length: 5"))
    for byte in b"hello":
        web.send(bytes([byte]))
    assert web.read().status == 204
    assert web.get("/kv/a").body == b"hello"


def buffers_bytes(web):
    return web.get("/stats").json()["clients"]["tarn_client_buffers_bytes"]


def test_a_part_of_a_body_stores_nothing(store, web):
    with Http(store.http_port) as other:
        other.send(head("PUT /kv/a HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked")
                   + b"5\r\nhello\r\nxyz\r\n")
        assert other.read().status == 400
        assert other.at_end()
    assert web.get("/kv/a").status == 404


@pytest.mark.parametrize("size", [0, 10, 5000, 150000])
def test_clients_that_go_in_the_middle_of_a_body(server, size):
    """Their end often comes together with the last data. It is noticed, and they are let go, though
    idle connections may stay for a day."""
    s = server(None, "--timeout", "86400")
    with Http(s.http_port) as web:
        before = buffers_bytes(web)
        for _ in range(20):
            with Http(s.http_port) as other:
                other.send(head("PUT /kv/a HTTP/1.1", "Host: localhost",
                                "Content-Length: 400000000") + b"x" * size)
        eventually(lambda: buffers_bytes(web) <= before, "they are let go")
        assert web.get("/kv/a").status == 404


def test_pipeline(web):
    web.send(b"".join(b"PUT /kv/%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
                      b"GET /kv/%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
                      b"DELETE /kv/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % (i, i, i)
                      for i in range(200)))
    for _ in range(200):
        assert [web.read().status for _ in range(3)] == [201, 200, 204]


def test_expect_continue(web):
    web.send(head("PUT /kv/a HTTP/1.1", "Host: localhost", "Expect: 100-continue",
                  "Content-Length: 5"))
    while b"\r\n\r\n" not in web.pending:
        assert web._more()
    assert web.pending.startswith(b"HTTP/1.1 100 ")
    web.send(b"hello")
    assert web.read().status == 201


# --- ttl ---

@pytest.mark.parametrize("query, low, high", [
    ("ttl=100", 90000, 100000), ("ttl=1.5h", 5390000, 5400000), ("ttl_ms=100000", 90000, 100000),
    ("ttl=100.25", 90000, 100250), ("ttl=%31%300", 90000, 100000), ("&ttl=100&", 90000, 100000)])
def test_ttl(store, web, query, low, high):
    assert put(web, "/kv/a?" + query, b"v").status == 201
    assert low < store.command("PTTL", "a") <= high
    assert low < int(web.get("/kv/a")["Tarn-Ttl-Ms"]) <= high
    assert low < int(web.request("HEAD", "/kv/a")["Tarn-Ttl-Ms"]) <= high
    assert put(web, "/kv?key=a&" + query.strip("&"), b"w").status == 204
    assert low < store.command("PTTL", "a") <= high
    assert put(web, "/kv/a", b"w").status == 204
    assert store.command("PTTL", "a") == -1
    assert not web.get("/kv/a").all("Tarn-Ttl-Ms")


def test_ttl_ends(web):
    assert put(web, "/kv/a?ttl_ms=1", b"v").status == 201
    eventually(lambda: web.get("/kv/a").status == 404, "it expires")
    assert web.request("DELETE", "/kv/a").status == 404
    assert put(web, "/kv/a?ttl=0.0001", b"v").status == 201
    eventually(lambda: put(web, "/kv/a", b"v", "If-None-Match: *").status == 201, "it is gone")


@pytest.mark.parametrize("query", [
    "ttl=0", "ttl=-1", "ttl=", "ttl", "ttl=abc", "ttl=1e3", "ttl=+1", "ttl=%201", "ttl=inf",
    "ttl=1%00", "ttl=99999999999999999999", "ttl_ms=0", "ttl_ms=-5", "ttl_ms=1.5", "ttl_ms=1s",
    "ttl_ms=9223372036854775807", "ttl=%zz", "ttl=" + "1" * 200, "ttl=1&ttl=2", "ttl=1&ttl_ms=1",
    "TTL=5", "tll=5", "by=1", "x", "key=b"])
def test_bad_parameters(store, web, query):
    response = put(web, "/kv/a?" + query, b"v")
    assert response.status == 400 and response.error
    assert web.get("/kv/a").status == 404
    if query != "key=b":
        assert put(web, "/kv?key=a&" + query, b"v").status == 400
    if "ttl" in query:
        assert web.request("POST", "/mset?" + query, body=b'{"a":"1"}').status == 400
    assert store.command("DBSIZE") == 0


def test_parameters_within_the_key(store, web):
    """The key's own bytes are never taken for parameters."""
    assert put(web, "/kv?key=%26ttl%3D1%26ttl%3D1&ttl=100", b"v").status == 201
    assert store.command("PTTL", "&ttl=1&ttl=1") > 90000
    assert put(web, "/kv?ttl=100&key=%26ttl%3D1", b"v").status == 201
    assert store.command("PTTL", "&ttl=1") > 90000
    assert put(web, "/kv/a%3Fttl=1", b"v").status == 201
    assert store.command("PTTL", "a?ttl=1") == -1


# --- compare and set ---

SIZES = [10, 100000]


@pytest.mark.parametrize("size", SIZES)
def test_if_match(web, size):
    old, new = b"o" * size, b"n" * size
    put(web, "/kv/a", old)
    tag = tag_of(web, "/kv/a")
    for field in ('"x"', "W/" + tag, '"0000000000000000", "1"'):
        response = put(web, "/kv/a", new, "If-Match: " + field)
        assert response.status == 412 and "tag" in response.error
        assert web.request("DELETE", "/kv/a", "If-Match: " + field).status == 412
        assert web.get("/kv/a").body == old
    assert put(web, "/kv/a", new, 'If-Match: "x", ' + tag).status == 204
    assert put(web, "/kv/a", old, "If-Match: " + tag).status == 412
    assert web.request("DELETE", "/kv/a", "If-Match: " + tag_of(web, "/kv/a")).status == 204


@pytest.mark.parametrize("size", SIZES)
def test_if_match_in_several_fields_is_one_list(web, size):
    put(web, "/kv/a", b"o" * size)
    tag = tag_of(web, "/kv/a")
    assert put(web, "/kv/a", b"o" * size, 'If-Match: "x"', "If-Match: " + tag).status == 204
    assert put(web, "/kv/a", b"n", 'If-None-Match: "x"', "If-None-Match: " + tag).status == 412
    assert put(web, "/kv/a", b"n", 'If-None-Match: "x"', "If-None-Match: *").status == 412
    assert put(web, "/kv/a", b"n", *['If-None-Match: "x"'] * 16).status == 204
    assert put(web, "/kv/a", b"n", *['If-None-Match: "x"'] * 17).status == 400
    assert web.get("/kv/a", *['If-None-Match: "x"'] * 17).status == 400


def test_only_if_it_exists(web):
    response = put(web, "/kv/a", b"v", "If-Match: *")
    assert response.status == 412 and "no such key" in response.error
    assert web.get("/kv/a").status == 404
    put(web, "/kv/a", b"v")
    assert put(web, "/kv/a", b"w", "If-Match: *").status == 204
    assert web.request("DELETE", "/kv/a", "If-Match: *").status == 204
    assert web.request("DELETE", "/kv/a", "If-Match: *").status == 412


@pytest.mark.parametrize("size", SIZES)
def test_create_only(web, size):
    assert put(web, "/kv/a", b"v" * size, "If-None-Match: *").status == 201
    response = put(web, "/kv/a", b"w", "If-None-Match: *")
    assert response.status == 412 and "exists" in response.error
    assert web.get("/kv/a").body == b"v" * size


@pytest.mark.parametrize("size", SIZES)
def test_if_none_match_of_a_tag(web, size):
    put(web, "/kv/a", b"v" * size)
    tag = tag_of(web, "/kv/a")
    assert put(web, "/kv/a", b"w", "If-None-Match: W/" + tag).status == 412
    assert put(web, "/kv/a", b"w", 'If-None-Match: "x"').status == 204
    assert put(web, "/kv/b", b"w", 'If-None-Match: "x"').status == 201
    assert put(web, "/kv/b", b"x", "If-Match: *", "If-None-Match: " + tag_of(web, "/kv/b")
               ).status == 412


@pytest.mark.parametrize("field", ["x", "", '"x', 'W/', '"x" y', '*, "x"', "'x'", "W/x", ","])
@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
def test_malformed_conditions_write_nothing(web, name, field):
    put(web, "/kv/a", b"v")
    for method in ("PUT", "POST", "DELETE"):
        response = web.request(method, "/kv/a", "%s: %s" % (name, field), body=b"w")
        assert response.status == 400 and "If-Match" in response.error
    assert web.get("/kv/a").body == b"v"


def test_expired_key_does_not_exist(web):
    put(web, "/kv/a?ttl_ms=1", b"v")
    eventually(lambda: put(web, "/kv/a?ttl_ms=1", b"w", "If-Match: *").status == 412,
               "it expires")
    assert put(web, "/kv/a", b"w", "If-None-Match: *").status == 201


@pytest.mark.parametrize("padding", [0, 60000])
def test_no_update_is_lost(store, padding):
    """Several threads read a counter and put it back one higher, if nobody did so meanwhile; with
    values large enough, too, for the tag to be computed before the lock is taken."""
    threads_count, rounds = 4, 50 if padding else 150
    failures = []
    with Http(store.http_port) as web:
        put(web, "/kv/n", b"0" + b" " * padding)

    def count():
        try:
            connection = http.client.HTTPConnection("localhost", store.http_port, timeout=TIMEOUT)
            done = 0
            while done < rounds:
                connection.request("GET", "/kv/n")
                response = connection.getresponse()
                value = int(response.read())
                connection.request("PUT", "/kv/n", body=b"%d" % (value + 1) + b" " * padding,
                                   headers={"If-Match": response.headers["ETag"]})
                answer = connection.getresponse()
                answer.read()
                assert answer.status in (204, 412), answer.status
                done += answer.status == 204
        except Exception as e:  # told by the main thread
            failures.append(e)
    threads = [threading.Thread(target=count) for _ in range(threads_count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(TIMEOUT)
    assert not failures
    assert int(store.command("GET", "n")) == threads_count * rounds


def test_only_one_creates(store):
    """Of many that create a key at once, one does."""
    for i in range(30):
        connections = [Http(store.http_port) for _ in range(8)]
        for c in connections:
            c.send(head("PUT /kv/%d HTTP/1.1" % i, "Host: localhost", "If-None-Match: *",
                        "Content-Length: 1") + b"x")
        assert sorted(c.read().status for c in connections) == [201] + [412] * 7
        for c in connections:
            c.socket.close()


# --- /incr ---

def test_incr(store, web):
    response = web.request("POST", "/incr/n")
    assert (response.status, response.body) == (200, b"1")
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert web.request("POST", "/incr/n?by=41").body == b"42"
    assert web.request("POST", "/incr?key=n&by=-50").body == b"-8"
    assert store.command("GET", "n") == b"-8"
    store.command("PEXPIRE", "n", "100000")
    assert web.request("POST", "/incr/n").body == b"-7"
    assert store.command("PTTL", "n") > 0


@pytest.mark.parametrize("by", ["", "x", "1.5", "+1", "01", "9223372036854775808", "1&by=2"])
def test_incr_by_no_integer(web, by):
    response = web.request("POST", "/incr/n?by=" + by)
    assert response.status == 400 and "by" in response.error
    assert web.get("/kv/n").status == 404


def test_incr_conflicts(store, web):
    store.command("SET", "n", "x")
    response = web.request("POST", "/incr/n")
    assert response.status == 409
    assert response.error == "value is not an integer or out of range"
    store.command("SET", "n", "9223372036854775807")
    response = web.request("POST", "/incr/n")
    assert response.status == 409 and response.error == "increment or decrement would overflow"
    assert store.command("GET", "n") == b"9223372036854775807"
    assert web.request("POST", "/incr/n?by=-9223372036854775808").body == b"-1"


def test_incr_by_many(store):
    connections = [Http(store.http_port) for _ in range(4)]
    for _ in range(100):
        for c in connections:
            c.send(head("POST /incr/n HTTP/1.1", "Host: localhost", "Content-Length: 0"))
    values = [int(c.read().body) for c in connections for _ in range(100)]
    assert sorted(values) == list(range(1, 401))
    for c in connections:
        c.socket.close()


# --- /mset ---

def mset(web, body, query=""):
    return web.request("POST", "/mset" + query,
                       body=body if isinstance(body, bytes) else json.dumps(body).encode())


def test_mset(store, web):
    assert mset(web, {"a": "1", "schlüssel 🔑": "wert\0", "": "empty"}).status == 204
    assert store.command("MGET", "a", "schlüssel 🔑", "") == [b"1", b"wert\0", b"empty"]
    raw = bytes(range(256))
    encoded = {"base64": base64.b64encode(raw).decode()}
    assert mset(web, {"raw": encoded, "a": ""}).status == 204
    assert store.command("MGET", "raw", "a") == [raw, b""]
    assert mset(web, [["x", "1"], [encoded, encoded], ["x", "2"]]).status == 204
    assert store.command("MGET", "x", raw) == [b"2", raw]
    assert mset(web, b' {"a" : "b" , "c":{ "base64" : "AA==" } } ').status == 204
    assert store.command("MGET", "a", "c") == [b"b", b"\0"]
    assert mset(web, {}).status == mset(web, []).status == 204


def test_mset_takes_what_mget_gives(store, web):
    values = {"a": b"1", "b": bytes(range(256)), "c": "ü".encode()}
    for key, value in values.items():
        store.command("SET", key, value)
    body = web.request("POST", "/mget", body=json.dumps(list(values)).encode()).body
    store.command("FLUSHALL")
    assert mset(web, body).status == 204
    assert {k: store.command("GET", k) for k in values} == values


def test_mset_ttl(store, web):
    assert mset(web, {"a": "1", "b": "2"}, "?ttl=100").status == 204
    assert 90000 < store.command("PTTL", "a") <= 100000
    assert mset(web, [["a", "1"], ["b", "2", 50], ["c", "3", 1.5]], "?ttl_ms=100000").status == 204
    assert 90000 < store.command("PTTL", "a") <= 100000
    assert 40000 < store.command("PTTL", "b") <= 50000
    assert store.command("PTTL", "c") <= 1500
    assert mset(web, [["a", "1"]]).status == 204
    assert store.command("PTTL", "a") == -1


@pytest.mark.parametrize("body, place", [
    (b"", 0), (b"null", 0), (b'"a"', 0), (b"{", 1), (b'{"a"}', 4), (b'{"a":}', 5),
    (b'{"a":1}', 5), (b'{"a":null}', 5), (b'{"a":"b"', 8), (b'{"a":"b",}', 9), (b'{"a":"b"]', 8),
    (b'{"a":"b"}x', 9), (b'{1:"b"}', 1), (b'{"a":{"base65":"AA=="}}', 5),
    (b'{"a":{"base64":"A"}}', 15), (b'{"a":{"base64":"AA=="', 5), (b'{"a":["b"]}', 5),
    (b'[["a"]]', 5), (b'[["a","b"', 9), (b'[["a","b",]]', 10), (b'[["a","b",0]]', 10),
    (b'[["a","b",-1]]', 10), (b'[["a","b",1,2]]', 11), (b'[["a","b","1"]]', 10), (b'["a","b"]', 1),
    (b'[{"key":"a"}]', 1), (b"[[[[[[", 2), (b'{"\xff":"a"}', 1), (b'{"a":"\xff"}', 5)])
def test_mset_bad_json(store, web, body, place):
    response = mset(web, body)
    assert response.status == 400 and response.error.endswith("at byte %d" % place), response.body
    assert store.command("DBSIZE") == 0


def test_mset_bounds(store, web):
    assert mset(web, {"%d" % i: "" for i in range(65536)}).status == 204
    response = mset(web, {"%d" % i: "" for i in range(65537)})
    assert response.status == 413 and "65536" in response.error
    assert mset(web, {"k" * 65535: "v", "a": "b"}).status == 204
    response = mset(web, {"b": "1", "k" * 65536: "v"})
    assert response.status == 413 and "limit" in response.error
    assert store.command("GET", "b") is None  # nothing of it was stored
    response = web.request("POST", "/mset", "Content-Length: %d" % ((64 << 20) + 1), body=b"")
    assert response.status == 413


def test_mset_is_one_step(store):
    """Readers see all of it or nothing."""
    stop = threading.Event()
    torn = []

    def read():
        with store.connect() as client:
            while not stop.is_set():
                values = client.command("MGET", 0, 1999)  # stored first and last
                if len(set(values)) != 1:
                    torn.append(values)
    reader = threading.Thread(target=read)
    with Http(store.http_port) as web:
        mset(web, {str(i): "0" for i in range(2000)})
        reader.start()
        for n in range(200):
            mset(web, {str(i): str(n) for i in range(2000)})
    stop.set()
    reader.join(TIMEOUT)
    assert not torn


# --- limits ---

def test_request_limit(server):
    s = server(None, "--request-limit", "128K")
    with Http(s.http_port) as web:
        assert put(web, "/kv/a", b"x" * 131072).status == 201
        response = put(web, "/kv/a", b"x" * 131073)
        assert response.status == 413 and "body" in response.error
        web.send(head("PUT /kv/a HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked"))
        for _ in range(3):
            web.send(b"c800\r\n" + b"y" * 0xc800 + b"\r\n")
        web.send(b"0\r\n\r\n")
        assert web.read().status == 413
        assert web.get("/kv/a").body == b"x" * 131072


def test_larger_than_any_value(web):
    response = web.request("PUT", "/kv/a", "Content-Length: %d" % ((512 << 20) + 1))
    assert response.status == 413 and "body" in response.error
    assert web.at_end()


def test_large_values(store, web):
    """More than /mget's bodies may have; memory of the bodies is let go."""
    value = os.urandom(40 << 20)
    assert put(web, "/kv/a", value).status == 201
    assert web.get("/kv/a").body == value
    assert store.command("STRLEN", "a") == len(value)
    eventually(lambda: buffers_bytes(web) < 1 << 20, "the body is let go")


def test_memory_full(server):
    """507, the reason, and nothing changed; reading and deleting go on, and make room."""
    s = server(None, "--memory", "64M")
    with Http(s.http_port) as web:
        put(web, "/kv/small", b"old")
        n = 0
        while put(web, "/kv/%d" % n, b"x" * 400000).status == 201:
            n += 1
        assert 10 < n < 170
        for size in (400000, 900000):
            response = put(web, "/kv/small", b"y" * size)
            assert response.status == 507 and "memory" in response.error
        with Http(s.http_port) as other:
            response = other.request("PUT", "/kv/small", "Expect: 100-continue",
                                     "Content-Length: 60000000")
            assert response.status == 507 and other.at_end()
        response = mset(web, [["small", "new"], ["b", "x" * 400000]])
        assert response.status == 507
        assert web.get("/kv/b").status == 404
        assert web.get("/kv/small").body == b"old"
        assert web.get("/kv/0").body == b"x" * 400000
        for i in range(n):
            assert web.request("DELETE", "/kv/%d" % i).status == 204
        eventually(lambda: put(web, "/kv/a", b"x" * 400000).status in (201, 204), "there is room")


def test_body_that_does_not_fit_in_memory(server):
    """While it arrives: the rest is taken and dropped, then 507 on a connection that goes on."""
    s = server(None, "--memory", "64M")
    with Http(s.http_port) as web:
        web.send(head("PUT /kv/a HTTP/1.1", "Host: localhost", "Content-Length: %d" % (24 << 20))
                 + b"a" * (4 << 20))
        with Http(s.http_port) as other:  # meanwhile another takes the room
            n = 0
            while put(other, "/kv/%d" % n, b"x" * 400000).status == 201:
                n += 1
            web.send(b"a" * (20 << 20))
            response = web.read()
            assert response.status == 507 and "memory" in response.error
            assert web.get("/kv/a").status == 404
            assert web.get("/kv/0").status == 200


def test_eviction_makes_room(server):
    s = server(None, "--memory", "64M", "--max-memory-policy", "allkeys-random")
    with Http(s.http_port) as web:
        for n in range(400):
            assert put(web, "/kv/%d" % n, b"x" * 400000).status == 201
        assert s.command("DBSIZE") < 160
        assert mset(web, {"a": "x" * 200000, "b": "y" * 200000}).status == 204
        assert put(web, "/kv/big", b"z" * (4 << 20)).status == 201
        assert web.get("/kv/big").body == b"z" * (4 << 20)


def test_paused_clients_do_not_write(store, web):
    put(web, "/kv/a", b"old")
    assert store.command("CLIENT", "PAUSE", "100000", "WRITE") == b"OK"
    for method, target in (("PUT", "/kv/a"), ("DELETE", "/kv/a"), ("POST", "/mset"),
                           ("POST", "/incr/n")):
        response = web.request(method, target, body=b'{"a":"new"}')
        assert response.status == 503 and "paused" in response.error
        assert response["Retry-After"] == "1"
    assert web.get("/kv/a").body == b"old"
    assert store.command("CLIENT", "UNPAUSE") == b"OK"
    assert put(web, "/kv/a", b"new").status == 204


# --- methods, immutable data, passwords, web pages ---

@pytest.mark.parametrize("method, target, allow", [
    ("PATCH", "/kv/a", "GET, HEAD, POST, PUT, DELETE"), ("GET", "/mset", "POST"),
    ("OPTIONS", "/kv?key=a", "GET, HEAD, POST, PUT, DELETE"), ("PUT", "/incr/a", "POST"),
    ("GET", "/incr/a", "POST"), ("DELETE", "/mget", "POST"), ("put", "/kv/a",
                                                              "GET, HEAD, POST, PUT, DELETE")])
def test_method_not_allowed(web, method, target, allow):
    response = web.request(method, target)
    assert response.status == 405 and response["Allow"] == allow


def test_immutable(text_server):
    with Http(text_server.http_port) as web:
        for method, target in (("POST", "/mset"), ("POST", "/incr/a"), ("POST", "/incr?key=a")):
            response = web.request(method, target, body=b"{}")
            assert response.status == 403 and "immutable" in response.error
            assert not response.all("Allow")


def test_password(server):
    s = server(None, "--password", "pw")
    with Http(s.http_port) as web:
        for method, target in (("PUT", "/kv/a"), ("POST", "/kv/a"), ("DELETE", "/kv/a"),
                               ("POST", "/mset"), ("POST", "/incr/a")):
            assert web.request(method, target, body=b"{}").status == 401
        assert put(web, "/kv/a", b"v", "Authorization: Bearer pw").status == 201


@pytest.mark.parametrize("origin", ["null", "http://evil.example", "http://localhost:1", "", "localhost",
                                    "http://localhost.evil.example", "https://evil.example"])
def test_foreign_pages_may_not_write(web, origin):
    """A page elsewhere can make a browser send POST here without asking; never without Origin."""
    for method, target in (("POST", "/kv/a"), ("PUT", "/kv/a"), ("POST", "/incr/a"),
                           ("POST", "/mset"), ("DELETE", "/kv/a")):
        response = web.request(method, target, "Origin: " + origin, body=b'{"a":"1"}')
        assert response.status == 403 and "Origin" in response.error
    assert web.get("/kv/a", "Origin: " + origin).status == 404


def test_own_pages_may_write(web):
    assert put(web, "/kv/a", b"v", "Origin: http://localhost").status == 201
    assert put(web, "/kv/a", b"v", "Host: localhost:99", "Origin: HTTP://LocalHost:99").status == 204
    assert put(web, "/kv/a", b"v", "Origin: http://localhost",
               "Origin: http://localhost").status == 403


def test_a_part_of_a_value_cannot_be_put(web):
    response = put(web, "/kv/a", b"v", "Content-Range: bytes 0-0/10")
    assert response.status == 400 and "Content-Range" in response.error
    assert web.get("/kv/a").status == 404


@pytest.mark.parametrize("data", [
    head("PUT /kv/a HTTP/1.1", "Host: localhost", "Content-Length: 4",
         "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    head("PUT /kv/a HTTP/1.1", "Host: localhost", "Content-Length: 1", "Content-Length: 1") + b"x",
    head("PUT /kv/a HTTP/1.1", "Host: localhost", "Content-Length : 1") + b"x",
    head("DELETE /kv/b HTTP/1.1", "Host: localhost", "X: y", " If-Match: z"),
    head("PUT /kv/a b HTTP/1.1", "Host: localhost", "Content-Length: 1") + b"x",
    head("DELETE /kv/b HTTP/1.1", "Host: localhost", "If-Match: \0"),
    head("PUT /kv/a HTTP/1.0", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
])
def test_doubtful_framing(store, data):
    store.command("SET", "b", "v")
    with Http(store.http_port) as web:
        web.send(data + head("PUT /kv/smuggled HTTP/1.1", "Host: localhost", "Content-Length: 0"))
        assert web.read().status == 400
        assert web.at_end()
    assert store.command("DBSIZE") == 1


# --- with the clients that people have ---

def test_curl(store, tmp_path):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    value = tmp_path / "value"
    value.write_bytes(os.urandom(2000000))

    def curl(*args):
        done = subprocess.run(["curl", "-sS", "-o", str(tmp_path / "out"), "-w", "%{http_code}"]
                              + list(args), stdout=subprocess.PIPE, timeout=TIMEOUT)
        assert done.returncode == 0
        return int(done.stdout), (tmp_path / "out").read_bytes()
    url = store.http_url + "/kv/file"
    assert curl("-T", str(value), url)[0] == 201
    assert curl(url) == (200, value.read_bytes())
    assert curl("--data-binary", "@" + str(value), url)[0] == 204
    assert curl("-X", "PUT", "-d", "v", "-H", "If-None-Match: *", url)[0] == 412
    assert curl("-X", "PUT", "-d", "v", url + "?ttl=60")[0] == 204
    assert curl("-X", "POST", store.http_url + "/incr/hits?by=2") == (200, b"2")
    assert curl("-d", '{"a":"1"}', store.http_url + "/mset")[0] == 204
    assert curl("-X", "DELETE", url)[0] == 204
    assert curl("-X", "DELETE", url)[0] == 404


def test_clients_that_come_and_go(store):
    """Bodies half sent by many are counted, and let go with their connections."""
    with Http(store.http_port) as web:
        connections = [Http(store.http_port) for _ in range(20)]
        for c in connections:
            c.send(head("PUT /kv/a HTTP/1.1", "Host: localhost", "Content-Length: 400000000")
                   + b"x" * 200000)
        eventually(lambda: buffers_bytes(web) > 20 * 200000, "what has come is counted")
        assert buffers_bytes(web) < 20 * 250000
        for c in connections:
            c.socket.close()
        eventually(lambda: buffers_bytes(web) < 1000000, "and let go")
        assert web.get("/kv/a").status == 404
