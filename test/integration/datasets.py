"""Deterministic data sets for the tests: records, and data files made of them.

A Dataset knows its file, its format and its records in order, so that a test can ask for any key
and know the answer. Nothing here depends on the program under test.
"""
import hashlib
import os
import struct
import uuid


class Dataset:
    """path: the data file. kind: "text" or "binary". records: list of (key, value), in file order.
    flags: the command-line flags without which the format would not be detected: text with NUL
    bytes in it must be called text."""

    def __init__(self, path, kind, records):
        self.path = str(path)
        self.kind = kind
        self.records = list(records)
        self.answers = dict(self.records)  # last wins, as tarn does by default
        nul_in_text = kind == "text" and any(b"\0" in key + value for key, value in self.records)
        self.flags = ["--format", "text"] if nul_in_text else []

    def write(self):
        """(Re)write the file in place of an older one: a new inode, like a deployment does."""
        data = encode(self.kind, self.records)
        temporary = self.path + ".new"
        with open(temporary, "wb") as f:
            f.write(data)
        os.rename(temporary, self.path)
        return self

    def __getitem__(self, key):
        return self.answers[key]

    def __len__(self):
        return len(self.answers)

    def keys(self):
        return list(self.answers)


def encode(kind, records):
    if kind == "text":
        for key, value in records:
            assert b"\n" not in key + value and b" " not in key and b"\t" not in key
        return b"".join(key + b" " + value + b"\n" for key, value in records)
    return b"".join(struct.pack("<I", len(key)) + key + struct.pack("<I", len(value)) + value
                    for key, value in records)


def printable(seed, size):
    """size printable bytes that depend on seed only, without long repetitions."""
    out, count = [], 0
    while sum(map(len, out)) < size and count < 4096:
        out.append(hashlib.sha256(b"%s %d" % (seed.encode(), count)).hexdigest().encode())
        count += 1
    block = b"".join(out)
    return (block * (size // len(block) + 1))[:size]


def uuid_key(number):
    return str(uuid.UUID(bytes=hashlib.md5(b"key %d" % number).digest())).encode()


def plain_records(count, generation=0):
    """count UUID keys; the value tells the key's number and the generation of the file."""
    return [(uuid_key(i), b"value %d of generation %d" % (i, generation)) for i in range(count)]


BIG_20K = (b"big:20k", printable("20k", 20 * 1024))
BIG_1M = (b"big:1m", printable("1m", 1 << 20))
BIG_10M = (b"big:10m", printable("10m", 10 << 20))
BIG_RECORDS = [BIG_20K, BIG_1M, BIG_10M]

# What a text file can hold and careless code gets wrong.
NASTY_TEXT_RECORDS = [
    (b"", b"value of the empty key"),
    (b"empty-value", b""),
    (b"value-is-a-space", b" "),
    (b"value-with-separators", b"one two\tthree  four "),
    (b"value-ends-in-cr", b"carriage return\r"),
    (b"\r", b"key is a carriage return"),
    (b"value-with-nul", b"a\0b"),
    (b"nul\0in\0key", b"nul in key"),
    (b"\xff\xfe\x80", b"\xff\xfe not UTF-8 \x80"),
    ("schlüssel-日本語-🔑".encode(), "wert-値-💎".encode()),
    (b"percent%2Fencoded%00", b"percent"),
    (b"a/b/../c?d=e&f=g#h", b"path and query"),
    (b"+plus+", b"plus is not a space"),
    (b"\"quoted\"'single'", b"\"quotes\" in 'value' \\ \\x41"),
    (b"*glob?[a-z]\\", b"glob characters"),
    (b"-ERR", b"-ERR not an error"),
    (b"$-1", b"$-1"),
    (b"*3", b"+OK"),
    (b"k" * 255, b"key of 255 bytes"),
    (b"k" * 256, b"key of 256 bytes"),
    (b"k" * 65535, b"longest key"),
    (b"number", b"1234567890"),
    (b"negative", b"-17"),
    (b"looks-like-a-header", b"[section] # comment ; other"),
]

# What only the binary format can hold.
_INNER = struct.pack("<I", 5) + b"inner" + struct.pack("<I", 5) + b"wrong"
NASTY_BINARY_RECORDS = NASTY_TEXT_RECORDS + [
    (b"key with spaces", b"spaces"),
    (b"key\nwith\r\nnewlines", b"value\nwith\r\nnewlines\n"),
    (b"\n", b"key is a newline"),
    (b"a record inside a value", _INNER),
    (b"many records inside a value", _INNER * 500),
    (b"all bytes", bytes(range(256)) * 3),
    (bytes(range(256)), b"key of all bytes"),
    (b"zeros", b"\0" * 5000),
]
