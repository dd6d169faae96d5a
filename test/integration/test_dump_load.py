"""Goal: what tarn dump writes, tarn load reads back byte for byte: binary keys, empty values and
expiries too, in every format that can hold them and between every two kinds of store; other
programs read the dumps; what cannot be written or read is refused with its name or its line.

Method: records with every byte in keys and values, put into real servers (tarn's and redis) and
directories; dumps parsed by Python's json, by jq, and by the small CBOR decoder below, which knows
nothing of tarn's; malformed dumps by the table.

Bugs planted once to see it fail: expire_ms not written; a key's NUL written as text; the replies of
the last batch not read; a value of more than one batch cut; --force ignored; the record's line
counted from 0.
"""
import base64
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess

import pytest

import beside_redis
import resp
from conftest import TIMEOUT, environment
from datasets import encode, plain_records
from test_cli import Terminal, one_line

FAR = 4102444800123  # in 2100, ms
EVERY_BYTE = bytes(range(256))


def records_of_all_kinds():
    """{key: (value, expire_ms or None)}"""
    records = {key: (value, None) for key, value in plain_records(300)}
    records.update({
        b"": (b"value of the empty key", None),
        b"empty": (b"", None),
        b"expires": (b"v", FAR),
        b"empty and expires": (b"", FAR + 1),
        EVERY_BYTE: (EVERY_BYTE[::-1], FAR + 2),
        b"\xff\x00\n": (b"\x00", None),
        b"quote\"back\\slash": (b"\"\\/\b\f\n\r\t\x01\x7f", None),
        "ключ \U0001f511".encode(): ("значение \U0001f511".encode(), None),
        b"\xed\xa0\x80": (b"\xc0\x80 neither is UTF-8 \xf4\x90\x80\x80", None),
        b"k" * 65535: (b"the longest key", None),
        b"big": (random.Random(1).randbytes(3 << 20), None),
        b"big text": (b"0123456789abcdef" * 65536, FAR),
        b"newlines": (b"\n" * 1000, None),
    })
    for byte in range(256):
        records[b"byte %d" % byte] = (bytes([byte]), FAR + byte if byte % 3 == 0 else None)
    return records


RECORDS = records_of_all_kinds()
PLAIN = {key: value for key, value in RECORDS.items()
         if value[1] is None}  # what binary can hold
LINES = {key: value for key, value in PLAIN.items()
         if b"\n" not in key + value[0] and b" " not in key and b"\t" not in key}


def fill(port, records):
    with resp.Connection(port, timeout=TIMEOUT) as client:
        for key, (value, expire_ms) in records.items():
            more = ("PXAT", expire_ms) if expire_ms is not None else ()
            assert client.command("SET", key, value, *more) == b"OK"


def content(port):
    """All of a server's records, asked without tarn."""
    found = {}
    with resp.Connection(port, timeout=TIMEOUT) as client:
        cursor = b"0"
        while True:
            cursor, keys = client.command("SCAN", cursor, "COUNT", 1000)
            for key in keys:
                expire_ms = client.command("PEXPIRETIME", key)
                found[key] = (client.command("GET", key), expire_ms if expire_ms >= 0 else None)
            if cursor == b"0":
                return found


def flush(port):
    with resp.Connection(port, timeout=TIMEOUT) as client:
        assert client.command("FLUSHALL") == b"OK"


def where(port):
    return "localhost:%d" % port


# --- reading dumps without tarn ---

def parse_json(data):
    found = {}
    for line in data.decode("utf-8").splitlines():
        record = json.loads(line)
        assert set(record) <= {"key", "key_base64", "value", "value_base64", "expire_ms"}

        def take(name):
            assert (name in record) != (name + "_base64" in record)
            if name in record:
                return record[name].encode("utf-8")
            return base64.b64decode(record[name + "_base64"], validate=True)
        key = take("key")
        assert key not in found
        found[key] = (take("value"), record.get("expire_ms"))
    return found


class Cbor:
    """The part of RFC 8949 that dumps use, decoded strictly."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def item(self):
        major, info = self.data[self.at] >> 5, self.data[self.at] & 31
        self.at += 1
        assert info < 28, "indefinite lengths are not used"
        if info < 24:
            number = info
        else:
            size = 1 << (info - 24)
            number = int.from_bytes(self.data[self.at:self.at + size], "big")
            self.at += size
            assert number >= (24 if size == 1 else 1 << (4 * size)), "not the shortest form"
        if major == 0:
            return number
        if major in (2, 3):
            text = self.data[self.at:self.at + number]
            assert len(text) == number
            self.at += number
            return text if major == 2 else text.decode("utf-8")
        assert major == 5
        return {self.item(): self.item() for _ in range(number)}


def parse_cbor(data):
    reader, found = Cbor(data), {}
    while reader.at < len(data):
        record = reader.item()
        assert set(record) <= {"key", "value", "expire_ms"}
        assert isinstance(record["key"], bytes) and record["key"] not in found
        found[record["key"]] = (record["value"], record.get("expire_ms"))
    return found


def parse_binary(data, size="<I"):
    found, at = {}, 0

    def take():
        nonlocal at
        number, = struct.unpack_from(size, data, at)
        at += struct.calcsize(size)
        at += number
        return data[at - number:at]
    while at < len(data):
        key = take()
        found[key] = (take(), None)
    return found


def parse_text(data):
    assert data == b"" or data.endswith(b"\n")
    lines = (line.split(b" ", 1) for line in data[:-1].split(b"\n"))
    return {key: (value, None) for key, value in lines}


PARSERS = {"json": parse_json, "cbor": parse_cbor, "text": parse_text, "binary": parse_binary}
HOLDS = {"json": RECORDS, "cbor": RECORDS, "text": LINES, "binary": PLAIN}


# --- there and back ---

@pytest.mark.parametrize("name", list(PARSERS))
def test_round_trip_of_a_server(run_tarn, server, tmp_path, name):
    running, records, path = server(None), HOLDS[name], tmp_path / "dump"
    fill(running.port, records)
    dumped = run_tarn("dump", where(running.port), "--format", name)
    assert dumped.status == 0 and dumped.err == "", repr(dumped)
    assert PARSERS[name](dumped.out_bytes) == records
    finished = run_tarn("dump", where(running.port), "--format", name, "--output", path)
    assert finished.status == 0 and finished.out.startswith("%s: %d records, " % (path,
                                                                                len(records)))
    assert PARSERS[name](path.read_bytes()) == records
    flush(running.port)
    loaded = run_tarn("load", where(running.port), "--format", name, path)
    assert loaded.status == 0 and loaded.err == "", repr(loaded)
    assert re.match(r"localhost:\d+: %d records in " % len(records), loaded.out)
    assert content(running.port) == records


@pytest.mark.parametrize("name", list(PARSERS))
def test_round_trip_of_a_directory(run_tarn, server, tmp_path, name):
    running, records = server(None), HOLDS[name]
    fill(running.port, records)
    dumped = run_tarn("dump", where(running.port), "--format", name)
    directory, path = tmp_path / "store", tmp_path / "dump"
    path.write_bytes(dumped.out_bytes)
    loaded = run_tarn("load", directory, "--format", name, path)
    assert loaded.status == 0, repr(loaded)
    again = run_tarn("dump", directory, "--format", name)
    assert again.status == 0 and PARSERS[name](again.out_bytes) == records
    # and as it comes out of the directory it goes into a server
    flush(running.port)
    assert run_tarn("load", where(running.port), "--format", name, "-",
                    input=again.out_bytes, stdin=None).status == 0
    assert content(running.port) == records


@pytest.mark.parametrize("flags", [
    ("--format", "binary", "--size-type", "u64", "--big-endian"),
    ("--format", "binary", "--size-type", "varint"),
    ("--format", "text", "--separator", "tab"),
    ("--format", "text", "--separator", ","),
])
def test_variants_of_data_files(run_tarn, server, tmp_path, flags):
    """A dump in any variant is a data file that is served."""
    running, path = server(None), tmp_path / "dump"
    records = {key: value for key, value in LINES.items() if b"," not in key}
    fill(running.port, records)
    assert run_tarn("dump", where(running.port), *flags, "--output", path).status == 0
    assert run_tarn("load", tmp_path / "store", *flags, path).status == 0
    dumped = run_tarn("dump", tmp_path / "store")
    assert parse_json(dumped.out_bytes) == records
    serving = server(path, *flags)
    assert content(serving.port) == records


def test_a_data_file_is_dumped(run_tarn, data_file):
    records = plain_records(500) + [(b"k\x00\xff", b"")]
    data = data_file("binary", records)
    dumped = run_tarn("dump", data.path)
    assert dumped.status == 0 and parse_json(dumped.out_bytes) == \
        {key: (value, None) for key, value in records}
    refused = run_tarn("load", data.path, "-")
    assert refused.status == 2 and "immutable" in one_line(refused, "tarn load: ")


def test_to_and_from_redis(run_tarn, server, tmp_path):
    running = server(None)
    with beside_redis.running_redis(tmp_path) as redis:
        fill(redis, RECORDS)
        with resp.Connection(redis, timeout=TIMEOUT) as client:
            client.command("RPUSH", "a list", "x")
        refused = run_tarn("dump", where(redis))
        assert refused.status == 1
        assert 'record "a list": it is no string' in one_line(refused, "tarn dump: ")
        dumped = run_tarn("dump", where(redis), "--skip")
        assert dumped.status == 0 and "1 record was left out" in dumped.err
        assert parse_json(dumped.out_bytes) == RECORDS
        assert run_tarn("load", where(running.port), input=dumped.out_bytes, stdin=None).status == 0
        assert content(running.port) == RECORDS
        flush(redis)
        dumped = run_tarn("dump", where(running.port), "--format", "cbor")
        assert run_tarn("load", where(redis), "--format", "cbor", input=dumped.out_bytes,
                        stdin=None).status == 0
        assert content(redis) == RECORDS


def test_from_server_to_server_by_a_pipe(tarn, server):
    one, two = server(None), server(None)
    fill(one.port, RECORDS)
    dump = subprocess.Popen([tarn, "dump", where(one.port)], stdout=subprocess.PIPE,
                            env=environment())
    load = subprocess.Popen([tarn, "load", where(two.port)], stdin=dump.stdout,
                            stdout=subprocess.PIPE, env=environment())
    dump.stdout.close()
    out, _ = load.communicate(timeout=TIMEOUT)
    assert load.returncode == 0 and dump.wait(TIMEOUT) == 0
    assert ("%d records" % len(RECORDS)).encode() in out
    assert content(two.port) == RECORDS


def test_many_records(run_tarn, server, tmp_path):
    """More than any batch, so that batches overlap; the counts are those of the file."""
    running = server(None)
    assert run_tarn("gen", "--count", 50000, tmp_path / "a").status == 0
    loaded = run_tarn("load", where(running.port), "--format", "text", tmp_path / "a")
    assert loaded.status == 0 and "50,000 records" in loaded.out
    assert running.command("DBSIZE") == 50000
    dumped = run_tarn("dump", where(running.port), "--format", "text")
    assert sorted(dumped.out_bytes.splitlines()) == \
        sorted((tmp_path / "a").read_bytes().splitlines())


def test_expired_records(run_tarn, server, tmp_path):
    """An expiry that has passed deletes; other keys of the target stay."""
    running = server(None)
    fill(running.port, {b"a": (b"1", None), b"b": (b"2", None), b"c": (b"3", None)})
    dump = b'{"key":"a","value":"new","expire_ms":1}\n{"key":"b","value":"new"}\n'
    assert run_tarn("load", where(running.port), input=dump, stdin=None).status == 0
    assert content(running.port) == {b"b": (b"new", None), b"c": (b"3", None)}
    (tmp_path / "dump").write_bytes(dump)
    assert run_tarn("load", tmp_path / "store", tmp_path / "dump").status == 0
    assert parse_json(run_tarn("dump", tmp_path / "store").out_bytes) == {b"b": (b"new", None)}


# --- other programs ---

@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
def test_jq_reads_and_writes(run_tarn, server):
    running = server(None)
    fill(running.port, {key: value for key, value in RECORDS.items() if len(value[0]) < 1000})
    dumped = run_tarn("dump", where(running.port))
    jq = subprocess.run(["jq", "-c", "."], input=dumped.out_bytes, stdout=subprocess.PIPE,
                        timeout=TIMEOUT, check=True)
    before = content(running.port)
    flush(running.port)
    assert run_tarn("load", where(running.port), input=jq.stdout, stdin=None).status == 0
    assert content(running.port) == before


def test_json_as_others_write_it(run_tarn, server):
    running = server(None)
    lines = [
        ' { "value" : "v" , "key" : "spaces" } ',
        '{"expire_ms":%d,"key":"order","value":"v"}' % FAR,
        "",
        '{"key":"\\u043a\\u043b\\ud83d\\udd11","value":"\\u0000\\/"}',
        '{"key_base64":"a2V5","value_base64":""}',
        '\t{"key":"last","value":"no newline"}\r',
    ]
    finished = run_tarn("load", where(running.port), input="\n".join(lines).encode(), stdin=None)
    assert finished.status == 0 and "5 records" in finished.out
    assert content(running.port) == {
        b"spaces": (b"v", None), b"order": (b"v", FAR),
        "кл\U0001f511".encode(): (b"\0/", None), b"key": (b"", None),
        b"last": (b"no newline", None)}
    for dump in (b"", b"\n\n \n"):
        finished = run_tarn("load", where(running.port), input=dump, stdin=None)
        assert finished.status == 0 and "0 records" in finished.out


def test_cbor_as_others_write_it(run_tarn, server):
    running = server(None)
    dump = (b"\xa2" b"\x65value" b"\x61v" b"\x63key" b"\x64text"  # text for bytes, other order
            b"\xb8\x02" b"\x63key" b"\x59\x00\x01k" b"\x65value" b"\x5a\x00\x00\x00\x00")  # long forms
    finished = run_tarn("load", where(running.port), "--format", "cbor", input=dump, stdin=None)
    assert finished.status == 0, repr(finished)
    assert content(running.port) == {b"text": (b"v", None), b"k": (b"", None)}


# --- what cannot be written ---

@pytest.mark.parametrize("name,record,why", [
    ("text", (b"bad key", b"v", None), "separator"),
    ("text", (b"bad\nkey", b"v", None), "key has a newline"),
    ("text", (b"bad", b"v\n", None), "value has a newline"),
    ("text", (b"bad", b"v", FAR), "expiry"),
    ("binary", (b"bad", b"v", FAR), "expiry"),
    ("u16", (b"bad", b"v" * 65536, None), "65,535 bytes"),
])
def test_what_a_format_cannot_hold(run_tarn, server, tmp_path, name, record, why):
    running, path = server(None), tmp_path / "dump"
    flags = ["--format", "binary", "--size-type", "u16"] if name == "u16" else ["--format", name]
    fill(running.port, {b"good": (b"v", None), record[0]: record[1:]})
    path.write_bytes(b"old")
    for more in ((), ("--output", path, "--force")):
        refused = run_tarn("dump", where(running.port), *flags, *more)
        error = one_line(refused, "tarn dump: record \"bad")
        assert refused.status == 1 and why in error and "--skip" in error
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["dump"]
    finished = run_tarn("dump", where(running.port), *flags, "--output", path, "--force", "--skip")
    assert finished.status == 0 and "1 record was left out" in one_line(finished, "tarn dump: ")
    held = encode("text" if name == "text" else "binary", [(b"good", b"v")])
    if name == "u16":
        held = b"\x04\0good\x01\0v"
    assert path.read_bytes() == held


def test_an_existing_file_is_kept(run_tarn, server, tmp_path):
    running, path = server(None), tmp_path / "dump"
    path.write_bytes(b"old")
    refused = run_tarn("dump", where(running.port), "--output", path)
    assert refused.status == 1 and "--force" in one_line(refused, "tarn dump: ")
    assert path.read_bytes() == b"old"
    os.symlink("nowhere", tmp_path / "link")
    assert run_tarn("dump", where(running.port), "--output", tmp_path / "link").status == 1
    assert run_tarn("dump", where(running.port), "--output", tmp_path).status == 1
    assert run_tarn("dump", where(running.port), "--output", path, "--force").status == 0
    assert path.read_bytes() == b""


# --- what cannot be read ---

MALFORMED_JSON = [
    (b"x", "expected an object at byte 0"),
    (b"[]", "expected an object"),
    (b"{}", "expected a string at byte 1"),
    (b'{"key":"k"}', "no value"),
    (b'{"value":"v"}', "no key"),
    (b'{"key":"k","value":"v"', "object without end"),
    (b'{"key":"k","value":"v"} {}', "something behind the object at byte 24"),
    (b'{"key":"k","value":"v","more":1}', "unknown name at byte 23"),
    (b'{"key":"k","key":"k","value":"v"}', "second time"),
    (b'{"key":"k","key_base64":"aw==","value":"v"}', "second time"),
    (b'{"key":1,"value":"v"}', "expected a string at byte 7"),
    (b'{"key":"k","value":null}', "expected a string"),
    (b'{"key":"k\xff","value":"v"}', "not UTF-8"),
    (b'{"key":"\\ud800","value":"v"}', "bad escape"),
    (b'{"key":"a\tb","value":"v"}', "control character at byte 9"),
    (b'{"key_base64":"a","value":"v"}', "malformed base64"),
    (b'{"key":"k","value":"v","expire_ms":0}', "milliseconds since 1970"),
    (b'{"key":"k","value":"v","expire_ms":-5}', "milliseconds since 1970"),
    (b'{"key":"k","value":"v","expire_ms":1.5}', "milliseconds since 1970"),
    (b'{"key":"k","value":"v","expire_ms":"1"}', "milliseconds since 1970"),
    (b'{"key":"k","value":"v","expire_ms":99999999999999999999}', "milliseconds since 1970"),
    (b'{"key":"' + b"k" * 65536 + b'","value":"v"}', "longer than"),
    (b'{"key":"k", "expire_ms_base64":"MQ==","value":"v"}', "unknown name"),
]


@pytest.mark.parametrize("line,why", MALFORMED_JSON)
def test_malformed_json(run_tarn, server, tmp_path, line, why):
    """It is named by its line; the records before it are stored in a server, in a directory none."""
    running, path = server(None), tmp_path / "dump"
    path.write_bytes(b'{"key":"a","value":"1"}\n\n' + line + b'\n{"key":"b","value":"2"}\n')
    for target in (where(running.port), tmp_path / "store"):
        refused = run_tarn("load", target, path)
        error = one_line(refused, "tarn load: %s: line 3: " % path)
        assert refused.status == 1 and why in error, error
    assert content(running.port) == {b"a": (b"1", None)}
    assert "1 record before it is stored" in run_tarn("load", where(running.port), path).err
    dumped = run_tarn("dump", tmp_path / "store")
    assert dumped.status == 0 and dumped.out == ""


GOOD_CBOR = b"\xa2\x63key\x41k\x65value\x41v"


@pytest.mark.parametrize("data,why", [
    (b"\x00", "expected a map"),
    (b"\xa1\x63key\x41k", "expected a map"),
    (b"\xbf\x63key\x41k\x65value\x41v\xff", "expected a map"),
    (b"\xa2\x63key\x41k\x63key\x41k", "second time at byte 26"),
    (b"\xa2\x63key\x01\x65value\x41v", "expected a byte string"),
    (b"\xa2\x63key\x5f\x41k\xff\x65value\x41v", "expected a byte string"),
    (b"\xa2\x63kex\x41k\x65value\x41v", "expected the text"),
    (b"\xa2\x43key\x41k\x65value\x41v", "expected the text"),
    (b"\xa3\x63key\x41k\x65value\x41v\x69expire_ms\x00", "milliseconds"),
    (b"\xa3\x63key\x41k\x65value\x41v\x69expire_ms\x20", "milliseconds"),
    (b"\xa2\x63key\x41k\x69expire_ms\x05", "no value"),
    (b"\xa2\x63key\x5a\x00\x01\x00\x00" + b"k" * 65536 + b"\x65value\x41v", "longer than"),
    (b"\xff", "expected a map"),
    (b"\x1c", "malformed CBOR"),
    (GOOD_CBOR[:-1], "the file ends inside it"),
    (GOOD_CBOR[:1], "the file ends inside it"),
    (b"\xa2\x63key\x5b\x00\x00\x00\xff\xff\xff\xff\xff", "the file ends inside it"),
])
def test_malformed_cbor(run_tarn, server, tmp_path, data, why):
    running, path = server(None), tmp_path / "dump"
    path.write_bytes(GOOD_CBOR + data)
    refused = run_tarn("load", where(running.port), "--format", "cbor", path)
    error = one_line(refused, "tarn load: %s: record 1 at byte %d: " % (path, len(GOOD_CBOR)))
    assert refused.status == 1 and why in error, error
    assert content(running.port) == {b"k": (b"v", None)}


def test_malformed_text_and_binary(run_tarn, server, tmp_path):
    running, path = server(None), tmp_path / "dump"
    path.write_bytes(b"a 1\nb\n")
    refused = run_tarn("load", where(running.port), "--format", "text", path)
    assert "record 1 at byte 4" in one_line(refused, "tarn load: %s: " % path)
    path.write_bytes(b"\1\0\0\0a\1\0\0\0" b"1\1\0\0\0b")
    refused = run_tarn("load", where(running.port), "--format", "binary", path)
    assert "record 1 at byte 10" in one_line(refused, "tarn load: %s: " % path)
    assert content(running.port) == {b"a": (b"1", None)}


def test_every_cut_of_a_dump(run_tarn, tmp_path):
    """A dump that was cut is refused, or its lines were whole: never a wrong record."""
    whole = {b"a": (b"1", None), b"\xff": (b"22", FAR)}
    (tmp_path / "json").write_bytes(
        b'{"key":"a","value":"1"}\n{"key_base64":"/w==","value":"22","expire_ms":%d}\n' % FAR)
    assert run_tarn("load", tmp_path / "store", tmp_path / "json").status == 0
    for name in ("json", "cbor"):
        dump = run_tarn("dump", tmp_path / "store", "--format", name).out_bytes
        for size in range(0, len(dump), 5):
            target = tmp_path / ("%s-%d" % (name, size))
            loaded = run_tarn("load", target, "--format", name, input=dump[:size], stdin=None)
            assert loaded.status in (0, 1)
            found = parse_json(run_tarn("dump", target).out_bytes)
            assert loaded.status == 0 or found == {}
            assert all(whole[key] == found[key] for key in found)


# --- servers that do not play along ---

def test_a_server_that_refuses(run_tarn, server):
    running = server(None, "--memory", "64M")
    lines = b"".join(b'{"key":"%d","value":"%s"}\n' % (i, b"v" * 20000) for i in range(4000))
    refused = run_tarn("load", where(running.port), input=lines, stdin=None)
    error = one_line(refused, "tarn load: standard input: line ")
    line = int(re.search(r"line (\d+)", error)[1])
    assert refused.status == 1 and "OOM" in error
    assert "%s records before it are stored" % format(line - 1, ",") in error
    assert running.command("EXISTS", *range(line - 1)) == line - 1
    assert running.command("EXISTS", line - 1) == 0


def test_an_immutable_server(run_tarn, text_server):
    refused = run_tarn("load", where(text_server.port), input=b'{"key":"k","value":"v"}',
                       stdin=None)
    assert refused.status == 1 and "READONLY" in one_line(refused, "tarn load: ")


def test_password(run_tarn, server, tmp_path):
    running = server(None, "--password", "secret")
    refused = run_tarn("dump", where(running.port))
    assert refused.status == 1 and "--password" in one_line(refused, "tarn dump: ")
    assert run_tarn("load", where(running.port), "--password", "wrong", input=b"",
                    stdin=None).status == 1
    (tmp_path / "password").write_text("secret\n")
    assert run_tarn("load", where(running.port), "--password", "secret",
                    input=b'{"key":"k","value":"v"}', stdin=None).status == 0
    dumped = run_tarn("dump", where(running.port), "--password-file", tmp_path / "password")
    assert parse_json(dumped.out_bytes) == {b"k": (b"v", None)}


def test_no_server(run_tarn, tmp_path):
    for command in ("dump", "load"):
        refused = run_tarn(command, "localhost:1")
        assert refused.status == 1 and "tarn serve" in one_line(refused, "tarn %s: " % command)
        refused = run_tarn(command, "http://localhost:1")
        assert refused.status == 2 and "RESP" in one_line(refused, "tarn %s: " % command)
    for path in (tmp_path / "nothing", tmp_path):
        refused = run_tarn("dump", path)
        assert refused.status == 1 and "there is no store" in one_line(refused, "tarn dump: ")
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("flags", [("--format", "yaml"), ("--separator", ","),
                                   ("--format", "json", "--size-type", "u16"),
                                   ("--format", "binary", "--separator", ","),
                                   ("--format", "cbor", "--big-endian")])
def test_flags_that_do_not_go_together(run_tarn, flags):
    for command in ("dump", "load"):
        refused = run_tarn(command, "localhost:1", *flags)
        assert refused.status == 2, repr(refused)
        one_line(refused, "tarn %s: " % command)


def test_a_directory_in_use(run_tarn, server, tmp_path):
    server(None, "--dir", tmp_path / "store")
    for command in (("dump",), ("load",)):
        refused = run_tarn(*command, tmp_path / "store")
        assert refused.status == 1
        assert "another process" in one_line(refused, "tarn %s: " % command[0])


# --- people ---

def test_progress(tarn, server, tmp_path):
    running = server(None)
    path, out = tmp_path / "data", tmp_path / "dump"
    subprocess.run([tarn, "gen", "--count", "200000", str(path)], check=True,
                   stdout=subprocess.DEVNULL)
    status, text = Terminal([tarn, "load", where(running.port), "--format", "text", path]).finish()
    assert status == 0 and b"200,000 records" in text
    terminal = Terminal([tarn, "dump", where(running.port), "--output", out])
    status, text = terminal.finish()
    assert status == 0 and b"200,000 records" in text
    assert b"\rreading keys  [" in terminal.drawn and terminal.drawn.endswith(b"\r\x1b[K")


def test_interrupted(tarn, server, tmp_path):
    """Stopped by a signal a dump leaves no file, and says by its exit status what it was."""
    running = server(None)
    with running.connect() as client:
        for start in range(0, 300000, 1000):
            client.pipeline([("SET", i, "v" * 20) for i in range(start, start + 1000)])
    out = tmp_path / "dump"
    terminal = Terminal([tarn, "dump", where(running.port), "--output", out])
    while b"reading keys" not in terminal.drawn and terminal.read():
        pass
    terminal.process.send_signal(signal.SIGINT)
    status, _ = terminal.finish()
    if status != 0:  # it was not done before
        assert status == 128 + signal.SIGINT and os.listdir(tmp_path) == []


def test_standard_output_that_is_full(tarn, server):
    running = server(None)
    fill(running.port, {b"k": (b"v" * (1 << 20), None)})
    with open("/dev/full", "wb") as full:
        finished = subprocess.run([tarn, "dump", where(running.port)], stdout=full,
                                  stderr=subprocess.PIPE, env=environment(), timeout=TIMEOUT)
    assert finished.returncode == 1 and b"No space left" in finished.stderr
