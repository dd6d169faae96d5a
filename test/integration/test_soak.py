"""Goal: memory stays flat under a mixed load that goes on, nobody gets an error he should not, and
script/soak, which does that for a day's worth of operations, notices when it is not so.

Method: its very short form on the program under test; and on bounds that cannot hold.
"""
import os

import pytest

from conftest import ROOT, program, run, sanitized

pytestmark = pytest.mark.threads

# Under a sanitizer the server itself takes 16 MiB, cycles are too short to say much of growth, and what
# counts is the sanitizer's report.
CYCLE, MEMORY, GROWTH = (2000, 40, 1000) if sanitized() else (20000, 16, 20)
SHORT = ["--cycle-operations", CYCLE, "--memory", MEMORY, "--flush-every", 2]


def soak(*flags):
    return run([os.path.join(ROOT, "script", "soak"), "--program", program(), *SHORT, *flags],
               timeout=600)


@pytest.mark.parametrize("policy", ["allkeys-sieve",
                                    pytest.param("volatile-ttl", marks=pytest.mark.heavy)])
def test_flat(policy):
    done = soak("--operations", 8 * CYCLE, "--policy", policy, "--growth", GROWTH,
                "--keys-lost", 60, "--lag-ms", "30000")
    assert done.status == 0, done
    assert done.out.endswith("\nflat\n") and "cycle 1," not in done.out, done


@pytest.mark.heavy
def test_what_is_not_flat_is_told():
    done = soak("--operations", 1, "--growth", "-90")
    assert done.status == 1, done
    assert "used is not flat" in done.out and done.out.endswith("\nNOT flat\n"), done
