"""tarn plan: tables, JSON, files that are looked at, devices that are measured, refusals.

Method: the real program, asked for data sets that are described and for small files. What the
figures must be is tried in test/unit/test_pack_plan.c; here they must agree with each other.
"""
import json

import pytest

EXERCISE = ["--data-size", "1T", "--records", "1e9", "--memory", "4G", "--cores", "8",
            "--disk", "hdd"]
PROFILE = "rate=100M,depth=8,4K=1ms/2000,64K=3ms/400"


def plan(run_tarn, *args):
    finished = run_tarn("plan", "--format", "json", *args)
    assert finished.status == 0 and finished.err == "", repr(finished)
    return json.loads(finished.out)


def test_exercise(run_tarn):
    text = run_tarn("plan", *EXERCISE)
    assert text.status == 0 and text.err == ""
    rows = [line for line in text.out.splitlines() if line.startswith("> ")]
    assert len(rows) == 1 and rows[0].split()[1:4] == ["blocks", "64", "KiB"]
    assert "tarn index --memory 4G --layout blocks --granule 64K --fingerprint-bits 0 FILE" in text.out
    for layout in ("memory", "blocks", "pages", "rewritten"):
        assert "\n  %s " % layout in text.out
    assert "does not fit: needs 1.1 TB" in text.out


def test_json_agrees_with_itself(run_tarn):
    found = plan(run_tarn, *EXERCISE, "--queries", "2e9", "--missing-ratio", "0.2")
    assert found["data_bytes"] == 1 << 40 and found["records"] == 10**9
    assert found["queries"] == 2 * 10**9 and found["missing_ratio"] == 0.2
    assert found["disk"]["name"] == "hdd" and found["disk"]["depth"] == 32
    fitting = [c for c in found["candidates"] if c["fits"]]
    chosen = found["chosen"]
    assert chosen in fitting
    assert chosen["total_s"] == min(c["total_s"] for c in fitting if c["layout"] != "rewritten")
    for c in fitting:
        assert c["memory_bytes"] + c["cache_bytes"] == 4 << 30
        assert abs(c["total_s"] - c["build_s"] - 2e9 * c["query_us"] / 1e6) < 1e-3 * c["total_s"]
        assert abs(c["reads_per_query"] - 0.8 * (1 - c["hit_ratio"]) * c["reads_per_hit"]
                   - 0.2 * c["reads_per_absent"]) < 1e-6
    for c in found["candidates"]:
        assert c["fits"] == (c["memory_bytes"] <= 4 << 30)
    # absent keys that cost a read each are worth some bits
    assert chosen["fingerprint_bits"] > 0


def test_profile_is_printed_and_read_back(run_tarn):
    args = ["--data-size", "1G", "--records", "1M", "--memory", "50M", "--disk"]
    first = plan(run_tarn, *args, PROFILE)
    assert first["disk"]["profile"] == PROFILE and first["disk"]["name"] == "profile"
    again = plan(run_tarn, *args, first["disk"]["profile"])
    assert again["chosen"] == first["chosen"]
    deeper = plan(run_tarn, *args, PROFILE, "--read-depth", "16")
    assert deeper["disk"]["depth"] == 16


def test_file(run_tarn, tmp_path):
    """A small file's records are counted, those of a large one estimated; its device is measured."""
    small, large = tmp_path / "small", tmp_path / "large"
    assert run_tarn("gen", "--count", "1000", small).status == 0
    found = plan(run_tarn, "--memory", "1G", "--disk", "ssd", small)
    assert found["records"] == 1000 and not found["records_estimated"]
    assert found["data_bytes"] == small.stat().st_size
    assert found["chosen"]["layout"] == "memory"
    assert found["command"].endswith(str(small))

    assert run_tarn("gen", "--count", "1000", "--value-size", "90000-110000", large).status == 0
    found = plan(run_tarn, "--memory", "40M", large, "--read-depth", "4")
    assert found["records_estimated"] and abs(found["records"] - 1000) < 20
    points = found["disk"]["points"]
    assert [p["bytes"] for p in points] == [4096, 16384, 65536, 262144, 1 << 20]
    assert all(p["latency_us"] > 0 and p["reads_per_second"] > 0 for p in points)
    assert found["disk"]["name"] == "auto" and found["disk"]["depth"] == 4
    assert found["chosen"]["layout"] == "blocks"
    told = run_tarn("plan", "--memory", "40M", "--disk", "hdd", large)
    assert "in about " in told.out


@pytest.mark.parametrize("args, status, text", [
    ([], 2, "Give FILE, or --data-size and --records"),
    (["--data-size", "1G"], 2, "Give FILE, or --data-size and --records"),
    (["--data-size", "1G", "--records", "2G"], 2, "more records than bytes"),
    (["--data-size", "1G", "--records", "1M", "--disk", "floppy"], 2, "cannot read floppy"),
    (["--data-size", "1G", "--records", "1M", "--disk", "rate=1M"], 2, "a profile needs"),
    (["--data-size", "1G", "--records", "1M", "--disk", "auto"], 2, "--measure"),
    (["--data-size", "1G", "--records", "1M", "--theta", "11"], 2, "--theta"),
    (["--data-size", "1G", "--records", "1M", "--missing-ratio", "1.5"], 2, "--missing-ratio"),
    (["--data-size", "1G", "--records", "1M", "--format", "xml"], 2, "--format"),
    (["/no/such/file"], 1, "/no/such/file"),
    (["a", "b"], 2, "one argument too many"),
])
def test_refusals(run_tarn, args, status, text):
    finished = run_tarn("plan", *args)
    assert finished.status == status and finished.out == ""
    assert finished.err.startswith("tarn plan: ") and finished.err.count("\n") == 1
    assert text in finished.err


def test_files_that_do_not_do(run_tarn, tmp_path):
    empty, small, broken = tmp_path / "empty", tmp_path / "small", tmp_path / "broken"
    empty.write_bytes(b"")
    small.write_bytes(b"a 1\nb 2\n")
    broken.write_bytes(b"a 1\n" * 10 + b"nothing\n")
    assert "has no record" in run_tarn("plan", empty).err
    assert "too small to measure" in run_tarn("plan", small).err
    assert "record 10 at byte 40" in run_tarn("plan", "--disk", "hdd", broken).err
    assert "its own" not in run_tarn("plan", "--disk", "hdd", small).err
    finished = run_tarn("plan", "--disk", "hdd", "--data-size", "1G", small)
    assert finished.status == 2 and "FILE's own" in finished.err


def test_too_little_memory(run_tarn):
    """The table says what each layout needs, the error which needs least."""
    args = ["plan", "--data-size", "1T", "--records", "1e9", "--memory", "20M", "--disk", "ssd"]
    finished = run_tarn(*args)
    assert finished.status == 1
    assert finished.err.startswith("tarn plan: 21.0 MB of memory are too little")
    assert finished.out.count("does not fit: needs ") >= 12 and "chooses" not in finished.out
    found = json.loads(run_tarn(*args, "--format", "json").out)
    assert found["chosen"] is None and found["command"] is None
    least = min(c["memory_bytes"] for c in found["candidates"] if c["layout"] != "rewritten")
    args[args.index("20M")] = str(least)
    assert run_tarn(*args).status == 0
    args[args.index(str(least))] = str(least - 1)
    assert run_tarn(*args).status == 1
