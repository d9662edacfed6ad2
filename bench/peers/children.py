"""What the comparisons share: the work that both sides read, and children that do it, each setting in a
process of its own, tried again where other programs disturbed it.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
THREADS = [t for t in (1, 2) if t <= (os.cpu_count() or 1)]
DISTURBED = 0.1  # processors that other programs may use while a child measures
ATTEMPTS = 4

# The C library gives freed memory back to the system and pages it in again for the next tensor; told
# to hold it ("held"), PyTorch is faster where tensors are large.
HOLD = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000",
        "MALLOC_TOP_PAD_": "67108864"}

PRODUCTS = [  # method of torch_products.py, samples together (0 = all), freed memory held
    ("kept", 0, False), ("kept", 1000, False), ("kept", 250, False),
    ("kept", 0, True), ("kept", 1000, True), ("kept", 250, True),
    ("rebuilt", 0, True), ("rebuilt", 1000, False),
    ("functional_hvp", 0, True), ("functional_vhp", 0, True), ("functional_vhp", 1000, False),
    ("forward_over_reverse", 0, True), ("forward_over_reverse", 1000, False),
]


def core_types():
    """Choices of OpenBLAS kernels: its own, and by OPENBLAS_CORETYPE."""
    with open("/proc/cpuinfo") as info:
        flags = info.read()
    return ["unset", "Haswell"] + (["SkylakeX"] if "avx512dq" in flags else [])


def processor():
    with open("/proc/cpuinfo") as info:
        names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{name}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.2f}"


def processor_seconds():
    """Seconds that the processors of the machine have worked so far, and those of our children."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return busy, children.ru_utime + children.ru_stime


class Patience:
    """Seconds that are left to wait for other programs to be quiet: in all, not for each child."""

    def __init__(self):
        self.seconds = 0

    def wait(self):
        """Returns when others use less than a tenth of a processor, or when patience is at an end."""
        while self.seconds > 0:
            before = processor_seconds()[0]
            time.sleep(1)
            if processor_seconds()[0] - before < DISTURBED:
                return
            self.seconds -= 1


PATIENCE = Patience()


def attempt(command, environment):
    """The JSON document that a child prints, or under "failed" its last line of complaint; under
    "others" the processors that other programs used meanwhile, on average."""
    start, before = time.monotonic(), processor_seconds()
    child = subprocess.run(
        [str(word) for word in command], env=environment, capture_output=True, text=True
    )
    after, seconds = processor_seconds(), time.monotonic() - start
    if child.returncode != 0:
        complaint = child.stderr.strip().splitlines() or [f"status {child.returncode}"]
        return {"failed": complaint[-1][:70]}
    result = json.loads(child.stdout) if child.stdout.strip() else {}
    result["others"] = ((after[0] - before[0]) - (after[1] - before[1])) / seconds
    return result


def run(command, core="unset", held=False):
    """Runs a child; where others disturbed it, waits for quiet and tries again while there is
    patience. Returns the least disturbed attempt."""
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    environment.update(HOLD if held else {})
    if core != "unset":
        environment["OPENBLAS_CORETYPE"] = core
    results = []
    while True:
        PATIENCE.wait()
        results.append(attempt(command, environment))
        last = results[-1]
        if "failed" in last or last["others"] < DISTURBED:
            return last
        if PATIENCE.seconds <= 0 or len(results) == ATTEMPTS:
            return min(results, key=lambda result: result["others"])


class Work:
    """A net, its data, parameters and a direction in a folder that both sides read."""

    def __init__(self, build, folder, model, data, precision):
        self.build, self.folder, self.model, self.precision = build, folder, model, precision
        os.mkdir(folder)
        subprocess.run(
            [f"{build}/gradiometer", "data", "--data", *data, "--seed", "1", "--quiet", "-o",
             f"{folder}/x.npy,{folder}/y.npy"], check=True, stdout=subprocess.DEVNULL,
        )
        generator = np.random.default_rng(1)
        widths = [int(width) for width in model.removeprefix("mlp:").split("-")]
        layers = [
            part
            for i, o in zip(widths, widths[1:])
            for part in (generator.normal(0, (2 / i) ** 0.5, i * o), np.zeros(o))
        ]
        self.parameters = sum(map(len, layers))
        np.save(f"{folder}/theta.npy", np.concatenate(layers))
        np.save(f"{folder}/v.npy", generator.standard_normal(self.parameters))

    def load(self, name):
        return np.load(f"{self.folder}/{name}.npy")

    def ours(self, what, precision, threads, rounds):
        result = run([f"{self.build}/peers_gradiometer", what, self.folder, self.model, precision,
                      threads, rounds])
        if "failed" in result:
            sys.exit(f"compare.py: {result['failed']}")
        return result

    def torch(self, script, *words, core="unset", held=False):
        command = [sys.executable, "-B", f"{HERE}/{script}", self.folder, self.model, *words]
        return run(command, core, held)
