#!/usr/bin/env python3
"""Make the seeds of fuzz_index in corpus/index/ and of fuzz_lookup in corpus/lookup/: small data files
in every format, each with the index that the program builds for it, in the layout that
test/fuzz/fuzz_index.c and fuzz_lookup.c describe.

    make_index_seeds.py TARN        TARN: path of the program

Run it again after a change of the index's format."""

import os
import struct
import subprocess
import sys
import tempfile

FLAGS = {"counts": 1 | 2 | 4, "sums": 2 | 4, "none": 0}


def varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


FORMATS = {
    "text": (["--format", "text"], None),
    "comma": (["--format", "text", "--separator", ","], None),
    "u16": (["--format", "binary", "--size-type", "u16"], lambda n: struct.pack("<H", n)),
    "u32": (["--format", "binary", "--size-type", "u32"], lambda n: struct.pack("<I", n)),
    "u64be": (["--format", "binary", "--size-type", "u64", "--big-endian"],
              lambda n: struct.pack(">Q", n)),
    "varint": (["--format", "binary", "--size-type", "varint"], varint),
}

SETS = {
    "empty": [],
    "one": [(b"key", b"value")],
    "ten": [(b"k%d" % i, b"v" * i * 9) for i in range(10)],
    "twice": [(b"same", b"%d" % i) for i in range(5)] + [(b"", b""), (b"last", b"x" * 300)],
}


# Of data that stay on disk; the sets that have more than one block.
KINDS = {
    "": [],
    "-blocks": ["--granule", "512", "--fingerprint-bits", "2", "--memory", "64M"],
    "-pages": ["--granule", "512", "--layout", "pages", "--memory", "64M"],
}


def encode(name, size_of, records):
    if size_of is None:
        separator = b"," if name == "comma" else b" "
        return b"".join(k + separator + v + b"\n" for k, v in records)
    return b"".join(size_of(len(k)) + k + size_of(len(v)) + v for k, v in records)


LOOKUPS = {"u32": SETS["ten"] * 3, "text": SETS["ten"] + SETS["twice"], "varint": SETS["one"]}
LAYOUTS = {"blocks": ["--granule", "512"], "pages": ["--granule", "512", "--layout", "pages"],
           "tarn": ["--rewrite"]}


def lookup_seeds(program, directory):
    out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lookup")
    os.makedirs(out, exist_ok=True)
    for format_name, records in LOOKUPS.items():
        options, size_of = FORMATS[format_name]
        path = os.path.join(directory, "lookup-" + format_name)
        data = encode(format_name, size_of, records)
        with open(path, "wb") as f:
            f.write(data)
        for layout, flags in LAYOUTS.items():
            subprocess.run([program, "index", *options, *flags, path], check=True,
                           stdout=subprocess.DEVNULL)
            rewritten = layout == "tarn"
            with open(path + (".tarn" if rewritten else ".tarnidx"), "rb") as f:
                made = f.read()
            for fix in [2, 4 | 32] if rewritten else [2, 2 | 4 | 8 | 16]:
                head = bytes([fix | (32 if rewritten else 0)])
                parts = (made, b"") if rewritten else (data, made)
                seed = head + struct.pack("<H", len(parts[0])) + parts[0] + parts[1]
                with open(os.path.join(out, "%s-%s-%d" % (format_name, layout, fix)), "wb") as f:
                    f.write(seed)


def main():
    program = sys.argv[1]
    out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "index")
    os.makedirs(out, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        lookup_seeds(program, directory)
        for format_name, (options, size_of) in FORMATS.items():
            for set_name, records in SETS.items():
                data = encode(format_name, size_of, records)
                path = os.path.join(directory, format_name + "-" + set_name)
                with open(path, "wb") as f:
                    f.write(data)
                for kind, flags in KINDS.items():
                    if kind and set_name not in ("ten", "twice"):
                        continue
                    subprocess.run([program, "index", *options, *flags, path], check=True,
                                   stdout=subprocess.DEVNULL)
                    with open(path + ".tarnidx", "rb") as f:
                        index = f.read()
                    flag_names = list(FLAGS) if set_name == "ten" and not kind else ["sums"]
                    for flag_name in flag_names:
                        seed = (bytes([FLAGS[flag_name]]) + struct.pack("<H", len(data)) + data
                                + index)
                        name = "%s-%s%s-%s" % (format_name, set_name, kind, flag_name)
                        with open(os.path.join(out, name), "wb") as f:
                            f.write(seed)


main()
