"""Goal: a C program with hiredis works against tarn.

Method: compile hiredis_client.c and run it, with a small value and with one of 20 KB, which takes
the path of large replies; and hiredis_writer.c, against a writable store.
"""
import os
import shutil

import pytest

from conftest import run


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """compiled("hiredis_x.c") is the path of the program."""
    def make(source):
        compiler = os.environ.get("CC") or shutil.which("gcc") or "cc"
        program = tmp_path_factory.mktemp("hiredis") / "client"
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), source)
        done = run([compiler, "-std=gnu17", "-Wall", "-O1", "-o", program, source, "-lhiredis"])
        if done.status != 0 and "hiredis.h" in done.err and not os.environ.get("CI"):
            pytest.skip("libhiredis-dev is not installed")
        assert done.status == 0, done
        return program
    return make


@pytest.fixture(scope="module")
def hiredis_client(compiled):
    return compiled("hiredis_client.c")


@pytest.fixture(scope="module")
def hiredis_writer(compiled):
    return compiled("hiredis_writer.c")


@pytest.mark.parametrize("key", ["number", "big:20k", "empty-value"])
def test_hiredis(hiredis_client, text_server, text_data, tmp_path, key):
    value = tmp_path / "value"
    value.write_bytes(text_data[key.encode()])
    done = run([hiredis_client, text_server.port, key, value])
    assert done.status == 0, done


def test_hiredis_writes(hiredis_writer, server):
    done = run([hiredis_writer, server(None).port])
    assert done.status == 0, done
