"""Goal: a server that is killed in any call that touches its files loses no more than the dial says,
and shows nothing that was not so. Method: kill_server.py, some points; `make fault` has many more."""
import pytest

import conftest
import kill_server


def test_killed_in_any_call():
    if conftest.sanitized():
        pytest.skip("sanitizers want to be loaded first")
    said = []
    counts = kill_server.run(20, said.append)
    assert all(losses == 0 and wrong == 0 for _, losses, wrong in counts.values()), said
