#!/usr/bin/env python3
"""Make test/lib/glob_table.h: what a running Redis 7 answers about patterns and texts.

    redis-server --port PORT --save '' &
    test/lib/make_glob_table.py PORT > test/lib/glob_table.h

The texts become keys and KEYS tells which of them a pattern matches. Matching that ignores case is
asked by FUNCTION LIST LIBRARYNAME, whose texts can hold letters, digits and '_' only. The server
is emptied. Patterns are written by hand where a rule is odd, and drawn from a seed otherwise.
"""
import random
import socket
import sys


class Client:
    def __init__(self, port):
        self.file = socket.create_connection(("127.0.0.1", port)).makefile("rwb")

    def __call__(self, *args):
        args = [a if isinstance(a, bytes) else a.encode() for a in args]
        self.file.write(b"*%d\r\n" % len(args))
        for a in args:
            self.file.write(b"$%d\r\n%s\r\n" % (len(a), a))
        self.file.flush()
        return self.reply()

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2] if int(rest) >= 0 else None
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return rest


HAND = rb"""
* ** *** a* *a *a* a? ?a ? ?? ???? a*b a**b *a*b* a*b*c *ab*ab *?a* ?*a *?*? a b ab abc
[ [^ [] [^] [a [^a [ab [a- [a-] [a-b [a-b] [b-a] [-a] [a-c-e] [--a] [a-- []] []a] [^]a] [^^] [^^a]
[a^] [\ [\] [\]] [\]a] [\a-b] [a-\b] [a\-c] [\^a] [^\a] [a-\] [\a-\c] [a\ \ \\ \a a\ a\\ \* \? \[
\[a] [*] [?] [a*]b a[b]c a[^b]c a[bc a[^ a[ [a][b] [^a][^b] *[a] [a]* *[ab]*[ab] [a]*[ x[ *[ *[^
*\ *\\ [[] [[a] [a[] ]] ] ]a ^ ^a - a-b [z-a] [0-9] [a-z]* [A-Z]* [!-~] ?[ab]? [a]a [ab]b* **?** *?
""".split() + [
    b"", b"[a-\xff]", b"[\xff-a]", b"[\x80-\xff]", b"[\x00-\x7f]", b"[\x7f-\x80]", b"\xff",
    b"[\xfe-\xff]*", b"[^\x80-\xff]", b"a\x00b", b"[\x00]", b"*\x00*", b"[ -~]", b"\\\xff",
    b"*a*a*a*a*b", b"*b*a*b*a*", b"a*a*a*a*a*a", b"?*?*?*?", b"[^a]*[^b]", b"[\\", b"[^\\",
]
HAND_NOCASE = rb"""
A AB aB * a*B [A] [^A] [\A] [\a] [^\A] [A-C] [a-c] [C-A] [A-z] [a-Z] [Z-a] [z-A] [_-a] [A-_] [^A-C]
[Y-b] [@-`] [[-`] [B-\Z] [A-] [A \A \a [0-A] [0-z] *[A-C] [a-C]* [A-C-E] *A*B* ?B [\A-C] [Q-c] [Z-_]
""".split() + [b"[a-\xff]", b"[A-\xff]", b"[\xff-Z]", b"[\x00-Z]", b""]

TEXTS = rb"""
a b c ab ba aa bb abc aab aba abab aaab aaaaab abcabc - -a a- a-b ^ ^a ] ]a [ [a [] [a] a] \ \\ a\ \a
* ** a* ? a? a*b x[ x z Z A AB 0 9 ~ ! . aXb axxb axbxc aaaaaaa bababa abababab
""".split() + [b"", b"\xff", b"\x80", b"\x7f", b"\x00", b"a\x00b", b"\xff\xfe", b"a\xff", b" ",
               b"a b", b"\n", b"a\nb"]
TEXTS_NOCASE = rb"a b A B ab AB aB Ab abc ABC z Z y Y _ _a A_ 0 9 0A c C d Q q aXb AxxB m".split()


def random_patterns(seed, alphabet, count):
    draw = random.Random(seed)
    for _ in range(count):
        yield b"".join(draw.choice(alphabet) for _ in range(draw.randint(1, 8)))


def literal(data):
    return '"' + "".join(
        chr(c) if 32 <= c < 127 and chr(c) not in '"\\?' else "\\%03o" % c for c in data) + '"'


def emit(name, texts, rows):
    print("static const struct glob_text %s_texts[] = {" % name)
    for t in texts:
        print("    {%s, %d}," % (literal(t), len(t)))
    print("};\n\nstatic const struct glob_row %s_rows[] = {" % name)
    for pattern, matched in rows:
        answers = "".join("1" if t in matched else "0" for t in texts)
        print('    {{%s, %d}, "%s"},' % (literal(pattern), len(pattern), answers))
    print("};")


def unique(items):
    return list(dict.fromkeys(items))


def main():
    redis = Client(int(sys.argv[1]))
    redis("FLUSHALL")
    redis("FUNCTION", "FLUSH")
    texts = unique(TEXTS)
    for t in texts:
        redis("SET", t, "")
    alphabet = [b"a", b"b", b"c", b"*", b"*", b"?", b"[", b"[", b"]", b"^", b"-", b"-", b"\\",
                b"[a", b"-c]", b"\xff"]
    patterns = unique(HAND + list(random_patterns(1, alphabet, 240)))
    rows = [(p, set(redis("KEYS", p))) for p in patterns]

    nocase = unique(TEXTS_NOCASE)
    for i, t in enumerate(nocase):
        redis("FUNCTION", "LOAD",
              b"#!lua name=%s\nredis.register_function('f%d', function() end)" % (t, i))
    alphabet = [b"a", b"A", b"b", b"B", b"_", b"*", b"?", b"[", b"[", b"]", b"^", b"-", b"\\",
                b"Z", b"[A", b"-C]"]
    patterns = unique(HAND_NOCASE + list(random_patterns(2, alphabet, 120)))
    rows_nocase = [(p, {lib[1] for lib in redis("FUNCTION", "LIST", "LIBRARYNAME", p)})
                   for p in patterns]
    version = [line for line in redis("INFO", "SERVER").decode().split("\r\n")
               if line.startswith("redis_version")][0].split(":")[1]

    print("/* What Redis %s answers about patterns and texts. Made by make_glob_table.py; do not\n"
          " * edit. answers[i] is '1' if the pattern matches text i. */" % version)
    print("/* clang-format off */\n#ifndef LIB_GLOB_TABLE_H\n#define LIB_GLOB_TABLE_H\n")
    print("#include <stddef.h>\n")
    print("struct glob_text {\n    const char *data;\n    size_t size;\n};\n")
    print("struct glob_row {\n    struct glob_text pattern;\n    const char *answers;\n};\n")
    emit("glob", texts, rows)
    print()
    emit("glob_nocase", nocase, rows_nocase)
    print("\n#endif")


main()
