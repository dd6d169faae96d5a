"""The HTTP interface of doc/http.md, spoken over plain sockets so that every byte is ours: values,
conditions, ranges, /mget, statistics, passwords, Host, framing attacks, slow and many clients."""
import base64
import json
import os
import re
import select
import socket
import threading
import urllib.parse

import pytest

import datasets
from conftest import TIMEOUT, eventually, raise_file_limit, sanitized

pytestmark = pytest.mark.threads


class Response:
    def __init__(self, status, fields, body, version):
        self.status, self.fields, self.body, self.version = status, fields, body, version

    def __getitem__(self, name):
        """The one value of a field."""
        values = self.all(name)
        assert len(values) == 1, "%s: %r" % (name, values)
        return values[0]

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def json(self):
        assert self["Content-Type"] == "application/json"
        return json.loads(self.body.decode("utf-8"))

    @property
    def error(self):
        document = self.json()
        assert list(document) == ["error"] and document["error"]
        return document["error"]


class Http:
    """One connection. send() raw bytes or request(); read() one response."""

    def __init__(self, port, address="127.0.0.1"):
        self.socket = socket.create_connection((address, port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(1 << 20)
        self.pending += data
        return len(data) > 0

    def read(self, head=False):
        """One response; head: to a HEAD request, so without a body. None at the end."""
        while b"\r\n\r\n" not in self.pending:
            if not self._more():
                assert self.pending == b"", "end within a response: %r" % self.pending
                return None
        text, self.pending = self.pending.split(b"\r\n\r\n", 1)
        lines = text.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"(HTTP/1\.[01]) ([0-9]{3}) .+", lines[0])
        assert match, lines[0]
        fields = []
        for line in lines[1:]:
            name, value = line.split(": ", 1)
            assert re.fullmatch(r"[!-9;-~]+", name)
            fields.append((name, value))
        response = Response(int(match[2]), fields, b"", match[1])
        if response.status == 100:
            return self.read(head)
        if not head and response.status not in (204, 304):
            size = int(response["Content-Length"])
            while len(self.pending) < size:
                assert self._more(), "end within a body"
            response.body, self.pending = self.pending[:size], self.pending[size:]
        return response

    def at_end(self):
        """True if the server closes without sending anything more."""
        try:
            return self.pending == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return self.pending == b""

    def request(self, method, target, *fields, body=None, version="1.1"):
        lines = ["%s %s HTTP/%s" % (method, target, version)]
        names = [f.split(":")[0].lower() for f in fields]
        if "host" not in names and version == "1.1":
            lines.append("Host: localhost")
        lines += fields
        if body is not None and "content-length" not in names:
            lines.append("Content-Length: %d" % len(body))
        self.send("\r\n".join(lines + ["", ""]).encode("latin-1") + (body or b""))
        return self.read(head=method == "HEAD")

    def get(self, target, *fields):
        return self.request("GET", target, *fields)


def quote(key):
    return "/kv/" + urllib.parse.quote_from_bytes(key, safe="")


@pytest.fixture
def http(binary_server):
    with Http(binary_server.http_port) as connection:
        yield connection


@pytest.fixture
def raw(binary_server):
    """raw(bytes) -> the responses until the server closes or has answered all it understood."""
    def run(data, count=1):
        with Http(binary_server.http_port) as connection:
            connection.send(data)
            responses = [connection.read() for _ in range(count)]
            return responses, connection.at_end()
    return run


def fits_url(key):
    return len(quote(key)) < 12000


# --- values ---

def test_every_record(http, binary_data):
    """All keys, whatever bytes: also those with NUL, '/', '%' and '+'."""
    for key, value in binary_data.answers.items():
        if fits_url(key):
            response = http.get(quote(key))
            assert (response.status, response.body) == (200, value), key


def test_every_byte_escaped(http, binary_data):
    key = bytes(range(256))
    assert http.get("/kv/" + "".join("%%%02X" % b for b in key)).body == binary_data[key]
    assert http.get("/kv/" + "".join("%%%02x" % b for b in key)).body == binary_data[key]


def test_key_as_parameter(http, binary_data):
    for key in (b"", b"key with spaces", b"nul\0in\0key", b"+plus+", b"a/b/../c?d=e&f=g#h",
                b"\xff\xfe\x80", b"percent%2Fencoded%00"):
        response = http.get("/kv?key=" + urllib.parse.quote_plus(key))
        assert (response.status, response.body) == (200, binary_data[key]), key
        response = http.get("/kv?x=1&key=%s&y" % urllib.parse.quote(key, safe=""))
        assert (response.status, response.body) == (200, binary_data[key]), key


def test_plus_is_plus_in_a_path_and_space_in_a_query(http, binary_data):
    assert http.get("/kv/+plus+").body == binary_data[b"+plus+"]
    assert http.get("/kv?key=key+with+spaces").body == binary_data[b"key with spaces"]
    assert http.get("/kv/key+with+spaces").status == 404


def test_escapes_are_decoded_once(http, binary_data):
    assert http.get("/kv/percent%252Fencoded%2500").body == binary_data[b"percent%2Fencoded%00"]


def test_empty_key(http, binary_data):
    assert http.get("/kv/").body == binary_data[b""]
    assert http.get("/kv?key=").body == binary_data[b""]


def test_missing_key(http):
    assert http.get("/kv/no-such-key").status == 404
    assert http.get("/kv/no-such-key").error == "no such key"
    assert http.get("/kv?key=no-such-key").status == 404


@pytest.mark.parametrize("target", ["/kv/%", "/kv/%4", "/kv/a%GG", "/kv?key=%zz", "/kv?key=%0"])
def test_bad_escape(http, target):
    response = http.get(target)
    assert response.status == 400 and "percent" in response.error
    assert http.get("/healthz").status == 200  # the connection goes on


@pytest.mark.parametrize("target", ["/kv", "/kv?", "/kv?key", "/kv?keys=a", "/kv?key=a&key=b"])
def test_bad_parameter(http, target):
    response = http.get(target)
    assert response.status == 400 and "key" in response.error


def test_fields_of_a_value(http):
    response = http.get(quote(b"number"))
    assert response.version == "HTTP/1.1"
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Length"] == "10"
    assert response["Accept-Ranges"] == "bytes"
    assert re.fullmatch(r'"[0-9a-f]{16}"', response["ETag"])
    assert response["Cache-Control"] == "no-cache"


def test_empty_value(http):
    response = http.get(quote(b"empty-value"))
    assert (response.status, response["Content-Length"], response.body) == (200, "0", b"")


def test_large_values_and_their_neighbours(http, binary_data):
    """Those sent from the store itself, between small ones on one connection."""
    for key in (b"big:20k", b"number", b"big:10m", b"big:1m", b"empty-value", b"big:10m"):
        assert http.get(quote(key)).body == binary_data[key]


def test_head(http, binary_data):
    for key in (b"number", b"big:1m", b"empty-value"):
        of_get, of_head = http.get(quote(key)), http.request("HEAD", quote(key))
        assert of_head.status == 200 and of_head.body == b""
        assert [f for f in of_head.fields if f[0] != "Date"] == \
            [f for f in of_get.fields if f[0] != "Date"]
        assert int(of_head["Content-Length"]) == len(binary_data[key])
    assert http.request("HEAD", "/kv/no-such-key").status == 404
    assert http.request("HEAD", "/healthz").status == 200
    assert http.get(quote(b"number")).body == b"1234567890"


# --- conditions ---

def test_if_none_match(http):
    tag = http.get(quote(b"number"))["ETag"]
    for field in (tag, "W/" + tag, "*", '"x", %s' % tag, '"x",W/%s , "y"' % tag):
        response = http.get(quote(b"number"), "If-None-Match: " + field)
        assert response.status == 304, field
        assert response["ETag"] == tag
        assert http.request("HEAD", quote(b"number"), "If-None-Match: " + field).status == 304
    for field in ('"x"', tag.strip('"'), tag[:-1], ""):
        response = http.get(quote(b"number"), "If-None-Match: " + field)
        assert (response.status, response.body) == (200, b"1234567890"), field
    assert http.get("/kv/no-such-key", "If-None-Match: *").status == 404


def test_if_match(http):
    tag = http.get(quote(b"number"))["ETag"]
    assert http.get(quote(b"number"), "If-Match: " + tag).status == 200
    assert http.get(quote(b"number"), "If-Match: *").status == 200
    for field in ("W/" + tag, '"x"'):
        response = http.get(quote(b"number"), "If-Match: " + field)
        assert response.status == 412 and "tag" in response.error


def test_tag_depends_on_the_value_alone(http, server, data_file):
    data = data_file("binary", [(b"other", b"1234567890"), (b"another", b"1234567891")])
    with Http(server(data).http_port) as second:
        assert second.get("/kv/other")["ETag"] == http.get(quote(b"number"))["ETag"]
        assert second.get("/kv/another")["ETag"] != http.get(quote(b"number"))["ETag"]


# --- ranges ---

@pytest.mark.parametrize("field, first, last", [
    ("bytes=0-0", 0, 0), ("bytes=2-4", 2, 4), ("bytes=7-", 7, 9), ("bytes=-3", 7, 9),
    ("bytes=-99", 0, 9), ("bytes=5-99", 5, 9), ("Bytes=0-9", 0, 9),
    ("bytes=0-99999999999999999999999", 0, 9)])
def test_range(http, field, first, last):
    response = http.get(quote(b"number"), "Range: " + field)
    assert (response.status, response.body) == (206, b"1234567890"[first:last + 1])
    assert response["Content-Range"] == "bytes %d-%d/10" % (first, last)
    assert response["ETag"] == http.get(quote(b"number"))["ETag"]


@pytest.mark.parametrize("field", ["bytes=10-", "bytes=10-12", "bytes=-0",
                                   "bytes=99999999999999999999999-"])
def test_range_outside(http, field):
    response = http.get(quote(b"number"), "Range: " + field)
    assert response.status == 416 and "range" in response.error
    assert response["Content-Range"] == "bytes */10"


@pytest.mark.parametrize("field", ["bytes=4-2", "bytes=0-1,3-4", "bytes=", "bytes=a-b", "lines=1-2",
                                   "bytes 0-1", ""])
def test_range_ignored(http, field):
    response = http.get(quote(b"number"), "Range: " + field)
    assert (response.status, response.body) == (200, b"1234567890")
    assert not response.all("Content-Range")


def test_range_of_an_empty_value(http):
    response = http.get(quote(b"empty-value"), "Range: bytes=0-")
    assert response.status == 416 and response["Content-Range"] == "bytes */0"


def test_range_of_a_large_value(http, binary_data):
    value = binary_data[b"big:10m"]
    response = http.get(quote(b"big:10m"), "Range: bytes=5000000-5999999")
    assert response.status == 206 and response.body == value[5000000:6000000]
    response = http.get(quote(b"big:10m"), "Range: bytes=-1")
    assert response.status == 206 and response.body == value[-1:]
    assert http.get(quote(b"big:10m"), "Range: bytes=99999999-").status == 416


def test_range_is_for_get_only(http):
    response = http.request("HEAD", quote(b"number"), "Range: bytes=0-1")
    assert (response.status, response["Content-Length"]) == (200, "10")


def test_if_range(http):
    tag = http.get(quote(b"number"))["ETag"]
    assert http.get(quote(b"number"), "Range: bytes=0-1", "If-Range: " + tag).status == 206
    for field in ("W/" + tag, '"x"', "Sat, 21 Nov 2026 03:59:02 GMT"):
        response = http.get(quote(b"number"), "Range: bytes=0-1", "If-Range: " + field)
        assert (response.status, response.body) == (200, b"1234567890"), field


# --- /mget ---

def mget(http, keys, **options):
    return http.request("POST", "/mget", body=json.dumps(keys, **options).encode())


def test_mget(http, binary_data):
    keys = ["number", "no-such-key", "", "empty-value", "schlüssel-日本語-🔑", "nul\0in\0key",
            "key\nwith\r\nnewlines", "number", "big:20k", "k" * 65535, "k" * 65536]
    expected = {k: binary_data.answers.get(k.encode()) for k in keys}
    expected = {k: v if v is None else v.decode() for k, v in expected.items()}
    for ascii_only in (True, False):
        response = mget(http, keys, ensure_ascii=ascii_only)
        assert response.status == 200
        assert response.json() == expected
    pairs = json.loads(response.body, object_pairs_hook=lambda pairs: pairs)
    assert [name for name, _ in pairs] == list(dict.fromkeys(keys))  # in order, each once


def test_mget_values_that_are_not_text(http, binary_data):
    for key in ("all bytes", "percent%2Fencoded%00", "value-with-nul"):
        value = binary_data[key.encode()]
        got = mget(http, [key]).json()[key]
        if isinstance(got, dict):
            assert list(got) == ["base64"] and base64.b64decode(got["base64"]) == value
        else:
            assert got.encode() == value
    assert isinstance(mget(http, ["all bytes"]).json()["all bytes"], dict)


def test_mget_empty(http):
    assert mget(http, []).json() == {}


def test_mget_of_10000_keys(http, binary_data):
    keys = [datasets.uuid_key(i).decode() for i in range(10000)]  # 5000 of them exist
    got = mget(http, keys).json()
    assert len(got) == 10000
    for key in keys:
        value = binary_data.answers.get(key.encode())
        assert got[key] == (value.decode() if value is not None else None)


@pytest.mark.parametrize("body, place", [
    (b"", 0), (b"{}", 0), (b"[1]", 1), (b'["a"', 4), (b'["a",]', 5), (b'["a"] x', 6),
    (b'["\xff"]', 1), (b'["\\ud800"]', 2), (b"[[[[[[", 1), (b'"a"', 0)])
def test_mget_bad_json(http, body, place):
    response = http.request("POST", "/mget", body=body)
    assert response.status == 400 and response.error.endswith("at byte %d" % place)
    assert http.get("/healthz").status == 200


def test_mget_too_many_keys(http):
    assert mget(http, ["a"] * 65536).status == 200
    response = mget(http, ["a"] * 65537)
    assert response.status == 413 and "65536 keys" in response.error


def test_mget_body_too_large(http, binary_server):
    response = http.request("POST", "/mget", "Content-Length: %d" % (17 << 20), body=b"")
    assert response.status == 413 and "body" in response.error
    assert http.at_end()  # the body was not read: nothing after it can be told apart
    with Http(binary_server.http_port) as other:
        other.send(b"POST /mget HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                   b"18446744073709551615\r\n\r\n")
        assert other.read().status == 413


def test_mget_reply_too_large(server, data_file):
    data = data_file("binary", [(b"k%d" % i, b"v" * 50000) for i in range(10)])
    with Http(server(data, "--output-limit", "100K").http_port) as http:
        assert mget(http, ["k1"]).status == 200
        response = mget(http, ["k%d" % i for i in range(10)])
        assert response.status == 413 and "fewer" in response.error
        assert mget(http, ["k2"]).status == 200


def test_mget_in_pieces_and_chunks(http, binary_server):
    body = b'["number","none"]'
    expected = {"number": "1234567890", "none": None}
    head = b"POST /mget HTTP/1.1\r\nHost: localhost\r\n"
    for i in range(0, len(head)):
        http.send(head[i:i + 1])
    http.send(b"Content-Length: %d\r\n\r\n" % len(body))
    for i in range(0, len(body)):
        http.send(body[i:i + 1])
    assert http.read().json() == expected
    http.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
    for i in range(0, len(body), 5):
        http.send(b"%x;ext=1\r\n%s\r\n" % (len(body[i:i + 5]), body[i:i + 5]))
    http.send(b"0\r\nTrailer: x\r\n\r\n")
    assert http.read().json() == expected
    assert http.get("/healthz").status == 200


def test_expect_continue(http):
    http.send(b"POST /mget HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
              b"Content-Length: 10\r\n\r\n")
    while b"\r\n\r\n" not in http.pending:
        assert http._more()
    assert http.pending.startswith(b"HTTP/1.1 100 ")
    http.send(b'["number"]')
    assert http.read().json() == {"number": "1234567890"}


# --- statistics ---

def test_healthz(http):
    response = http.get("/healthz")
    assert (response.status, response.body) == (200, b"ok\n")


def test_stats(http, binary_data, binary_server):
    stats = http.get("/stats").json()
    assert stats["keyspace"]["db0"]["keys"] == len(binary_data)
    assert stats["tarn"]["tarn_keys"] == len(binary_data)
    assert stats["tarn"]["tarn_data_bytes"] == os.path.getsize(binary_data.path)
    assert stats["tarn"]["tarn_data_file"] == binary_data.path
    assert stats["server"]["process_id"] == binary_server.process.pid
    assert stats["server"]["tcp_port"] == binary_server.port
    assert stats["server"]["tarn_http_port"] == binary_server.http_port
    assert stats["clients"]["tarn_http_connections"] >= 1
    binary_server.command("GET", "number")
    assert http.get("/stats").json()["commandstats"]["get"]["calls"] >= 1


def test_stats_count(server, data_file):
    data = data_file("text", [(b"a", b"1")])
    with Http(server(data).http_port) as http:
        http.get("/kv/a")
        http.get("/kv/b")
        mget(http, ["a", "a", "b", "c", "d"])
        stats = http.get("/stats").json()["stats"]
        assert stats["keyspace_hits"] == 3
        assert stats["keyspace_misses"] == 4
        assert stats["tarn_http_requests"] == 4


def parse_prometheus(text):
    """Strictly, the text format 0.0.4: {name: (type, [(labels, value)])}."""
    families, name, seen = {}, None, set()
    assert text.endswith("\n") and "\n\n" not in text
    for line in text[:-1].split("\n"):
        match = re.fullmatch(r"# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (\S.*)", line)
        if match:
            name = match[1]
            assert name not in families, "HELP twice: " + name
            families[name] = [None, []]
            continue
        match = re.fullmatch(r"# TYPE (\S+) (counter|gauge|histogram|summary|untyped)", line)
        if match:
            assert match[1] == name and families[name] == [None, []], "TYPE out of place: " + line
            families[name][0] = match[2]
            continue
        match = re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)", line)
        assert match, "malformed: " + line
        kind = families[name][0]
        suffixes = ["_bucket", "_sum", "_count"] if kind == "histogram" else [""]
        assert match[1] in [name + s for s in suffixes], "sample outside its family: " + line
        labels, rest = {}, match[2] or ""
        while rest:
            label = re.match(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)', rest)
            assert label and label[1] not in labels, "labels: " + line
            labels[label[1]] = label[2]
            rest = rest[label.end():]
        assert (match[1], tuple(sorted(labels.items()))) not in seen, "twice: " + line
        seen.add((match[1], tuple(sorted(labels.items()))))
        value = float(match[3])
        assert kind is not None and (kind == "gauge" or value >= 0)
        families[name][1].append((match[1], labels, value))
    for name, (kind, samples) in families.items():
        assert (kind == "counter") == name.endswith("_total"), name
        if kind == "histogram":
            check_histogram(name, samples)
    return families


def check_histogram(name, samples):
    series = {}
    for sample, labels, value in samples:
        rest = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        series.setdefault(rest, []).append((sample, labels.get("le"), value))
    for rest, rows in series.items():
        buckets = [(float(le), value) for sample, le, value in rows if sample == name + "_bucket"]
        assert buckets == sorted(buckets) and buckets[-1][0] == float("inf")
        assert [v for _, v in buckets] == sorted(v for _, v in buckets)
        assert [v for s, _, v in rows if s == name + "_count"] == [buckets[-1][1]]
        assert len([v for s, _, v in rows if s == name + "_sum"]) == 1


def test_metrics(http, binary_server, binary_data):
    binary_server.command("GET", "number")
    binary_server.command("SET", "a", "b")
    response = http.get("/metrics")
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = parse_prometheus(response.body.decode("utf-8"))
    value = {name: samples[0][2] for name, (_, samples) in families.items() if samples}
    assert value["tarn_keys"] == len(binary_data)
    assert value["tarn_build_info"] == 1
    assert value["tarn_keyspace_hits_total"] >= 1
    assert 0 < value["tarn_memory_resident_bytes"] <= value["tarn_memory_resident_peak_bytes"]
    calls = {l["command"]: v for _, l, v in families["tarn_command_calls_total"][1]}
    assert calls["get"] >= 1
    assert {"kind": "READONLY"} in [l for _, l, _ in families["tarn_errors_total"][1]]
    counts = {l["command"]: v for s, l, v in families["tarn_command_duration_seconds"][1]
              if s.endswith("_count")}
    assert counts["get"] >= 1
    assert families["tarn_command_duration_seconds"][0] == "histogram"


def test_info_stats_and_metrics_agree(http, binary_server):
    """One table makes all three: figures that do not move are the same everywhere."""
    info = dict(line.split(":", 1) for line in
                binary_server.command("INFO", "everything").decode().split("\r\n") if ":" in line)
    stats = {k: v for section in http.get("/stats").json().values() for k, v in section.items()}
    metrics = parse_prometheus(http.get("/metrics").body.decode())
    for name in ("tarn_keys", "tarn_records", "tarn_data_bytes", "tarn_index_bytes",
                 "tarn_generation"):
        assert int(info[name]) == stats[name] == metrics[name][1][0][2], name
    assert info["tarn_data_file"] == stats["tarn_data_file"]
    assert int(info["maxclients"]) == stats["maxclients"]


# --- paths and methods ---

@pytest.mark.parametrize("target", ["/", "/kvx", "/KV/a", "/mget/", "/healthz/", "/statsx", "//kv/a",
                                    "/%6bv/a", "/metrics/.."])
def test_unknown_path(http, target):
    response = http.get(target)
    assert response.status == 404 and "/kv/" in response.error


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_writes_are_refused(http, method):
    for target in ("/kv/number", "/kv?key=number"):
        response = http.request(method, target, body=b"new value")
        assert response.status == 405 and "immutable" in response.error
        assert response["Allow"] == "GET, HEAD"
    assert http.get("/kv/number").body == b"1234567890"


@pytest.mark.parametrize("method, target, allow", [
    ("OPTIONS", "/kv/a", "GET, HEAD"), ("TRACE", "/stats", "GET, HEAD"), ("GET", "/mget", "POST"),
    ("HEAD", "/mget", "POST"), ("PUT", "/mget", "POST"), ("POST", "/metrics", "GET, HEAD"),
    ("DELETE", "/healthz", "GET, HEAD"), ("FROB", "/kv/a", "GET, HEAD"), ("get", "/kv/a",
                                                                         "GET, HEAD")])
def test_method_not_allowed(http, method, target, allow):
    response = http.request(method, target)
    assert response.status == 405
    assert response["Allow"] == allow
    assert http.get("/healthz").status == 200


def test_get_with_a_body(http):
    assert http.request("GET", "/kv/number", body=b"x" * 5000).body == b"1234567890"
    assert http.get("/healthz").status == 200


# --- connections ---

def test_keep_alive(http):
    for _ in range(300):
        assert http.get("/kv/number").body == b"1234567890"


def test_pipeline(http, binary_data):
    keys = [datasets.uuid_key(i) for i in range(1000)] + [b"big:20k", b"number", b"no-such-key"]
    http.send(b"".join(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % quote(k).encode()
                       for k in keys))
    for key in keys:
        response = http.read()
        if key in binary_data.answers:
            assert (response.status, response.body) == (200, binary_data[key])
        else:
            assert response.status == 404


def test_pipeline_mixed(http):
    http.send(b"HEAD /kv/number HTTP/1.1\r\nHost: localhost\r\n\r\n"
              b"POST /mget HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n[\"number\"]"
              b"PUT /kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
              b"GET /kv/% HTTP/1.1\r\nHost: localhost\r\n\r\n"
              b"GET /kv/number HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert http.read(head=True).status == 200
    assert http.read().json() == {"number": "1234567890"}
    assert [http.read().status for _ in range(3)] == [405, 400, 200]
    assert http.at_end()


def test_requests_byte_by_byte(http):
    for byte in b"GET /kv/number?a=b HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\r\n":
        http.send(bytes([byte]))
    assert http.read().body == b"1234567890"


def test_connection_close(http):
    response = http.get("/kv/number", "Connection: close")
    assert response.body == b"1234567890" and response["Connection"].lower() == "close"
    assert http.at_end()


def test_http_1_0(binary_server):
    with Http(binary_server.http_port) as http:
        assert http.request("GET", "/kv/number", version="1.0").body == b"1234567890"
        assert http.at_end()
    with Http(binary_server.http_port) as http:
        for _ in range(2):
            response = http.request("GET", "/kv/number", "Connection: keep-alive", version="1.0")
            assert response.body == b"1234567890"


def test_absolute_target(http):
    assert http.get("http://localhost/kv/number").body == b"1234567890"
    response = http.get("http://evil.example/kv/number")
    assert response.status == 403


def test_many_connections_at_once(binary_server):
    connections = [Http(binary_server.http_port) for _ in range(200)]
    for c in connections:
        c.send(b"GET /kv/number HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for c in connections:
        assert c.read().body == b"1234567890"
        c.socket.close()


# --- framing: what could make two readers disagree ---

def head(*lines):
    return "\r\n".join(lines + ("", "")).encode("latin-1")


SMUGGLED = b"GET /kv/number HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("data", [
    head("POST /mget HTTP/1.1", "Host: localhost", "Content-Length: 4",
         "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    head("POST /mget HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked",
         "Content-Length: 5") + b"0\r\n\r\n",
    head("POST /mget HTTP/1.1", "Host: localhost", "Content-Length: 2", "Content-Length: 2") + b"[]",
    head("POST /mget HTTP/1.1", "Host: localhost", "Content-Length: 2", "Content-Length: 3") + b"[]",
    head("POST /mget HTTP/1.1", "Host: localhost", "Content-Length : 2") + b"[]",
    head("POST /mget HTTP/1.1", "Host: localhost", "Content-Length\t: 2") + b"[]",
    head("POST /mget HTTP/1.1", "Host: localhost", " Content-Length: 2") + b"[]",
    head("POST /mget HTTP/1.1", "Host: localhost", "X: y", " Content-Length: 2") + b"[]",
    head("POST /mget HTTP/1.1", "Host: localhost", "Content-Length: 2", " 0") + b"[]",
    head("POST /mget HTTP/1.1", "Host: localhost", "X: y", "\tz") + b"[]",
    head("POST /mget HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked",
         "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    head("POST /mget HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", " , identity")
    + b"0\r\n\r\n",
    b"POST /mget HTTP/1.1\nHost: localhost\nContent-Length: 2\n\n[]",
    b"POST /mget HTTP/1.1\r\nHost: localhost\nContent-Length: 2\r\n\r\n[]",
    b"POST /mget HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\n[]",
    b"POST /mget HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\nContent-Length: 2\r\n\r\n[]",
    b"POST /mget HTTP/1.1\r\nHost: localhost\r\nX\0: a\r\nContent-Length: 2\r\n\r\n[]",
    b"POST /mget\0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n[]",
    b"POST  /mget HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n[]",
    b"POST /mget  HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n[]",
    b"GET /kv/a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    head("GET /healthz HTTP/1.1"),
    head("GET /healthz HTTP/1.1", "Host: localhost", "Host: localhost"),
    head("GET /healthz HTTP/1.1", "Host: localhost", "bad name: x"),
    head("GET /healthz HTTP/1.1", "Host: localhost", "no colon"),
    head("GET /healthz HTTP/1.1", "Host: localhost", ": no name"),
    head("POST /mget HTTP/1.0", "Host: localhost", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
], ids=lambda data: re.sub(r"[^ -~]", "?", data.decode("latin-1"))[:90])
def test_doubtful_framing(raw, data):
    """One error, and the connection is closed: what follows is never taken for a request."""
    (response,), ended = raw(data + SMUGGLED)
    assert response.status == 400
    assert ended


@pytest.mark.parametrize("length", ["2, 2", "+2", "-2", "0x2", "", "2 2", "99999999999999999999"])
def test_malformed_length(binary_server, length):
    """libmicrohttpd answers these itself (0.9.75: with the head twice), and closes."""
    with Http(binary_server.http_port) as http:
        http.send(head("POST /mget HTTP/1.1", "Host: localhost", "Content-Length: " + length)
                  + b"[]" + SMUGGLED)
        while http._more():
            pass
        assert re.match(rb"HTTP/1.1 (400|413) ", http.pending)
        assert b"200 OK" not in http.pending and b"1234567890" not in http.pending


@pytest.mark.parametrize("field", ["gzip, chunked", "identity", "xchunked", "chunked, chunked",
                                   "chunked;q=1", ""])
def test_unknown_transfer_encoding(raw, field):
    (response,), ended = raw(head("POST /mget HTTP/1.1", "Host: localhost",
                                  "Transfer-Encoding: " + field) + b"2\r\n[]\r\n0\r\n\r\n" + SMUGGLED)
    assert response.status == 501 and "Transfer-Encoding" in response.error
    assert ended


@pytest.mark.parametrize("body", [b"x\r\n[]\r\n0\r\n\r\n", b"-2\r\n[]\r\n0\r\n\r\n",
                                  b"2\r\n[]x\r\n0\r\n\r\n", b"\r\n[]\r\n0\r\n\r\n",
                                  b"0x2\r\n[]\r\n0\r\n\r\n", b"2 \r\n[]\r\n0\r\n\r\n"])
def test_bad_chunks(raw, body):
    (response,), ended = raw(head("POST /mget HTTP/1.1", "Host: localhost",
                                  "Transfer-Encoding: chunked") + body + SMUGGLED)
    assert response.status == 400
    assert ended


def test_chunk_too_large(raw):
    (response,), ended = raw(head("POST /mget HTTP/1.1", "Host: localhost",
                                  "Transfer-Encoding: chunked") + b"fffffffffffffffff\r\n[]")
    assert response.status == 413
    assert ended


def test_chunked_body_over_the_limit(binary_server):
    """It is not kept; if it ends soon after the limit the answer says so."""
    with Http(binary_server.http_port) as http:
        http.send(head("POST /mget HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked"))
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        for _ in range(257):
            http.send(piece)
        http.send(b"0\r\n\r\n")
        response = http.read()
        assert response.status == 413 and "body" in response.error


def test_endless_chunked_body(binary_server):
    with Http(binary_server.http_port) as http:
        http.send(head("POST /mget HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked"))
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(100000):
                http.send(piece)


@pytest.mark.parametrize("data, status", [
    (b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
    (b"GET /healthz HTTP/0.9\r\nHost: localhost\r\n\r\n", 505),
    (b"GET /healthz HTTX/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"GET /healthz\r\nHost: localhost\r\n\r\n", 400),
    (b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01 \x00\x01\xfc\x03\x03\r\n\r\n", 400),
])
def test_not_http(binary_server, data, status):
    with Http(binary_server.http_port) as http:
        http.send(data)
        assert http.read().status == status


def test_garbage_is_closed(binary_server):
    with Http(binary_server.http_port) as http:
        http.send(b"*1\r\n$4\r\nPING\r\n")
        assert http.at_end()


def test_head_too_large(binary_server):
    with Http(binary_server.http_port) as http:
        http.send(b"GET /kv/" + b"a" * 20000)
        assert http.read().status == 414
        assert http.at_end()
    with Http(binary_server.http_port) as http:
        http.send(b"GET /kv/a HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20000)
        assert http.read().status == 431
        assert http.at_end()
    with Http(binary_server.http_port) as http:
        http.send(b"GET /kv/a HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 3000)
        assert http.read().status == 431
        assert http.at_end()


def test_largest_heads_that_fit(http):
    """Up to about 12 KB, in small pieces, so that the buffer grows while fields are in it."""
    for size in (1000, 4000, 8000, 8150, 8200, 9000, 12000):
        data = b"GET /kv/number HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n" % (b"a" * size)
        for i in range(0, len(data), 1000):
            http.send(data[i:i + 1000])
        assert http.read().body == b"1234567890", size
    for size in (4000, 8150, 12000):
        assert http.get("/kv/" + "a" * size).status == 404
        assert http.get("/kv?key=" + "%61" * (size // 3)).status == 404


# --- Host ---

@pytest.mark.parametrize("host", ["localhost", "localhost:1", "LOCALHOST", "127.0.0.1:8379",
                                  "127.1.2.3", "[::1]", "[::1]:80"])
def test_own_host(http, host):
    assert http.get("/kv/number", "Host: " + host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8379", "localhost.evil.example", "",
                                  "127.0.0.1.evil.example", "192.168.0.1", "[::2]", "localhost:x"])
def test_foreign_host(http, host):
    for target in ("/kv/number", "/healthz", "/no-such-path"):
        response = http.get(target, "Host: " + host)
        assert response.status == 403 and "localhost" in response.error
    assert http.get("/healthz").status == 200


def test_host_is_not_needed_in_1_0(binary_server):
    with Http(binary_server.http_port) as http:
        assert http.request("GET", "/kv/number", version="1.0").status == 200
    with Http(binary_server.http_port) as http:
        assert http.request("GET", "/kv/number", "Host: evil.example",
                            version="1.0").status == 403


def test_any_host_beyond_loopback(server, data_file):
    data = data_file("text", [(b"a", b"1")])
    s = server(data, "--bind", "0.0.0.0", "--password", "pw")
    with Http(s.http_port) as http:
        assert http.get("/kv/a", "Host: data.example", "Authorization: Bearer pw").body == b"1"


def test_several_addresses(server, data_file):
    data = data_file("text", [(b"a", b"1")])
    s = server(data, "--bind", "127.0.0.1,127.0.0.2")
    for address in ("127.0.0.1", "127.0.0.2"):
        with Http(s.http_port, address) as http:
            assert http.get("/kv/a").body == b"1"


# --- passwords ---

@pytest.fixture
def locked(server, data_file):
    return server(data_file("text", [(b"a", b"1")]), "--password", "open: sesame")


def basic(text):
    return "Authorization: Basic " + base64.b64encode(text.encode()).decode()


def test_password(locked):
    with Http(locked.http_port) as http:
        for field in ("Authorization: Bearer open: sesame", "authorization: bearer open: sesame",
                      basic("anyone:open: sesame"), basic(":open: sesame")):
            assert http.get("/kv/a", field).body == b"1", field
            assert http.get("/stats", field).status == 200
            assert http.get("/metrics", field).status == 200
            assert http.request("POST", "/mget", field, body=b'["a"]').json() == {"a": "1"}


def test_wrong_password(locked):
    with Http(locked.http_port) as http:
        for fields in ((), ("Authorization: Bearer wrong",), ("Authorization: Bearer",),
                       ("Authorization: Bearer open: sesam",), ("Authorization: open: sesame",),
                       ("Authorization: Bearer open: sesamee",), (basic("open: sesame"),),
                       (basic("user:wrong"),), ("Authorization: Basic open: sesame",),
                       ("Authorization: Basic %%%%",), ("Authorization: ",)):
            for target in ("/kv/a", "/kv?key=a", "/stats", "/metrics", "/no-such-path",
                           "/kv/a?password=open:%20sesame"):
                response = http.get(target, *fields)
                assert response.status == 401 and "password" in response.error
                assert sorted(v.split()[0] for v in response.all("WWW-Authenticate")) == \
                    ["Basic", "Bearer"]
            assert http.request("POST", "/mget", *fields, body=b'["a"]').status == 401
            assert http.request("DELETE", "/kv/a", *fields).status == 401


def test_healthz_needs_no_password(locked):
    with Http(locked.http_port) as http:
        assert http.get("/healthz").status == 200


def test_password_changes_while_running(locked):
    with Http(locked.http_port) as http, locked.connect() as admin:
        admin.command("AUTH", "open: sesame")
        admin.command("CONFIG", "SET", "password", "other")
        assert http.get("/kv/a", "Authorization: Bearer open: sesame").status == 401
        assert http.get("/kv/a", "Authorization: Bearer other").status == 200


# --- clients that are slow, or many ---

def test_idle_connection_is_closed(server, data_file):
    with Http(server(data_file("text", [(b"a", b"1")]), "--timeout", "1").http_port) as http:
        assert http.get("/kv/a").body == b"1"
        assert http.at_end()


@pytest.mark.parametrize("prefix", [b"", b"GET /kv/a HTTP/1.1\r\nHost: localhost\r\nX: ",
                                    b"POST /mget HTTP/1.1\r\nHost: localhost\r\n"
                                    b"Content-Length: 1000\r\n\r\n"])
def test_slow_loris(server, data_file, prefix):
    """A byte now and then does not keep a request open: it has a deadline as a whole."""
    with Http(server(data_file("text", [(b"a", b"1")]), "--timeout", "1").http_port) as http:
        http.send(prefix)
        try:
            while not select.select([http.socket], [], [], 0.2)[0]:
                http.send(b"x")
        except (BrokenPipeError, ConnectionResetError):
            return
        assert http.at_end()


def test_client_that_does_not_read(server, data_file):
    """It is cut, and what it asked for is let go."""
    data = data_file("text", [(b"a", b"1"), (b"big", b"v" * (20 << 20))])
    s = server(data, "--timeout", "1")
    with Http(s.http_port) as http, Http(s.http_port) as other:
        http.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        http.send(b"GET /kv/big HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        eventually(lambda: open_connections(s) == 1, "the slow client is closed")
        other.socket.close()


def open_connections(server):
    with Http(server.http_port) as http:
        return http.get("/stats").json()["clients"]["tarn_http_connections"]


def test_connection_limit(server, data_file):
    s = server(data_file("text", [(b"a", b"1")]), "--max-connections", "4")
    held = [Http(s.http_port) for _ in range(4)]
    for http in held:
        assert http.get("/kv/a").body == b"1"
    extra = [Http(s.http_port) for _ in range(150)]  # more than are told one by one
    for http in extra:
        response = http.get("/kv/a")
        assert response.status == 503 and "connections" in response.error
        assert response["Retry-After"] == "1"
        assert http.at_end()
        http.socket.close()
    for http in held:
        assert http.get("/kv/a").body == b"1"
        http.socket.close()
    eventually(lambda: s_answers(s), "a place is free again")
    with Http(s.http_port) as http:
        assert http.get("/stats").json()["stats"]["rejected_connections"] >= 150


def s_answers(server):
    with Http(server.http_port) as http:
        return http.get("/kv/a").status == 200


def test_memory_cap_counts_buffers(server, data_file):
    """Bodies count against --memory: one that does not fit gets 503, others go on."""
    s = server(data_file("text", [(b"a", b"1")]), "--memory", 2 << 20)
    large = b"[" + b",".join(b'"%07d"' % i for i in range(215000)) + b"]"
    with Http(s.http_port) as http, Http(s.http_port) as witness:
        before = witness.get("/stats").json()["clients"]["tarn_client_buffers_bytes"]
        # chunked: how much there will be is not known when it begins
        http.send(head("POST /mget HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked"))
        for i in range(0, len(large), 50000):
            http.send(b"%x\r\n%s\r\n" % (len(large[i:i + 50000]), large[i:i + 50000]))
        http.send(b"0\r\n\r\n")
        response = http.read()
        assert response.status == 503 and "memory" in response.error
        assert witness.request("POST", "/mget", body=b'["a"]').json() == {"a": "1"}
        after = witness.get("/stats").json()["clients"]["tarn_client_buffers_bytes"]
        assert after - before < len(large) // 10  # the body is counted no longer


def test_limit_is_shared_with_resp(server, data_file):
    s = server(data_file("text", [(b"a", b"1")]), "--max-connections", "2")
    with s.connect() as one, s.connect() as two:
        one.command("PING")
        two.command("PING")
        with Http(s.http_port) as http:
            assert http.get("/kv/a").status == 503


def test_connections_are_counted_and_let_go(server, data_file):
    s = server(data_file("text", [(b"a", b"1")]))
    files = s.file_count()
    connections = [Http(s.http_port) for _ in range(50)]
    for c in connections:
        c.get("/kv/a")
    assert open_connections(s) == 51
    for c in connections:
        c.socket.close()
    eventually(lambda: open_connections(s) == 1, "closed connections are let go")
    eventually(lambda: s.file_count() == files, "their descriptors too")


def test_memory_of_a_crowd_is_given_back(server, data_file):
    assert raise_file_limit(2000)
    s = server(data_file("text", [(b"a", b"1")]))
    with Http(s.http_port) as http:
        http.get("/kv/a")
    before = s.memory_resident()
    connections = [Http(s.http_port) for _ in range(1000)]
    for c in connections:
        assert c.get("/kv/a").body == b"1"
    crowded = s.memory_resident()
    if sanitized():  # they keep freed memory
        for c in connections:
            c.socket.close()
        return
    assert 8 << 20 < crowded - before < 32 << 20  # 16 KiB each and a little
    for c in connections:
        c.socket.close()
    eventually(lambda: s.memory_resident() - before < (crowded - before) // 4, "memory given back")


# --- reload and stop ---

def test_reload_changes_answers_and_tags(server, data_file):
    data = data_file("text", [(b"a", b"old"), (b"big", b"o" * 100000)])
    s = server(data)
    with Http(s.http_port) as http:
        tag = http.get("/kv/a")["ETag"]
        data.records = [(b"a", b"new"), (b"big", b"n" * 100000)]
        data.write()
        assert s.command("RELOAD") == b"OK"
        response = http.get("/kv/a", "If-None-Match: " + tag)
        assert (response.status, response.body) == (200, b"new")
        assert http.get("/kv/big").body == b"n" * 100000


def test_reload_under_large_replies(server, data_file):
    """A value being sent stays whole while its version is replaced."""
    data = data_file("text", [(b"big", b"0" * (8 << 20))])
    s = server(data)
    stop = threading.Event()
    failures = []

    def ask():
        with Http(s.http_port) as http:
            while not stop.is_set():
                body = http.get("/kv/big").body
                if len(body) != 8 << 20 or body != body[:1] * len(body):
                    failures.append(body[:10])
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for t in threads:
        t.start()
    for i in range(1, 6):
        data.records = [(b"big", b"%d" % i * (8 << 20))]
        data.write()
        assert s.command("RELOAD") == b"OK"
    stop.set()
    for t in threads:
        t.join(TIMEOUT)
    assert not failures


def test_stop_finishes_replies(server, data_file):
    """SIGTERM while a large reply is half sent: it arrives whole, then the connection closes."""
    data = data_file("text", [(b"big", b"v" * (30 << 20))])
    s = server(data)
    with Http(s.http_port) as http, Http(s.http_port) as idle:
        idle.get("/healthz")
        http.send(b"GET /kv/big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert http._more()  # it has begun
        s.signal(15)
        assert s.log.wait_for("stopping") is not None
        response = http.read()
        assert response.status == 200 and response.body == b"v" * (30 << 20)
        assert http.at_end()
        assert idle.at_end()
    assert s.wait_exit() == 0


def test_stop_does_not_wait_for_ever(server, data_file):
    """A client that never reads cannot keep the server from ending."""
    data = data_file("text", [(b"big", b"v" * (30 << 20))])
    s = server(data)
    with Http(s.http_port) as http:
        http.send(b"GET /kv/big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert http._more()
        s.signal(15)
        assert s.wait_exit() == 0


def test_off(server, data_file):
    s = server(data_file("text", [(b"a", b"1")]), "--http-port", "0")
    assert s.command("GET", "a") == b"1"
    assert b"tarn_http_port:0\r\n" in s.command("INFO", "server")


def test_port_in_use(server, data_file, run_tarn):
    data = data_file("text", [(b"a", b"1")])
    s = server(data)
    finished = run_tarn("serve", data.path, "--port", "0", "--http-port", s.http_port)
    assert finished.status == 1
    assert str(s.http_port) in finished.err and "in use" in finished.err
