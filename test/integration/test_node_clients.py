"""Goal: the JavaScript clients ioredis and node-redis work against tarn.

Method: the programs in node/ run against a server and assert for themselves. The clients' versions
are pinned by node/package-lock.json; `npm ci` brings them when they are not there. Without node
or npm the tests are skipped.
"""
import fcntl
import json
import os
import shutil
import subprocess

import pytest

import datasets
from conftest import run

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node")

pytestmark = pytest.mark.skipif(not shutil.which("node") or not shutil.which("npm"),
                                reason="node and npm are not installed")


def node_version():
    out = subprocess.run(["node", "--version"], stdout=subprocess.PIPE, check=True).stdout
    return int(out.decode().lstrip("v").split(".")[0])


@pytest.fixture(scope="session")
def modules():
    """node_modules as the lock file wants it; other sessions that want it wait meanwhile."""
    lock = os.path.join(HERE, "package-lock.json")
    installed = os.path.join(HERE, "node_modules", ".package-lock.json")
    with open(lock) as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        install(lock, installed)


def install(lock, installed):
    if not os.path.exists(installed) or os.path.getmtime(installed) < os.path.getmtime(lock):
        done = run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=HERE,
                   timeout=300)
        assert done.status == 0, done
        os.utime(installed)


@pytest.fixture(scope="session")
def records_file(text_data, tmp_path_factory):
    """JSON of the records that are text, for the programs to compare with."""
    records = {}
    for key in text_data.keys()[:1000] + [k for k, _ in datasets.NASTY_TEXT_RECORDS]:
        try:
            records[key.decode()] = text_data[key].decode()
        except UnicodeDecodeError:
            pass  # not for clients that hand out strings
    path = tmp_path_factory.mktemp("node") / "records.json"
    path.write_text(json.dumps(records))
    return path


@pytest.mark.parametrize("module, node_needed", [("ioredis", 18), ("ioredis6", 20)])
def test_ioredis(modules, text_server, records_file, module, node_needed):
    if node_version() < node_needed:
        pytest.skip("%s needs node %d" % (module, node_needed))
    done = run(["node", os.path.join(HERE, "ioredis.mjs"), module, text_server.port,
                records_file])
    assert done.status == 0, done


@pytest.mark.parametrize("protocol", [2, 3])
def test_node_redis(modules, text_server, records_file, protocol):
    if node_version() < 18:
        pytest.skip("node-redis needs node 18")
    done = run(["node", os.path.join(HERE, "node_redis.mjs"), protocol, text_server.port,
                records_file])
    assert done.status == 0, done


@pytest.mark.threads
@pytest.mark.parametrize("module, node_needed", [("ioredis", 18), ("ioredis6", 20)])
def test_ioredis_writes(modules, server, module, node_needed):
    if node_version() < node_needed:
        pytest.skip("%s needs node %d" % (module, node_needed))
    done = run(["node", os.path.join(HERE, "ioredis_writes.mjs"), module, server(None).port])
    assert done.status == 0, done


@pytest.mark.threads
@pytest.mark.parametrize("protocol", [2, 3])
def test_node_redis_writes(modules, server, protocol):
    if node_version() < 18:
        pytest.skip("node-redis needs node 18")
    done = run(["node", os.path.join(HERE, "node_redis_writes.mjs"), protocol, server(None).port])
    assert done.status == 0, done
