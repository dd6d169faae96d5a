"""Goal: `tarn index` of data that stay on disk does what its flags say, within the memory it was given,
and a build that was stopped by a signal or killed goes on with the same command, to the same answers.

Method: the command itself: its output, exit status and files; builds interrupted while they run; what
`tarn inspect` says of the result.
"""
import os
import re
import signal
import subprocess
import time

import pytest

from conftest import sanitized

RECORDS = 300000


@pytest.fixture(scope="module")
def large(tmp_path_factory, tarn):
    """A file of 30 MB: path."""
    path = str(tmp_path_factory.mktemp("blocks") / "large.bin")
    subprocess.run([tarn, "gen", "--format", "binary", "--value-size", "60", "--count",
                    str(RECORDS), path], check=True, stdout=subprocess.DEVNULL)
    return path


@pytest.fixture
def data(large, tmp_path):
    path = str(tmp_path / "data.bin")
    os.link(large, path)
    return path


def left(path):
    directory, name = os.path.split(path)
    return sorted(n[len(name):] for n in os.listdir(directory)
                  if n.startswith(name) and n != name)


FLAGS = ["--memory", "24M", "--granule", "16K", "--fingerprint-bits", "3"]


def test_flags_and_what_inspect_says(run_tarn, data):
    done = run_tarn("index", *FLAGS, data)
    assert done.status == 0, done
    assert "300,000 keys in 300,000 records, 0 duplicates" in done.out
    assert "granules of 16384 bytes, fingerprints of 3 bits" in done.out
    assert done.err == ""  # no progress where there is no terminal
    assert left(data) == [".tarnidx"]
    # 31.2 MB / 16 KiB = 1905 blocks: 11 bits and 3, 2 + 4 bytes a block
    payload = RECORDS * 14 / 8
    assert payload < os.path.getsize(data + ".tarnidx") < payload * 1.015 + 1905 * 6 + 2000
    looked = run_tarn("inspect", data)
    assert "layout    blocks, granules of 16384 bytes, fingerprints of 3 bits" in looked.out
    assert "state     fresh" in looked.out
    assert re.search(r"memory    5\d\d\.\d kB while served from disk", looked.out), looked.out


def test_pages(run_tarn, data):
    done = run_tarn("index", "--memory", "24M", "--layout", "pages", data)
    assert done.status == 0, done
    assert "in pages" in done.out
    assert "layout    pages, granules of" in run_tarn("inspect", data).out


@pytest.mark.parametrize("layout", ["blocks", "pages"])
def test_verify(run_tarn, data, layout, tmp_path):
    path = str(tmp_path / "own.bin")
    with open(data, "rb") as f, open(path, "wb") as copy:
        copy.write(f.read(3120000))
    assert run_tarn("index", "--memory", "24M", "--layout", layout, path).status == 0
    done = run_tarn("verify", path)
    assert done.status == 0, done
    assert "30,000" in done.out and "sound" in done.out
    before = os.stat(path)
    with open(path, "r+b") as f:
        f.seek(2000000)
        byte = f.read(1)
        f.seek(2000000)
        f.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = run_tarn("verify", path)
    assert done.status == 1
    assert "own.bin" in done.err and "byte" in done.err


def test_auto(run_tarn, data):
    """Less memory than data: an index for data on disk; enough: one of bytes."""
    done = run_tarn("index", "--memory", "25M", data)
    assert done.status == 0, done
    assert "granules of" in done.out
    done = run_tarn("index", "--memory", "2G", data)
    assert done.status == 0, done
    assert "granules of" not in done.out


def test_temp_dir(run_tarn, data, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert run_tarn("index", *FLAGS, "--temp-dir", str(elsewhere), data).status == 0
    assert os.listdir(elsewhere) == []
    done = run_tarn("index", *FLAGS, "--temp-dir", str(tmp_path / "none"), data)
    assert done.status == 1
    assert "No such file" in done.err and "none" in done.err
    assert left(data) == [".tarnidx"]  # the one before


def test_memory_is_kept(tarn, data):
    """The most memory that the process has had, as often as can be looked."""
    child = subprocess.Popen([tarn, "index", *FLAGS, data], stdout=subprocess.DEVNULL)
    most = 0
    while child.poll() is None:
        try:
            with open("/proc/%d/status" % child.pid) as f:
                found = re.search(r"Name:\ttarn.*VmHWM:\s+(\d+) kB", f.read(), re.S)
        except OSError:
            continue
        if found:
            most = max(most, int(found.group(1)) << 10)
    assert child.returncode == 0
    assert sanitized() or most < 24 << 20


@pytest.mark.parametrize("flags, reason", [
    (["--memory", "10M", "--granule", "4K"], "are needed; raise --memory"),
    (["--memory", "1M"], "of memory are too little: --layout"),
    (["--granule", "1000"], "power of two"),
    (["--granule", "32M"], "power of two"),
    (["--fingerprint-bits", "17"], "0 to 16"),
    (["--layout", "pages", "--fingerprint-bits", "1"], "pages have none"),
    (["--layout", "rows"], "--layout"),
])
def test_refused(run_tarn, data, flags, reason):
    done = run_tarn("index", *flags, data)
    assert done.status in (1, 2)
    assert reason in done.err
    assert left(data) == []


def start_and_wait(tarn, path, wanted):
    """A build, once there is a file of this name beside the data; None if it was too fast."""
    child = subprocess.Popen([tarn, "index", *FLAGS, "--threads", "1", path],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not os.path.exists(path + wanted):
        if child.poll() is not None:
            return None
        time.sleep(0.0005)
    return child


@pytest.mark.parametrize("wanted", [".tarnidx.spill", ".tarnidx.state"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_goes_on(tarn, run_tarn, data, number, wanted):
    child = start_and_wait(tarn, data, wanted)
    if child is not None:
        child.send_signal(number)
        _, err = child.communicate()
        if number == signal.SIGINT and child.returncode != 0:
            assert child.returncode == 128 + signal.SIGINT
            assert b"goes on" in err
            assert b"\n" not in err[:-1]
        if number == signal.SIGKILL and child.returncode != 0:
            assert child.returncode == -signal.SIGKILL
    done = run_tarn("index", *FLAGS, "--threads", "1", data)
    assert done.status == 0, done
    assert "300,000 keys" in done.out
    assert left(data) == [".tarnidx"]


def test_two_builds_at_once(tarn, run_tarn, data):
    child = start_and_wait(tarn, data, ".tarnidx.spill")
    if child is None:
        pytest.skip("the build was too fast")
    child.send_signal(signal.SIGSTOP)
    done = run_tarn("index", *FLAGS, data)
    child.send_signal(signal.SIGCONT)
    child.communicate()
    assert child.returncode == 0
    assert done.status == 1 and "another build" in done.err or done.status == 0  # it had ended
    assert left(data) == [".tarnidx"]


def test_served_from_memory_keeps_the_file(tarn, run_tarn, server, data):
    """An index for data on disk is not replaced by one for data in memory."""
    assert run_tarn("index", *FLAGS, data).status == 0
    before = os.stat(data + ".tarnidx").st_mtime_ns
    running = server(data)
    with running.connect() as client:
        assert client.command("DBSIZE") == RECORDS
    assert os.stat(data + ".tarnidx").st_mtime_ns == before
