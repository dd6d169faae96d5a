"""What the benchmark scripts share: programs, data files, servers, processor time, tables.

Processor time is read from /proc/PID/task/*/schedstat (nanoseconds on a core, user and system);
where that is missing, from /proc/PID/stat (clock ticks). Machines are assumed to be noisy and
shared: scripts interleave what they compare within each repetition and report medians of ratios
taken within a repetition, with their range.
"""

import argparse
import datetime
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def fail(text):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {text}")


def note(text):
    print(text, file=sys.stderr, flush=True)


# --- command line and set-up ---------------------------------------------------------------------


def parser(description):
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--build", default=os.path.join(ROOT, "build"), metavar="DIR",
                   help="where tarn and the benchmarks' programs are built (build/)")
    p.add_argument("--results", default=os.path.join(ROOT, "bench", "results"), metavar="DIR",
                   help="where the raw figures go as JSON (bench/results/)")
    p.add_argument("--data", default=None, metavar="DIR",
                   help="where data files are made and kept (DIR of --build, bench/data/)")
    p.add_argument("--quick", action="store_true", help="3 repetitions, fewer requests")
    p.add_argument("--repetitions", type=int, default=0, metavar="N",
                   help="how often all is measured; quick: 3")
    p.add_argument("--server-core", type=int, default=0, metavar="N")
    p.add_argument("--generator-core", type=int, default=1, metavar="N")
    return p


def parse(p, repetitions=7):
    args = p.parse_args()
    args.repetitions = args.repetitions or (3 if args.quick else repetitions)
    args.data = args.data or os.path.join(args.build, "bench", "data")
    cores = os.sched_getaffinity(0)
    for core in (args.server_core, args.generator_core):
        if core not in cores:
            fail(f"there is no core {core} to pin to; see --server-core and --generator-core")
    setup(args)
    return args


def setup(args):
    """Install what is missing and build what is out of date."""
    script = os.path.join(ROOT, "script", "setup")
    if subprocess.run([script, "build", "bench"]).returncode:
        fail("script/setup failed")
    make = ["make", "-s", "-C", ROOT, f"-j{os.cpu_count()}", "bench", f"B={args.build}"]
    if subprocess.run(make, stdout=sys.stderr).returncode:
        fail("make bench failed")
    os.makedirs(args.data, exist_ok=True)
    os.makedirs(args.results, exist_ok=True)


def unpack_servers(args):
    """Get the peers' servers that are not on this machine. What cannot be had is left out."""
    script = os.path.join(ROOT, "script", "setup")
    subprocess.run([script, "--unpack", os.path.join(args.build, "bench", "peers"),
                    "bench-servers"])


def program(args, name):
    """A program of ours: "tarn", or one of bench/."""
    inside = name if name == "tarn" else os.path.join("bench", name)
    return os.path.join(args.build, inside)


def server_program(args, name, package, alias=None):
    """A peer's server: on PATH, or of the package that was unpacked for us. alias: the same
    program under a name that comes in a package without a service (redis and valkey look at the
    name they are called by). None if it is not there."""
    unpacked = os.path.join(args.build, "bench", "peers", package, "usr", "bin")
    places = os.pathsep.join([os.environ.get("PATH", ""), unpacked])
    path = shutil.which(name, path=places)
    if path or not alias:
        return path
    path = shutil.which(alias, path=places)
    if not path:
        return None
    link = os.path.join(args.build, "bench", name)
    if os.path.islink(link):
        os.unlink(link)
    os.symlink(path, link)
    return link


def redis_server(args):
    path = server_program(args, "redis-server", "redis-tools", "redis-check-rdb")
    return path or fail("redis-server is not there: script/setup bench")


def pinned(core, argv):
    return ["taskset", "-c", str(core), *argv]


# --- data files ----------------------------------------------------------------------------------

LETTERS = bytes(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def numbered_key(i):
    return b"key:%012d" % i


def uuid_key(generator):
    text = "%032x" % generator.getrandbits(128)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}".encode()


def data_file(args, keys, count, value_bytes=64, binary=False):
    """Make, once, a data file of `count` records; keys: "numbered" (as redis-benchmark asks for
    them) or "uuid". The text and the binary file of the same arguments hold the same records."""
    kind = "bin" if binary else "txt"
    path = os.path.join(args.data, f"{keys}-{count}-{value_bytes}.{kind}")
    if os.path.exists(path):
        return path
    note(f"making {path}")
    generator = random.Random(1)
    table = bytes(LETTERS[i % len(LETTERS)] for i in range(256))
    with open(path + ".new", "wb", buffering=1 << 20) as out:
        for i in range(count):
            value = generator.randbytes(value_bytes).translate(table)
            key = numbered_key(i) if keys == "numbered" else uuid_key(generator)
            if binary:
                out.write(len(key).to_bytes(4, "little") + key +
                          len(value).to_bytes(4, "little") + value)
            else:
                out.write(key + b" " + value + b"\n")
    os.rename(path + ".new", path)
    return path


def tarn_sample(args, count):
    """What `tarn gen` makes by default, once."""
    path = os.path.join(args.data, f"gen-{count}.txt")
    if not os.path.exists(path):
        note(f"making {path}")
        subprocess.run([program(args, "tarn"), "gen", "--count", str(count), path], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def read_cached(path):
    """Bring a file into the page cache."""
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def records(path):
    """(key, value) pairs of a text data file."""
    with open(path, "rb", buffering=1 << 20) as file:
        for line in file:
            key, value = line.rstrip(b"\n").split(b" ", 1)
            yield key, value


# --- servers -------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A process under test; ready() says when it answers. Always stop()ped by its pid."""

    def __init__(self, args, name, argv, port, http_port=0, core=None):
        self.name, self.port, self.http_port = name, port, http_port
        self.log_path = os.path.join(args.results, f"{name}.log")
        argv = pinned(core, argv) if core is not None else argv
        self.argv = argv
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_ready(self, line=None, seconds=120):
        """Until `line` is in its log (if given) and it accepts connections."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if line is None or line in self.log():
                    socket.create_connection(("127.0.0.1", self.port), 1).close()
                    return self
            except OSError:
                pass
            time.sleep(0.005)
        self.stop()
        fail(f"{self.name} does not answer on port {self.port}; its log ends:\n"
             f"{self.log()[-800:]}")

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def cpu_ns(self):
        """Processor time used so far by all its living threads."""
        tasks = f"/proc/{self.process.pid}/task"
        total = 0
        for task in os.listdir(tasks):
            try:
                with open(f"{tasks}/{task}/schedstat") as file:
                    total += int(file.read().split()[0])
            except FileNotFoundError:
                pass  # the thread has just ended
        if total == 0:
            with open(f"/proc/{self.process.pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total = (int(fields[11]) + int(fields[12])) * 10**9 // os.sysconf("SC_CLK_TCK")
        return total

    def memory(self):
        """Bytes: resident, and of them anonymous and file-backed; proportional share (pss)."""
        found = {}
        for name, path in (("status", "status"), ("rollup", "smaps_rollup")):
            with open(f"/proc/{self.process.pid}/{path}") as file:
                for line in file:
                    words = line.split()
                    if len(words) == 3 and words[2] == "kB":
                        found[words[0].rstrip(":")] = int(words[1]) * 1024
        return {"rss": found["VmRSS"], "anonymous": found["RssAnon"], "file": found["RssFile"],
                "pss": found.get("Pss", 0), "peak": found["VmHWM"],
                "huge": found.get("AnonHugePages", 0)}


def start_tarn(args, path, threads=1, http=False, core=None, name="tarn", options=()):
    """path: a data file; None: a writable store, empty."""
    port, http_port = free_port(), free_port() if http else 0
    argv = [program(args, "tarn"), "serve", *([path] if path else []), "--port", str(port),
            "--http-port", str(http_port)]
    if threads:
        argv += ["--threads", str(threads)]
    argv += map(str, options)
    return Server(args, name, argv, port, http_port, core).wait_ready("server ready")


def start_redis(args, core=None, binary=None, name="redis", options=()):
    """redis, or valkey, which takes the same options. options: further ones, the last one counts."""
    port = free_port()
    argv = [binary or redis_server(args), "--bind", "127.0.0.1", "--port", str(port), "--save", "",
            "--appendonly", "no", "--dir", args.data, *options]
    return Server(args, name, argv, port, core=core).wait_ready()


def start_memcached(args, binary, threads=1, core=None):
    port = free_port()
    argv = [binary, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", str(threads), "-m", "8192"]
    if os.getuid() == 0:
        argv += ["-u", "root"]  # it will not run as root unless told to
    return Server(args, "memcached", argv, port, core=core).wait_ready()


def start_pogocache(args, binary, threads=1, core=None):
    port = free_port()
    argv = [binary, "-h", "127.0.0.1", "-p", str(port), "--threads", str(threads)]
    return Server(args, "pogocache", argv, port, core=core).wait_ready()


def start_echo(args, request_bytes, value_bytes, core=None):
    port = free_port()
    argv = [program(args, "echo"), str(port), str(request_bytes), str(value_bytes)]
    return Server(args, "echo", argv, port, core=core).wait_ready()


def resp(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def receive_exactly(connection, size):
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            fail("a server closed the connection")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def exchange(server, request):
    """Send one request; the first line of what comes back."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b"\r\n"):
            answer += receive_exactly(connection, 1)
        return answer


def load_records(server, path):
    """SET every record of a text data file, 500 at a time."""
    with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
        def flush(batch):
            connection.sendall(b"".join(batch))
            answer = receive_exactly(connection, 5 * len(batch))
            if answer != b"+OK\r\n" * len(batch):
                fail(f"{server.name}: SET answered {answer[:80]!r}")
        batch = []
        for key, value in records(path):
            batch.append(resp(b"SET", key, value))
            if len(batch) == 500:
                flush(batch)
                batch = []
        if batch:
            flush(batch)


def check_answers(server, path, count=1000):
    """Ask one by one for the first `count` records of the file; every value must be right."""
    with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
        for (key, value), _ in zip(records(path), range(count)):
            connection.sendall(resp(b"GET", key))
            expected = b"$%d\r\n%s\r\n" % (len(value), value)
            answer = receive_exactly(connection, len(expected))
            if answer != expected:
                fail(f"{server.name}: GET {key!r} answered {answer[:80]!r}")


# --- the generator -------------------------------------------------------------------------------


class BenchFailed(Exception):
    """tarn bench ended with an error; the text is its last line."""


def tarn_bench(args, label, options, core=None, program_name="tarn", may_fail=False):
    """Run tarn bench, or bench/embedded, and return the figures that scripts use. label: the whole
    result is kept as LABEL.json among the results; None: it is not kept. A failure ends the script,
    or is a BenchFailed if it may."""
    name = "".join(c if c.isalnum() else "-" for c in label or f"bench-{os.getpid()}") + ".json"
    path = os.path.join(args.results, name)
    words = ["bench"] if program_name == "tarn" else []
    argv = [program(args, program_name), *words, *options, "--json", path]
    argv = pinned(core, argv) if core is not None else argv
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        if may_fail:
            raise BenchFailed(lines[-1].removeprefix("tarn bench: "))
        fail(f"{' '.join(argv)}: {lines[-1]}")
    with open(path) as file:
        result = json.load(file)
    if label is None:
        os.unlink(path)
    for what in ("errors", "misses", "lost", "wrong"):
        if result[what]:
            fail(f"{' '.join(argv)}: {result[what]} {what} in {result['total_ops']} operations")
    return bench_figures(result)


shown = set()


def show_command(options):
    """Print, once each, the command that a figure comes from."""
    text = "tarn bench " + " ".join(options)
    if text not in shown:
        shown.add(text)
        note(f"    {text}")


def bench_figures(result):
    """The figures of a result (doc/bench.md) under the names that scripts use."""
    latency, load = result["latency_us"] or {}, result["load"] or {}
    return {"operations": result["total_ops"], "ops_per_s": result["total_ops_per_sec"],
            "p50_us": latency.get("p50"), "p99_us": latency.get("p99"),
            "p999_us": latency.get("p999"), "seconds": result["total_runtime_s"],
            "process_cpu_us": (result["process"] or {}).get("cpu_us_per_op"), "log": result["log"],
            "server_cpu_us": result["server"]["cpu_us_per_op"],
            "generator_cpu_ns": (result["generator"]["cpu_us_per_op"] or 0) * 1000,
            "bottleneck": result["generator"]["bottleneck"],
            "load_seconds": load.get("seconds")}


# --- noise ---------------------------------------------------------------------------------------


class Noise:
    """How much of the given core was used by other programs, from /proc/stat."""

    def __init__(self, core):
        self.core = core
        self.total, self.others = 0, 0

    def _busy(self):
        with open("/proc/stat") as file:
            for line in file:
                words = line.split()
                if words[0] == f"cpu{self.core}":
                    idle = int(words[4]) + int(words[5])
                    # user ... steal; guest time is part of user already
                    return sum(map(int, words[1:9])) - idle
        return 0

    def begin(self):
        self.start, self.start_busy = time.monotonic_ns(), self._busy()

    def end(self, own_ns):
        tick = 10**9 // os.sysconf("SC_CLK_TCK")
        self.total += time.monotonic_ns() - self.start
        self.others += max(0, (self._busy() - self.start_busy) * tick - own_ns)

    def share(self):
        return self.others / self.total if self.total else 0.0


# --- results -------------------------------------------------------------------------------------


def median(values):
    return statistics.median(values)


def spread(values, digits=2):
    """Median and, in brackets, smallest and largest."""
    return (f"{median(values):.{digits}f} [{min(values):.{digits}f}.."
            f"{max(values):.{digits}f}]")


def ratios(above, below):
    """Ratios within each repetition."""
    return [a / b for a, b in zip(above, below)]


def verdict(value, limit, below=True):
    return "met" if (value <= limit if below else value >= limit) else "NOT met"


def print_table(title, head, rows):
    """A Markdown table, columns aligned."""
    cells = [head] + [[str(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    print(f"\n{title}\n")
    for number, row in enumerate(cells):
        print("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    sys.stdout.flush()


def machine():
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    commit = "unknown"
    if shutil.which("git"):
        commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                                capture_output=True, text=True).stdout.strip()
    return {"date": datetime.datetime.now().isoformat(timespec="seconds"), "processor": model,
            "cores": os.cpu_count(), "kernel": os.uname().release, "commit": commit,
            "load": os.getloadavg()}


def save(args, name, figures):
    figures = {"machine": machine(), "arguments": sys.argv[1:], **figures}
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    path = os.path.join(args.results, f"{name}-{stamp}.json")
    with open(path, "w") as file:
        json.dump(figures, file, indent=1)
    m = figures["machine"]
    print(f"\n{m['date']}, {m['processor']}, {m['cores']} cores, Linux {m['kernel']}, "
          f"commit {m['commit']}; raw figures: {os.path.relpath(path)}", flush=True)
