#!/usr/bin/env python3
"""What clinfo-bench says of drivers that hang, crash, abort, lie, fail to build or to compute: the right
line and exit status for each, and the engine's record of it. The faults come from an OpenCL layer over
the first installed driver, and from a program built with a wrong kernel.
Usage: test_bad_drivers.py CLINFO_BENCH CLINFO_BENCH_WRONG FAULT_LAYER WRONG_KERNEL"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BENCH = WRONG = LAYER = KERNEL = None
DEVICE = "0"


def list_devices(program):
    done = subprocess.run([program, "--list"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def stat_of(pid):
    """(state, parent), None once the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            state, parent = file.read().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else (state, int(parent))


def descendants(pid):
    everybody = {int(name): stat_of(name) for name in os.listdir("/proc") if name.isdigit()}
    found, before = {pid}, set()
    while found != before:
        before = set(found)
        found |= {one for one, stat in everybody.items() if stat and stat[1] in before}
    return found - {pid}


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


class Bad(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "report.json")

    def tearDown(self):
        self.folder.cleanup()

    def run_bench(self, fault, *args, program=None):
        """Exit status, and the report's only device (None if there is none)."""
        env = dict(os.environ, OCLORA_CACHE_DIR=self.folder.name + "/cache")
        if fault:
            env.update(OPENCL_LAYERS=LAYER, OCLORA_FAULT=fault)
        done = subprocess.run([program or BENCH, "--device", DEVICE, "--quick", "--json", self.path,
                               *args], capture_output=True, text=True, env=env, timeout=300,
                              check=False)
        self.page = done.stdout
        with open(self.path, encoding="utf-8") as file:
            devices = json.load(file)["devices"]
        return done.returncode, devices[0] if devices else None

    def item(self, device, section, name):
        found = [i for i in device["sections"][section] if i["name"] == name]
        self.assertTrue(found, f"{name} is not in {section}")
        return found[0]

    def test_good_driver_through_layer(self):
        status, device = self.run_bench("none=0", "--only", "norm")
        self.assertEqual(status, 0)
        self.assertEqual(device["verdict"], "pass")

    def test_hang(self):
        began = time.monotonic()
        status, device = self.run_bench("hang=probe_copy", "--only", "probe_", "--limit", "5")
        self.assertEqual(status, 1)
        item = self.item(device, "selftest_cpu", "probe_copy_x1")
        self.assertEqual(item["status"], "timeout")
        self.assertIn("no answer within 5 s", item["detail"])
        self.assertIn("probe:PROBE_WIDTH=1 (cpu class)", device["failed_kernels"])
        # What comes after the hang is still tested.
        self.assertEqual(self.item(device, "selftest_cpu", "probe_axpy_x16")["status"], "pass")
        self.assertLess(time.monotonic() - began, 120)

    def test_killed_program_leaves_no_child(self):
        """While the driver hangs, the program itself is ended: by a terminal, politely, by force."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with self.subTest(number), tempfile.TemporaryFile("w+") as log:
                env = dict(os.environ, OCLORA_CACHE_DIR=self.folder.name + "/cache", OPENCL_LAYERS=LAYER,
                           OCLORA_FAULT="hang=probe_copy", OCLORA_FAULT_MARK=f"{self.folder.name}/hangs-{number}")
                with subprocess.Popen([BENCH, "--device", DEVICE, "--quick", "--only", "probe_copy"],
                                      stdout=log, stderr=log, env=env) as program:
                    hangs = wait_for(lambda: os.path.exists(env["OCLORA_FAULT_MARK"]))
                    children = descendants(program.pid)
                    program.send_signal(number)
                    self.assertEqual(program.wait(20), -number)
                self.assertTrue(hangs and children, "there was no child that hung")
                self.assertTrue(wait_for(lambda: not any(stat_of(pid) for pid in children), 10),
                                f"still there: {[pid for pid in children if stat_of(pid)]}")

    def test_crash(self):
        status, device = self.run_bench("crash=probe_axpy", "--only", "probe_")
        self.assertEqual(status, 1)
        item = self.item(device, "selftest_cpu", "probe_axpy_x1")
        self.assertEqual(item["status"], "crash")
        self.assertIn("signal 11", item["detail"])
        self.assertEqual(self.item(device, "selftest_cpu", "probe_fill_x16")["status"], "pass")

    def test_compiler_abort(self):
        status, device = self.run_bench("abort=-DUNARY=8", "--only", "silu")
        self.assertEqual(status, 1)
        item = self.item(device, "selftest_cpu", "unary_silu")
        self.assertEqual(item["status"], "crash")
        self.assertIn("abort", item["detail"])
        self.assertIn("LLVM ERROR: Cannot select", item["detail"])
        self.assertIn("unary_silu", self.page)

    def test_failing_build(self):
        status, device = self.run_bench("build=softmax_", "--only", "soft_max")
        self.assertEqual(status, 1)
        item = self.item(device, "selftest_cpu", "soft_max")
        self.assertEqual(item["status"], "fail")
        self.assertIn("BUILD_FAILED", item["detail"])
        self.assertIn("softmax (cpu class)", device["failed_kernels"])

    def test_no_kernel_builds(self):
        status, device = self.run_bench("build=__kernel")
        self.assertEqual(status, 2)
        self.assertEqual(device["verdict"], "unusable")

    def test_launch_that_does_nothing(self):
        status, device = self.run_bench("spoil=probe_copy", "--only", "probe_copy")
        self.assertEqual(status, 2, "no basic kernel is left")
        item = self.item(device, "selftest_cpu", "probe_copy_x1")
        self.assertIn("was not written", item["detail"])

    def test_lies(self):
        for lie, section, name, text in (
                ("groups", "probes", "work_group_size", "a launch of one gives"),
                ("memory", "memory", "memory_claims", "this machine has"),
        ):
            with self.subTest(lie):
                status, device = self.run_bench("lie=" + lie, "--only", name)
                self.assertEqual(status, 1)
                item = self.item(device, section, name)
                self.assertEqual(item["status"], "fail")
                self.assertIn(text, item["detail"])

    def test_lie_about_a_feature(self):
        _, honest = self.run_bench(None, "--only", "fp16")
        if self.item(honest, "probes", "fp16")["found"]:
            self.skipTest("the first device really has half arithmetic")
        status, device = self.run_bench("lie=fp16", "--only", "fp16")
        self.assertEqual(status, 1)
        item = self.item(device, "probes", "fp16")
        self.assertTrue(item["claimed"])
        self.assertFalse(item["found"])
        self.assertEqual(item["status"], "fail")

    def test_nth_call_fails(self):
        for n in (1, 2, 3, 5, 8):
            with self.subTest(n):
                status, device = self.run_bench(f"fail={n}", "--only", "rms_norm")
                self.assertIn(status, (0, 1))
                for item in device["sections"]["selftest_cpu"]:
                    if item["status"] == "fail":
                        self.assertIn("CL_OUT_OF_RESOURCES", item["detail"])

    def test_everything_fails(self):
        status, device = self.run_bench("all=1")
        self.assertEqual(status, 2)
        self.assertEqual(device["verdict"], "unusable")

    def test_wrong_kernel_is_named(self):
        status, device = self.run_bench(None, "--only", "norm", program=WRONG)
        self.assertEqual(status, 1)
        self.assertEqual(device["failed_kernels"], [f"{KERNEL} (cpu class)", f"{KERNEL} (gpu class)"])
        item = self.item(device, "selftest_cpu", "rms_norm")
        self.assertGreater(item["nmse"], item["bound"])
        self.assertIn("worst", item)
        self.assertIn(f"not to be used: {KERNEL}", self.page)
        records = os.listdir(self.folder.name + "/cache")
        texts = []
        for name in records:
            with open(os.path.join(self.folder.name, "cache", name), "rb") as file:
                texts.append(file.read())
        self.assertTrue(any(b"fail cpu " + KERNEL.encode() in text for text in texts),
                        "the engine's record does not name the kernel")


if __name__ == "__main__":
    BENCH, WRONG, LAYER, KERNEL = sys.argv[1:5]
    devices = list_devices(BENCH)
    if not devices:
        print("skipped: no OpenCL device is installed")
        sys.exit(77)
    # PoCL claims least, so that lies can be told in its name.
    DEVICE = str(next((i for i, d in enumerate(devices) if "Portable" in d), 0))
    unittest.main(argv=[sys.argv[0]] + sys.argv[5:], verbosity=2)
