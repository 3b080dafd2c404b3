#!/usr/bin/env python3
"""What tests/support/summary.py says of passed, failed and skipped tests, and of parts left out."""
import os
import subprocess
import sys
import tempfile
import unittest

SUMMARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "summary.py")
CASE = '<testcase name="{}" status="{}">{}<system-out>{}</system-out></testcase>'


def summarise(*cases):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.xml")
        with open(path, "w", encoding="utf-8") as file:
            file.write("<testsuite>" + "".join(CASE.format(*case) for case in cases) + "</testsuite>")
        done = subprocess.run([sys.executable, SUMMARY, path], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


class Summary(unittest.TestCase):
    def test_all_pass(self):
        status, text = summarise(("good", "run", "", "x: 3 checks, 0 failed; 2 tests, 0 skipped"))
        self.assertEqual((status, text), (0, "1 passed, 0 failed, 0 skipped\n"))

    def test_parts_are_named(self):
        said = "run     a\n  skipped: no such device\nskipped a\nx: 1 checks, 0 failed; 2 tests, 1 skipped"
        status, text = summarise(("good", "run", "", said))
        self.assertEqual(status, 0)
        self.assertIn("good: skipped: no such device", text)
        self.assertIn("1 parts of tests that ran were skipped", text)

    def test_parts_without_a_reason_are_counted(self):
        _, text = summarise(("good", "run", "", "x: 1 checks, 0 failed; 9 tests, 3 skipped"))
        self.assertIn("3 parts without a reason", text)

    def test_parts_of_python(self):
        said = "test_a ... skipped 'no half arithmetic'\nOK (skipped=1)"
        _, text = summarise(("good", "run", "", said))
        self.assertIn("no half arithmetic", text)
        self.assertNotIn("without a reason", text)

    def test_skipped_and_failed(self):
        status, text = summarise(("off", "notrun", "<skipped/>", "skipped: no device"),
                                 ("bad", "fail", '<failure message="why"/>', ""))
        self.assertEqual(status, 1)
        self.assertIn("off: skipped: no device", text)
        self.assertTrue(text.endswith("0 passed, 1 failed, 1 skipped\n"))

    def test_nothing_ran(self):
        self.assertEqual(summarise()[0], 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
