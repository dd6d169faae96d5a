"""Goal: doc/format-log.md is enough to write a reader of the log.

Method: a reader written from that page alone, in another language, reads what a server has written in
each encoding: every byte of the segments is accounted for, every check and checksum is computed anew.
XXH3 is libxxhash's. The page's own examples are read by it, too.
"""
import base64
import ctypes
import json
import os
import re
import struct

import pytest

from test_dump_load import Cbor
from test_durability_server import kept  # noqa: F401 (a fixture)

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../doc/format-log.md")
KINDS = {1: "put", 2: "delete", 3: "expire", 4: "patch", 5: "flush", 127: "seal"}
JSON_HEAD = re.compile(rb'{"seq": {1,19}(\d+),"synced": {1,19}(\d+),"more":(true |false),'
                       rb'"sum":"([0-9a-f]{8})([0-9a-f]{16})"')

xxhash = ctypes.CDLL("libxxhash.so.0").XXH3_64bits_withSeed
xxhash.restype = ctypes.c_uint64
xxhash.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def checksum(data, seed=0):
    return xxhash(data, len(data), seed)


class Segment:
    """(sequence, durable_upto, more, change) of each record; the change is a dict."""

    def __init__(self, data):
        self.encoding = "json" if data[:1] == b"{" else ("binary", "cbor")[data[11]]
        (self.read_json_header if self.encoding == "json" else self.read_header)(data[:256])
        self.chain = self.sum
        self.records = []
        rest = data[256:]
        while rest.strip(b"\n" if self.encoding == "json" else b"\0"):
            size, *record = getattr(self, "read_" + self.encoding)(rest)
            self.records.append(tuple(record))
            rest = rest[size:]

    def read_header(self, data):
        magic, version, _, self.file, self.number, self.store, self.salt, previous, _, first = \
            struct.unpack("<2x8sBBIQQQQQQ", data[:64])
        assert data[:2] == b"\x58\xfe" and magic == b"tarn-log" and version == 1
        self.sum, = struct.unpack("<Q", data[248:])
        assert data[64:248] == bytes(184) and self.sum == checksum(data[:248])
        assert (previous, first) == (0, 1)

    def read_json_header(self, data):
        header = json.loads(data)
        assert data.endswith(b"\n") and header["tarn_log"] == 1
        self.file, self.number = header["file"], header["number"]
        self.salt, self.sum = int(header["salt"], 16), int(header["sum"], 16)
        assert self.sum == checksum(data[:data.index(b',"sum"')])

    def verify(self, words, check, record_sum, payload):
        assert check == checksum(words, self.salt) & 0xffffffff
        seal = struct.pack("<Q", checksum(payload))
        assert record_sum == checksum(words + seal, self.salt ^ self.chain)
        self.chain = record_sum

    def read_head(self, head):
        check, size, sequence, distance, key_size, kind, flags, record_sum = \
            struct.unpack("<IIQIHBBQ", head)
        durable = 0 if distance == 2 ** 32 - 1 else sequence - distance
        return (check, bytes(4) + head[4:24], record_sum, size, sequence, durable, bool(flags & 1),
                key_size, KINDS[kind], bool(flags & 2))

    def read_binary(self, data):
        check, words, record_sum, size, sequence, durable, more, key_size, kind, expires = \
            self.read_head(data[:32])
        payload = data[32:32 + size]
        assert len(payload) == size
        self.verify(words, check, record_sum, payload)
        change = {"op": kind}
        if expires:
            change["expire_ms"], = struct.unpack("<q", payload[:8])
            payload = payload[8:]
        if kind == "patch":
            change["offset"], = struct.unpack("<Q", payload[:8])
            payload = payload[8:]
        if kind not in ("flush", "seal"):
            change["key"] = payload[:key_size]
        if kind in ("put", "patch"):
            change["value"] = payload[key_size:]
        return 32 + size, sequence, durable, more, change

    def read_cbor(self, data):
        assert data[:2] == b"\x58\x20"
        check, words, record_sum, size, sequence, durable, more, key_size, kind, expires = \
            self.read_head(data[2:34])
        payload = data[34:34 + size]
        self.verify(words, check, record_sum, payload)
        change = {"op": kind} if kind == "seal" else Cbor(payload).item()
        assert change["op"] == kind and ("expire_ms" in change) == expires
        assert len(change.get("key", b"")) == key_size
        return 34 + size, sequence, durable, more, change

    def read_json(self, data):
        line = data[:data.index(b"\n") + 1]
        head = JSON_HEAD.match(line)
        assert head.end() == 103
        sequence, durable = int(head.group(1)), int(head.group(2))
        more = head.group(3) == b"true "
        words = struct.pack("<QQQ", sequence, durable, more)
        self.verify(words, int(head.group(4), 16), int(head.group(5), 16), line[103:])
        change = {name: value for name, value in json.loads(line).items()
                  if name not in ("seq", "synced", "more", "sum")}
        for name in ("key", "value"):
            if name in change:
                change[name] = change[name].encode()
            elif name + "_base64" in change:
                change[name] = base64.b64decode(change.pop(name + "_base64"))
        return len(line), sequence, durable, more, change


@pytest.mark.parametrize("encoding", ["binary", "cbor", "json"])
def test_a_log(kept, tmp_path, encoding):  # noqa: F811
    server = kept("--durability", "commit", "--log-format", encoding)
    with server.connect() as c:
        for command in (["SET", "apple", "red"], ["SET", "lime", b"gr\xffen", "PXAT", "1893456000000"],
                        ["PEXPIREAT", "apple", "1893456000001"], ["PERSIST", "apple"],
                        ["SET", "", ""], ["SET", b"\xff\0", 'quote " \\ newline \n'],
                        ["SET", "large", "x" * 40000], ["APPEND", "large", "yz"], ["DEL", "lime"]):
            c.command(*command)
        c.pipeline([["MULTI"], ["SET", "a", "1"], ["SET", "b", "2"], ["EXEC"]])
        c.command("FLUSHALL")
    server.stop()
    server.killed = True
    segment = Segment((tmp_path / "store" / "wal-00-0000000001.log").read_bytes())
    assert (segment.encoding, segment.file, segment.number) == (encoding, 0, 1)
    changes = [change for *_, change in segment.records]
    assert [sequence for sequence, *_ in segment.records[:-1]] == list(range(1, len(changes)))
    assert changes[:9] == [
        {"op": "put", "key": b"apple", "value": b"red"},
        {"op": "put", "key": b"lime", "value": b"gr\xffen", "expire_ms": 1893456000000},
        {"op": "expire", "key": b"apple", "expire_ms": 1893456000001},
        {"op": "expire", "key": b"apple"},
        {"op": "put", "key": b"", "value": b""},
        {"op": "put", "key": b"\xff\0", "value": b'quote " \\ newline \n'},
        {"op": "put", "key": b"large", "value": b"x" * 40000},
        {"op": "patch", "key": b"large", "offset": 40000, "value": b"yz"},
        {"op": "delete", "key": b"lime"}]
    assert [more for *_, more, _ in segment.records[9:12]] == [True, False, False]
    assert changes[11:] == [{"op": "flush"}, {"op": "seal"}]
    last, synced, *_ = segment.records[-1]
    assert last == synced == len(changes) - 1


def test_examples_of_the_page():
    """Read as they stand there: a header and records in hexadecimal, or lines."""
    with open(PAGE) as page:
        blocks = re.findall(r"```\n(.*?)```", page.read(), re.S)
    found = {}
    for block in blocks:
        if block.startswith("{"):
            lines = block.splitlines()
            data = (lines[0].ljust(255) + "\n" + "".join(x + "\n" for x in lines[1:])).encode()
        else:
            data = b""
            for offset, digits in re.findall(r"^([0-9a-f]{8}:) ((?:[0-9a-f]{2} )+)", block, re.M):
                data = data.ljust(int(offset[:-1], 16), b"\0") + bytes.fromhex(digits)
        segment = Segment(data)
        found[segment.encoding] = [change for *_, change in segment.records]
    assert set(found) == {"binary", "cbor", "json"}
    assert found["binary"] == found["cbor"] == found["json"]
    assert [change["op"] for change in found["json"]] == ["put"] * 3 + ["delete", "put", "seal"]
