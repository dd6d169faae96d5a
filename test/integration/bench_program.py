"""Running tarn bench and reading what it wrote.

Bench is the fixture `bench`: bench("--connect", ..., status=0) runs the program with --json into a
file of the test's own and gives a Result; a status other than the one expected fails the test.
"""
import json
import os
import re

import conftest


def keys_of(data):
    """The options that take keys and values from a datasets.Dataset."""
    return ("--keys-from", data.path, *data.flags)


class Result:
    """finished: the program's exit status, stdout, stderr. json: what --json wrote, None if there
    is no such file."""

    def __init__(self, finished, path):
        self.finished = finished
        self.path = path
        self.json = None
        if os.path.exists(path):
            with open(path) as f:
                self.json = json.load(f)

    def __repr__(self):
        return "%r\njson: %s" % (self.finished, json.dumps(self.json)[:4000])

    def __getattr__(self, name):
        """A member of the JSON object: result.total_ops."""
        if name.startswith("_") or self.json is None or name not in self.json:
            raise AttributeError("%s is not in %r" % (name, self))
        return self.json[name]

    @property
    def stdout_figures(self):
        """What stdout says, name -> text behind it, of the lines "name: text" or "name  text"."""
        return dict(re.findall(r"^ *([a-z_0-9]+):? +(.+)$", self.finished.out, re.M))


class Bench:
    def __init__(self, tarn, directory):
        self.tarn = tarn
        self.directory = directory
        self.runs = 0

    def command(self, *args):
        """The command line, and where its JSON will be."""
        self.runs += 1
        path = str(self.directory / ("result-%d.json" % self.runs))
        return [self.tarn, "bench", "--json", path] + [str(arg) for arg in args], path

    def read(self, path, finished=None):
        """The result of a program that the test started itself."""
        return Result(finished, path)

    def __call__(self, *args, status=0, **options):
        command, path = self.command(*args)
        result = Result(conftest.run(command, **options), path)
        assert result.finished.status == status, repr(result)
        if status == 0:
            assert result.finished.err == "", repr(result)
        return result
