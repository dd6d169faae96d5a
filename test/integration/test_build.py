"""Goal: what `make install` leaves is usable by others: program, manual page, header, libraries and
pkg-config file; and the checks of the build itself work.

Method: install into a temporary DESTDIR, build examples/ against that with pkg-config, shared and
static, with gcc and with clang's linker driver, and as C++, and run them; look at the symbols.
"""
import json
import os
import re
import shutil
import subprocess

import pytest

import datasets
import resp
from conftest import ROOT, TIMEOUT, Output, free_port, program, run

pytestmark = pytest.mark.heavy  # once, for the release build


def make(*args):
    done = run(["make", "-C", ROOT, "--no-print-directory"] + list(args), timeout=600)
    assert done.status == 0, done
    return done


@pytest.fixture
def plain_data(data_file):
    return data_file("text", records=datasets.plain_records(5000))


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A DESTDIR with PREFIX=/opt/tarn."""
    destination = tmp_path_factory.mktemp("destdir")
    make("install", "B=" + os.path.dirname(program()), "PREFIX=/opt/tarn",
         "DESTDIR=%s" % destination)
    return destination


def test_files(installed):
    prefix = installed / "opt" / "tarn"
    found = sorted(os.path.relpath(os.path.join(folder, name), prefix)
                   for folder, _, names in os.walk(prefix) for name in names)
    assert found == ["bin/tarn", "include/tarn.h", "lib/libtarn.a", "lib/libtarn.so",
                     "lib/libtarn.so.0", "lib/pkgconfig/tarn.pc", "share/man/man1/tarn.1"]
    assert os.readlink(prefix / "lib" / "libtarn.so") == "libtarn.so.0"
    assert not os.path.islink(prefix / "lib" / "libtarn.so.0")


def test_uninstall_takes_all_away(tmp_path):
    for target in ("install", "uninstall"):
        make(target, "B=" + os.path.dirname(program()), "PREFIX=/usr", "DESTDIR=%s" % tmp_path)
    assert [names for _, _, names in os.walk(tmp_path) if names] == []


def test_program_and_manual_page(installed):
    prefix = installed / "opt" / "tarn"
    version = re.search(r'define TARN_VERSION "([^"]+)"',
                        (prefix / "include" / "tarn.h").read_text()).group(1)
    assert version in run([prefix / "bin" / "tarn", "--version"]).out
    page = (prefix / "share" / "man" / "man1" / "tarn.1").read_text()
    assert page.startswith('.TH') or "\n.TH" in page
    for flag in ("http\\-port", "max\\-connections", "memory"):
        assert flag in page or flag.replace("\\", "") in page, flag
    if shutil.which("man"):
        done = run(["man", "--warnings", "-l", prefix / "share" / "man" / "man1" / "tarn.1"],
                   env={"MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
        assert done.status == 0 and "--http-port" in done.out and "warning" not in done.err, done


def pkg_config(installed, *args):
    done = run(["pkg-config", "--define-variable=prefix=%s/opt/tarn" % installed] + list(args)
               + ["tarn"], env={"PKG_CONFIG_PATH": "%s/opt/tarn/lib/pkgconfig" % installed})
    assert done.status == 0, done
    return done.out.split()


def check_example(binary, data, **options):
    keys = [datasets.uuid_key(n) for n in (0, 17, 4999)]
    done = run([binary, data.path] + [k.decode() for k in keys], **options)
    assert done.status == 0, done
    assert done.out_bytes == b"".join(data[k] + b"\n" for k in keys)
    done = run([binary, data.path, "no such key"], **options)
    assert done.status == 1 and "no such key" in done.err, done
    done = run([binary, data.path + ".absent", "key"], **options)
    assert done.status == 2 and data.path in done.err, done


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_example_with_the_shared_library(installed, tmp_path, plain_data, compiler):
    if not shutil.which(compiler):
        pytest.skip(compiler + " is not installed")
    binary = tmp_path / "get"
    done = run([compiler, "-Wall", "-Wextra", "-Werror", "-o", binary, ROOT + "/examples/get.c"]
               + pkg_config(installed, "--cflags", "--libs"))
    assert done.status == 0, done
    check_example(binary, plain_data,
                  env={"LD_LIBRARY_PATH": "%s/opt/tarn/lib" % installed})


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_example_with_the_static_library(installed, tmp_path, plain_data, compiler):
    if not shutil.which(compiler):
        pytest.skip(compiler + " is not installed")
    libraries = tmp_path / "lib"
    libraries.mkdir()
    shutil.copy(installed / "opt" / "tarn" / "lib" / "libtarn.a", libraries)  # only the static
    binary = tmp_path / "get"
    done = run([compiler, "-o", binary, ROOT + "/examples/get.c", "-L%s" % libraries]
               + [flag for flag in pkg_config(installed, "--cflags", "--libs", "--static")
                  if not flag.startswith("-L%s" % installed)])
    assert done.status == 0, done
    assert "libtarn" not in run(["ldd", binary]).out
    check_example(binary, plain_data)


STORE_PRINTS = """second session:1: refused
session:1 expires: in a minute
3 of 5 found
visits = 2000
account:a = 70
account:b = 30
session:1 = (none)
session:2 = (none)
"""


@pytest.mark.parametrize("compiler, flags", [
    ("gcc", ["-std=gnu11"]), ("clang", ["-std=gnu17"]), ("g++", ["-xc++", "-std=c++11"]),
    ("clang++", ["-xc++", "-std=c++20"])])
@pytest.mark.parametrize("linked", ["shared", "static"])
def test_example_of_a_writable_store(installed, tmp_path, compiler, flags, linked):
    if not shutil.which(compiler):
        pytest.skip(compiler + " is not installed")
    binary = tmp_path / "store"
    libraries = tmp_path / "lib"
    libraries.mkdir()
    shutil.copy(installed / "opt" / "tarn" / "lib" / "libtarn.a", libraries)
    wanted = pkg_config(installed, "--cflags", "--libs", *(["--static"] if linked == "static" else []))
    if linked == "static":
        wanted = ["-L%s" % libraries] + [f for f in wanted if not f.startswith("-L%s" % installed)]
    done = run([compiler, "-Wall", "-Wextra", "-Werror", "-pthread", "-o", binary] + flags
               + [ROOT + "/examples/store.c", "-xnone"] + wanted)
    assert done.status == 0, done
    done = run([binary], env={"LD_LIBRARY_PATH": "%s/opt/tarn/lib" % installed})
    assert (done.status, done.out, done.err) == (0, STORE_PRINTS, "")


def defined_symbols(*args):
    done = run(["nm", "--defined-only", "--extern-only"] + list(args))
    assert done.status == 0, done
    return {line.split()[-1] for line in done.out.splitlines() if len(line.split()) == 3}


def test_only_public_names_are_exported(installed):
    lib = installed / "opt" / "tarn" / "lib"
    header = (installed / "opt" / "tarn" / "include" / "tarn.h").read_text()
    public = set(re.findall(r"\b(tarn_\w+)\(", re.sub(r"/\*.*?\*/|//[^\n]*", "", header,
                                                      flags=re.S)))
    public = {name for name in public if re.search(r"TARN_API[^;]*\b%s\(" % name, header)}
    assert "tarn_get_many" in public and len(public) > 15
    assert defined_symbols("-D", lib / "libtarn.so.0") == public
    assert defined_symbols(lib / "libtarn.a") == public


def test_header_is_c_and_cpp(tmp_path):
    source = tmp_path / "use.c"
    source.write_text('#include "tarn.h"\nint main(void) { struct tarn_options o = '
                      '{}; (void)o; return tarn_status_text(TARN_OK) == 0; }\n')
    for compiler, flags in (("gcc", ["-std=c11", "-xc"]), ("g++", ["-std=c++11", "-xc++"]),
                            ("g++", ["-std=c++20", "-xc++"])):
        if not shutil.which(compiler):
            pytest.skip(compiler + " is not installed")
        done = run([compiler, "-Wall", "-Wextra", "-Werror", "-I", ROOT + "/include",
                    "-c", "-o", tmp_path / "use.o"] + flags + [source])
        assert done.status == 0, done


def test_compile_commands():
    make("compile_commands.json")
    with open(os.path.join(ROOT, "compile_commands.json")) as f:
        commands = json.load(f)
    files = {c["file"] for c in commands}
    assert "src/core/buffer.c" in files and all(c["directory"] == ROOT for c in commands)
    one = next(c for c in commands if c["file"] == "src/core/buffer.c")
    done = run(one["command"].split() + ["-fsyntax-only"], cwd=ROOT)
    assert done.status == 0, done


def test_script_server(plain_data, tmp_path):
    """script/server with a file, from another directory: builds, says how to ask, serves."""
    if program() != os.path.join(ROOT, "build", "tarn"):
        pytest.skip("another program than build/tarn is under test")
    port = free_port()
    process = subprocess.Popen([ROOT + "/script/server", plain_data.path, "--port", str(port),
                                "--http-port", "0", "--threads", "1"], cwd=tmp_path,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    log = Output(process.stderr)
    try:
        assert log.wait_for("server ready resp="), log.text()
        assert "redis-cli -p %d GET" % port in log.text()
        with resp.Connection(port) as client:
            assert client.command("GET", datasets.uuid_key(1)) == plain_data[datasets.uuid_key(1)]
    finally:
        process.terminate()
        assert process.wait(TIMEOUT) == 0
        log.thread.join(TIMEOUT)
