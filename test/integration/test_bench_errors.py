"""Goal: bad options, unreachable servers and servers that misbehave give tarn bench one clear line,
an exit status that is not 0, and keep what was measured until then, marked as partial.

Method: the real program against servers written here that fail in one way each (bench_servers).
"""
import json
import os
import re

import pytest

import conftest
from bench_program import keys_of
from bench_servers import Close, RawServer, RespServer

TARGET = ("--connect", "127.0.0.1:1")
FEW = ("--records", 100, "--requests", 1000, "--connections", 4)


def one_line(finished):
    """stderr is exactly one line of tarn bench."""
    assert finished.err.endswith("\n") and finished.err.count("\n") == 1, repr(finished)
    assert finished.err.startswith("tarn bench: "), repr(finished)
    return finished.err


# --- options ---

@pytest.mark.parametrize("args, text", [
    ((), "--connect"),
    (("--connect", "127.0.0.1:1", "--http", "http://127.0.0.1:1/"), "--http"),
    (("--memcached", "127.0.0.1:1", "--embedded", "none"), "--embedded"),
    (TARGET + ("--frobnicate",), "--frobnicate"),
    (TARGET + ("--conections", "5"), "did you mean --connections?"),
    (TARGET + ("word",), "word"),
    (TARGET + ("--requests",), "needs a value"),
    (TARGET + ("--requests", "many"), "--requests"),
    (TARGET + ("--requests", "-1"), "--requests"),
    (TARGET + ("--duration", "10 bananas"), "--duration"),
    (TARGET + ("--duration", "0"), "--duration"),
    (TARGET + ("--workload", "g"), "--workload"),
    (TARGET + ("--distribution", "normal"), "--distribution"),
    (TARGET + ("--workload", "mixed", "--read-ratio", "1.1"), "--read-ratio"),
    (TARGET + ("--workload", "mixed", "--read-ratio", "nan"), "--read-ratio"),
    (TARGET + ("--read-ratio", "0.5"), "--workload mixed"),
    (TARGET + ("--missing-ratio", "2"), "--missing-ratio"),
    (TARGET + ("--missing-ratio", "-0.1"), "--missing-ratio"),
    (TARGET + ("--theta", "100"), "--theta"),
    (TARGET + ("--value-size", "9-5"), "--value-size"),
    (TARGET + ("--key-size", "0"), "--key-size"),
    (TARGET + ("--key-size", "2", "--records", "1M"), "key"),
    (TARGET + ("--connections", "0"), "--connections"),
    (TARGET + ("--pipeline", "0"), "--pipeline"),
    (TARGET + ("--threads", "0"), "--threads"),
    (TARGET + ("--threads", "9", "--connections", "8"), "--threads"),
    (TARGET + ("--arrival", "burst"), "--rate"),
    (TARGET + ("--poisson",), "--rate"),
    (TARGET + ("--overload", "1.5"), "--rate"),
    (TARGET + ("--rate", "-5"), "--rate"),
    (TARGET + ("--rate", "inf"), "--rate"),
    (TARGET + ("--rate", "100", "--find-peak"), "--find-peak"),
    (TARGET + ("--rate", "100", "--overload", "0.5"), "--overload"),
    (TARGET + ("--requests", "5", "--duration", "5s"), "--duration"),
    (TARGET + ("--keys-from", "x", "--records", "5"), "--keys-from"),
    (TARGET + ("--keys-from", "x", "--workload", "d"), "--keys-from"),
    (TARGET + ("--plot", "picture.gif"), ".svg"),
    (TARGET + ("--plot", "picture"), ".svg"),
    (TARGET + ("--password", "a", "--password-file", "b"), "--password-file"),
    (("--connect", "127.0.0.1"), "127.0.0.1"),
    (("--connect", "127.0.0.1:70000"), "70000"),
    (("--connect", "127.0.0.1:1,,127.0.0.1:2"), "--connect"),
    (("--http", "https://127.0.0.1/"), "http"),
    (("--http", "ftp://127.0.0.1/"), "http"),
    (("--http", "http://127.0.0.1:1", "--batch", "5"), "--batch"),
    (("--memcached", "127.0.0.1:1", "--workload", "e"), "scan"),
    (("--http", "http://127.0.0.1:1", "--workload", "e"), "scan"),
], ids=lambda a: " ".join(a)[:70] if isinstance(a, tuple) else "")
def test_wrong_options(run_tarn, tmp_path, args, text):
    """Catches: an option that is taken and ignored; a combination that silently measures something
    else."""
    finished = run_tarn("bench", *args, cwd=tmp_path)
    assert finished.status == 2 and finished.out == "", repr(finished)
    assert text in one_line(finished), repr(finished)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("option, name", [("--json", "no/such/place/result.json"),
                                          ("--csv", "no/such/place/result.csv"),
                                          ("--plot", "no/such/place/result.svg"),
                                          ("--json", ".")])
def test_unwritable_results_are_noticed_first(run_tarn, fake, tmp_path, option, name):
    """Catches: a minute's measurement that is thrown away at its end."""
    server = fake(RespServer)
    finished = run_tarn("bench", "--connect", server.address, option, name, *FEW, cwd=tmp_path)
    assert finished.status == 1 and finished.out == "", repr(finished)
    assert name in one_line(finished)
    assert server.count == 0
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("option", ["--keys-from", "--embedded", "--password-file"])
def test_unreadable_files(run_tarn, tmp_path, option):
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "letter").write_text("not a store's")
    for name in ("missing", "directory"):
        path = str(tmp_path / name)
        args = ("--embedded", path) if option == "--embedded" else TARGET + (option, path)
        finished = run_tarn("bench", *args)
        assert finished.status == 1 and finished.out == "", repr(finished)
        assert path in one_line(finished)


def test_a_data_file_that_is_broken(run_tarn, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"key value\n" * 1000 + b"oops\n" + b"key value\n" * 1000)
    (tmp_path / "empty.txt").write_bytes(b"")
    for name, text in (("bad.txt", "record 1000"), ("empty.txt", "no ")):
        for args in (("--embedded",), TARGET + ("--keys-from",)):
            finished = run_tarn("bench", *args, tmp_path / name)
            assert finished.status == 1 and finished.out == "", repr(finished)
            assert name in one_line(finished) and text in finished.err, repr(finished)


# --- servers that cannot be used ---

@pytest.mark.parametrize("flag, form", [("--connect", "%s"), ("--http", "http://%s"),
                                        ("--memcached", "%s")])
def test_unreachable_server(bench, flag, form):
    address = "127.0.0.1:%d" % conftest.free_port()
    result = bench(flag, form % address, *FEW, status=1)
    assert address in one_line(result.finished) and result.finished.out == ""
    assert "refused" in result.finished.err


def test_one_of_several_servers_is_unreachable(bench, fake):
    """Catches: a server that is left out in silence."""
    address = "127.0.0.1:%d" % conftest.free_port()
    server = fake(RespServer)
    result = bench("--connect", server.address + "," + address, *FEW, status=1)
    assert address in one_line(result.finished) and server.address not in result.finished.err


def test_unknown_host(bench):
    result = bench("--connect", "host.invalid:6379", *FEW, status=1)
    assert "host.invalid" in one_line(result.finished)


def test_server_closes_at_once(bench, fake):
    server = fake(RawServer, None)
    result = bench("--connect", server.address, *FEW, status=1)
    assert server.address in one_line(result.finished)
    assert "closed" in result.finished.err and result.finished.out == ""


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\x1b[31m\r\n",
                                  b"+PONG", b"$99999999999999\r\n", b"*1\r\n+PONG\r\n"])
def test_not_this_protocol(bench, fake, says):
    """Also one that never ends its answer. Catches: bytes of a peer that reach the terminal as they
    are, or that are waited for without end."""
    server = fake(RawServer, says)
    result = bench("--connect", server.address, "--timeout", "300ms", *FEW, status=1)
    line = one_line(result.finished)
    assert server.address in line and re.fullmatch(r"[ -~]+\n", line)
    assert result.finished.out == ""


def test_silent_server(bench, fake):
    """Catches: a wait without end for the opening exchange."""
    server = fake(RawServer, b"")
    result = bench("--connect", server.address, "--timeout", "300ms", *FEW, status=1)
    assert server.address in one_line(result.finished)


# --- passwords ---

@pytest.mark.parametrize("flags, words", [((), "NOAUTH"), (("--password", "wrong"), "WRONGPASS")])
def test_password_missing_or_wrong(bench, fake, flags, words):
    """Catches: a thousand refusals measured as if they were answers."""
    server = fake(RespServer, password="secret")
    result = bench("--connect", server.address, *flags, *FEW, status=1)
    line = one_line(result.finished)
    assert words in line and server.address in line and result.finished.out == ""
    assert server.count == 0


def test_password(bench, fake, tmp_path):
    """Catches: a line end that becomes part of the password; a password in what is written."""
    server = fake(RespServer, password="secret")
    (tmp_path / "password").write_text("secret\n")
    for flags in (("--password", "secret"), ("--password-file", tmp_path / "password")):
        result = bench("--connect", server.address, *flags, *FEW, "--load")
        assert result.hits == 1000
        with open(result.path) as f:
            assert "secret" not in f.read()
        assert "secret" not in result.finished.out
    other = fake(RespServer)
    result = bench("--connect", other.address, "--password", "secret", *FEW, status=1)
    assert "without any password" in one_line(result.finished)


def test_password_of_a_real_server(bench, server, text_data):
    started = server(text_data, "--password", "secret")
    address = "127.0.0.1:%d" % started.port
    result = bench("--connect", address, *keys_of(text_data), "--requests", 100, status=1)
    assert "NOAUTH" in one_line(result.finished)
    result = bench("--connect", address, *keys_of(text_data), "--requests", 100,
                   "--password", "secret", "--verify")
    assert result.hits == 100 and result.wrong == 0


# --- servers that fail while they are measured ---

def partial(result):
    """The line on stderr of a run that ended early; its figures are there and marked."""
    assert result.complete is False and result.stopped
    assert "total_ops" in result.finished.out
    line = one_line(result.finished)
    assert result.stopped in line
    return line


def close_after(requests):
    def answer(server, connection, words):
        if words[0] == b"GET" and server.counts["GET"] > requests:
            raise Close()
    return answer


@pytest.mark.parametrize("loop", [(), ("--pipeline", 16), ("--rate", 20000), ("--threads", 2)],
                         ids=lambda f: "".join(map(str, f)) or "closed")
def test_server_closes_in_the_middle(bench, fake, loop):
    """Catches: figures that are lost, look complete, or count what was never answered."""
    server = fake(RespServer, answer=close_after(500))
    result = bench("--connect", server.address, *FEW, *loop, "--load", status=1)
    line = partial(result)
    assert server.address in line and "closed" in line and "unanswered" in line
    assert 0 < result.total_ops <= 500
    assert result.hits == result.total_ops


def test_server_closes_while_it_is_loaded(bench, fake):
    def answer(server, connection, words):
        if server.counts["SET"] > 50:
            raise Close()
    server = fake(RespServer, answer=answer)
    result = bench("--connect", server.address, *FEW, "--load", status=1)
    assert server.address in one_line(result.finished) and "closed" in result.finished.err


def test_server_gone_silent(bench, fake):
    """Catches: a run that never ends."""
    def answer(server, connection, words):
        return b"" if server.counts["GET"] > 300 else None
    server = fake(RespServer, answer=answer)
    result = bench("--connect", server.address, *FEW, "--timeout", "400ms", "--load", status=1)
    line = partial(result)
    assert server.address in line and "silent" in line
    assert result.total_ops <= 300 and result.lost > 0


@pytest.mark.parametrize("bad", [b"garbage\r\n", b":1\r\n", b"$-5\r\n",
                                 b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"$3\r\nabcdef\r\n",
                                 b"+OK\r\n+OK\r\n+OK\r\n"])
def test_garbage_in_the_middle(bench, fake, bad):
    """Catches: an answer of another kind that is taken for a value."""
    def answer(server, connection, words):
        return bad if server.counts["GET"] == 400 else None
    server = fake(RespServer, answer=answer)
    result = bench("--connect", server.address, *FEW, "--load", status=1)
    assert server.address in partial(result)
    assert result.total_ops < 1000


def test_more_answers_than_requests(bench, fake):
    def answer(server, connection, words):
        return b"$1\r\na\r\n$1\r\nb\r\n" if server.counts["GET"] == 400 else None
    server = fake(RespServer, answer=answer)
    result = bench("--connect", server.address, *FEW, "--load", status=1)
    assert server.address in partial(result)


# --- errors that are answers ---

def test_errors_always(bench, fake):
    """Catches: refusals that count as operations, and an exit status that says all went well."""
    server = fake(RespServer, answer=lambda server, connection, words:
                  b"-ERR out of \x1b[31morder\r\n" if words[0] == b"GET" else None)
    result = bench("--connect", server.address, *FEW, "--load", status=1)
    assert result.total_ops == 0 and result.errors == 1000 and result.hits == 0
    texts = result.error_texts
    assert sum(texts.values()) == 1000 and len(texts) == 1
    (text,) = texts
    assert text.startswith("ERR out of ") and "\x1b" not in text
    assert "ERR out of " in result.finished.out and "\x1b" not in result.finished.out
    assert result.complete is True
    one_line(result.finished)


def test_errors_sometimes_counted_by_text(bench, fake):
    """Every tenth is refused with one text, every hundredth with another. Catches: one count for
    all texts, errors among the operations."""
    def answer(server, connection, words):
        number = server.counts["GET"]
        if words[0] == b"GET" and number % 100 == 0:
            return b"-LOADING the data set\r\n"
        return b"-BUSY with others\r\n" if words[0] == b"GET" and number % 10 == 0 else None
    server = fake(RespServer, answer=answer)
    result = bench("--connect", server.address, *FEW, "--pipeline", 8, "--load", status=1)
    assert result.error_texts == {"LOADING the data set": 10, "BUSY with others": 90}
    assert result.errors == 100 == sum(point["errors"] for point in result.series)
    assert result.total_ops == result.hits == 900
    assert "LOADING the data set" in result.finished.out
    one_line(result.finished)


def test_very_many_error_texts(bench, fake):
    """Catches: memory that a server's imagination fills; errors that are lost from the sum."""
    server = fake(RespServer, answer=lambda server, connection, words:
                  b"-ERR number %d\r\n" % server.count if words[0] == b"GET" else None)
    result = bench("--connect", server.address, *FEW, "--load", status=1)
    assert result.errors == 1000
    assert 1 <= len(result.error_texts) <= 16
    assert sum(result.error_texts.values()) + result.error_texts_other == 1000


def test_refused_writes_of_a_read_modify_write(bench, fake):
    """Catches: an operation counted at its first step, or twice."""
    def answer(server, connection, words):
        return b"-READONLY\r\n" if words[0] == b"SET" and server.counts["GET"] else None
    server = fake(RespServer, answer=answer)
    result = bench("--connect", server.address, *FEW, "--workload", "f", "--load", status=1)
    assert result.total_ops + result.errors == 1000
    assert result.errors == server.counts["SET"] - 100 and 350 < result.errors < 650
    assert result.error_texts == {"READONLY": result.errors}


def test_load_that_is_refused(bench, server, text_data):
    """tarn's own server is read-only over RESP: loading it must fail, not measure misses."""
    started = server(text_data)
    result = bench("--connect", "127.0.0.1:%d" % started.port, *FEW, "--load", status=1)
    line = one_line(result.finished)
    assert "127.0.0.1:%d" % started.port in line or "load" in line


def test_result_survives_as_valid_json(bench, fake):
    """Texts of a server are any bytes. Catches: JSON that no parser takes."""
    server = fake(RespServer, answer=lambda server, connection, words:
                  b"-ERR \"quoted\\\" \xff\xfe \x01 \xc3\xa4\r\n" if words[0] == b"GET" else None)
    result = bench("--connect", server.address, *FEW, "--load", status=1)
    with open(result.path, encoding="utf-8", errors="strict") as f:
        json.load(f)
