#!/usr/bin/env python3
"""clinfo-bench and check-report from outside: exit status and message for each way to be called, a
report that is valid, and bad input of every kind. Usage: test_clinfo_bench.py CLINFO_BENCH SOURCE_DIR"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unittest

BENCH = SOURCE = None
CACHE = tempfile.TemporaryDirectory()


def run(*args, env=None, timeout=300):
    full = dict(os.environ, OCLORA_CACHE_DIR=CACHE.name)
    full.update(env or {})
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, env=full,
                          timeout=timeout, check=False)
    return done.returncode, done.stdout, done.stderr


def first_device():
    status, out, _ = run(BENCH, "--list")
    return None if status else out.splitlines()[0].split(" / ")[0].split(": ", 1)[1]


class Usage(unittest.TestCase):
    def test_help(self):
        status, out, _ = run(BENCH, "--help")
        self.assertEqual(status, 0)
        self.assertIn("Exit status", out)

    def test_unknown_option(self):
        self.assertEqual(run(BENCH, "--frobnicate")[0], 3)
        self.assertEqual(run(BENCH, "word")[0], 3)
        self.assertEqual(run(BENCH, "--limit", "soon")[0], 3)

    def test_unknown_device(self):
        status, _, err = run(BENCH, "--device", "no such device", "--quick")
        self.assertEqual(status, 3)
        self.assertIn("no device matches 'no such device'", err)

    def test_no_platform(self):
        with tempfile.TemporaryDirectory() as empty:
            status, _, err = run(BENCH, "--quick", env={"OCL_ICD_VENDORS": empty})
        self.assertEqual(status, 2)
        self.assertIn("no OpenCL device found", err)

    def test_icd_that_points_nowhere(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "gone.icd"), "w", encoding="utf-8") as file:
                file.write("/nonexistent/libgone.so\n")
            report = os.path.join(folder, "report.json")
            status, _, err = run(BENCH, "--quick", "--json", report,
                                 env={"OCL_ICD_VENDORS": folder})
            self.assertEqual(status, 2)
            self.assertIn("may name a library that does not exist", err)
            self.assertEqual(run(sys.executable, SOURCE + "/tools/check-report", report)[0], 0)

    def test_unwritable_report(self):
        status, _, err = run(BENCH, "--device", "0", "--only", "fma", "--json",
                             "/nonexistent/r.json")
        self.assertEqual(status, 3)
        self.assertIn("cannot be written", err)


class Reports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = os.path.join(cls.folder.name, "report.json")
        cls.status, cls.page, cls.err = run(BENCH, "--device", first_device(), "--quick", "--only",
                                            "fma,probe_copy,launch,claims,base_f16", "--json", cls.path, "--svg", cls.path + ".svg",
                                            "--markdown=" + cls.path + ".md")
        with open(cls.path, encoding="utf-8") as file:
            cls.text = file.read()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def write(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def check(self, path):
        return run(sys.executable, SOURCE + "/tools/check-report", path)

    def test_report(self):
        self.assertIn(self.status, (0, 1))
        self.assertIn("not sufficient", self.page)
        status, out, err = self.check(self.path)
        self.assertEqual(status, 0, err)
        self.assertIn("good (quick", out)
        device = json.loads(self.text)["devices"][0]
        for section in ("probes", "selftest_cpu", "selftest_gpu", "speed", "kernels"):
            self.assertTrue(device["sections"][section], section)
        with open(self.path + ".svg", encoding="utf-8") as file:
            self.assertTrue(file.read().startswith("<svg"))
        with open(self.path + ".md", encoding="utf-8") as file:
            self.assertIn("| fma |", file.read())

    def test_compare_with_itself(self):
        status, page, _ = run(BENCH, "--device", first_device(), "--only", "fma", "--compare", self.path)
        self.assertIn(status, (0, 1, 2))
        self.assertIn("Against the report of", page)
        self.assertIn("as before", page)

    def test_compare_names_what_changed(self):
        """An older driver on which a probe failed and launches took a second."""
        old = json.loads(self.text)
        device = old["devices"][0]
        device["driver"], device["verdict"] = "0.9", "degraded"
        section = device["sections"]
        next(i for i in section["probes"] if i["name"] == "fma").update(status="fail", detail="wrong")
        launch = next(i for i in section["speed"] if i["name"] == "launch_cost")
        launch.clear()
        launch.update(name="launch_cost", status="info", value=1e6, unit="us", spread_percent=1)
        old["verdict"], old["checksum"] = "degraded", "0" * 64
        text = json.dumps(old, indent=1) + "\n"
        digest = hashlib.sha256(text.encode()).hexdigest()
        path = self.write("older.json", text.replace("0" * 64, digest))
        self.assertEqual(self.check(path)[0], 0)
        status, page, _ = run(BENCH, "--device", first_device(), "--only", "fma,launch", "--compare", path)
        self.assertIn(status, (0, 1))
        self.assertRegex(page, r"driver: 0\.9 -> \S")
        self.assertIn("verdict: degraded -> ", page)
        self.assertIn("probes fma: fail -> pass", page)
        self.assertRegex(page, r"speed launch_cost: \S+ -> \S+ us \(-\d+ %, noise \d+ %\)")
        self.assertNotIn("0 items changed", page)

    def test_changed_report(self):
        path = self.write("changed.json", self.text.replace('"pass"', '"fail"', 1))
        self.assertEqual(self.check(path)[0], 1)
        status, _, err = run(BENCH, "--compare", path)
        self.assertEqual(status, 3)
        self.assertIn("checksum is wrong", err)

    def test_foreign_and_broken_reports(self):
        broken = {"cut.json": self.text[:len(self.text) // 2], "empty.json": "", "other.json": "{}",
                  "array.json": "[1]", "deep.json": "[" * 100000,
                  "twice.json": '{"format":"oclora-clinfo-bench","format":"oclora-clinfo-bench"}',
                  "version.json": self.text.replace('"format_version": 1', '"format_version": 2')}
        for name, text in broken.items():
            path = self.write(name, text)
            self.assertEqual(self.check(path)[0], 1, name)
            status, _, err = run(BENCH, "--compare", path)
            self.assertEqual(status, 3, name)
            self.assertIn("is refused", err, name)

    def test_unreadable_reports(self):
        self.assertEqual(self.check("/nonexistent.json")[0], 3)
        status, _, err = run(BENCH, "--compare", "/nonexistent.json")
        self.assertEqual(status, 3)
        self.assertIn("cannot be read", err)

    def test_schema_violation(self):
        report = json.loads(self.text)
        report["devices"][0]["surprise"] = 1
        status, _, err = self.check(self.write("extra.json", json.dumps(report, indent=1)))
        self.assertEqual(status, 1)
        self.assertIn("'surprise' is no field", err)


class StoredReports(unittest.TestCase):
    def test_all_are_valid(self):
        folder = SOURCE + "/tests/data/reports"
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        for name in names:
            if name.endswith(".json"):
                status, _, err = run(sys.executable, SOURCE + "/tools/check-report",
                                     os.path.join(folder, name))
                self.assertEqual(status, 0, err)


if __name__ == "__main__":
    BENCH, SOURCE = sys.argv[1], sys.argv[2]
    if first_device() is None:
        print("skipped: no OpenCL device is installed")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:], verbosity=2)
