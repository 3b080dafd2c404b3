#!/usr/bin/env python3
"""check-report on reports from strangers: thousands of changed ones, each of which must be refused or
accepted in an orderly way, and those that look right and are not. Usage: test_check_report.py SOURCE_DIR"""
import contextlib
import hashlib
import importlib.machinery
import importlib.util
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE = sys.argv[1] if len(sys.argv) > 1 else "."
PROGRAM = os.path.join(SOURCE, "tools", "check-report")
ROUNDS = 4000
PLACE = re.compile(rb'"checksum": "(.{64})"')
EDGES = [b"0", b"-1", b"1e999", b"NaN", b"-Infinity", b"99999999999999999999", b"true", b"null", b"[]", b"{}",
         b'""', b'"\\ud800"', b'"\\u001b[2J"', b"[" * 700 + b"]" * 700, b"9" * 5000, b'"checksum": "', b"\xff"]


def program():
    """check-report as a module, so that thousands of runs take seconds."""
    loader = importlib.machinery.SourceFileLoader("check_report", PROGRAM)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_report", loader))
    loader.exec_module(module)
    return module


def seal(data):
    """The same report with the checksum that belongs to it."""
    found = list(PLACE.finditer(data))
    if not found:
        return data
    start, end = found[-1].span(1)
    digest = hashlib.sha256(data[:start] + b"0" * 64 + data[end:]).hexdigest().encode()
    return data[:start] + digest + data[end:]


def written(report):
    return seal(json.dumps(report, indent=1).encode() + b"\n")


def small(report):
    """One device of a report, and an item of each section."""
    report = dict(report, devices=[dict(report["devices"][0])])
    sections = report["devices"][0]["sections"]
    report["devices"][0].update(sections={name: items[:1] for name, items in sections.items()}, failed_kernels=[])
    return report


def change(data, generator):
    values = list(re.finditer(rb'-?[0-9][0-9.e+-]*|"[^"\n]*"|[\[{]', data))
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        at = generator.randrange(len(data) or 1)
        kind = generator.randrange(6)
        if kind == 0 and values:
            start, end = generator.choice(values).span()
            data = data[:start] + generator.choice(EDGES) + data[end:]
        elif kind == 1:
            data = data[:at] + bytes([generator.randrange(256)]) + data[at + 1:]
        elif kind == 2:
            data = data[:at] + data[at + generator.randrange(64):]
        elif kind == 3:
            data = data[:at] + data[at:at + generator.randrange(200)] + data[at:]
        elif kind == 4:
            data = data[:at] + generator.choice(EDGES) + data[at:]
        else:
            data = data[:at] if generator.randrange(4) == 0 else data[:at] + data[at + 1:]
    return data


class Strangers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.module = program()
        with open(os.path.join(SOURCE, "tests", "data", "reports", "pocl.json"), "rb") as file:
            cls.whole = file.read()
        cls.report = small(json.loads(cls.whole))
        cls.good = written(cls.report)
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = os.path.join(cls.folder.name, "report.json")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def check(self, data):
        """Status, output, and what is wrong."""
        with open(self.path, "wb") as file:
            file.write(data)
        # As a terminal or a pipe takes it: what cannot be written is an error.
        out, err = io.TextIOWrapper(io.BytesIO(), "ascii"), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = self.module.main([self.path])
        out.flush()
        return status, out.buffer.getvalue().decode("ascii"), err.getvalue()

    def refused(self, data, words):
        status, out, err = self.check(data)
        self.assertEqual(status, 1, err)
        self.assertEqual(out, "")
        self.assertIn(words, err)

    def test_good(self):
        for data in (self.good, self.whole):
            status, out, err = self.check(data)
            self.assertEqual((status, err), (0, ""))
            self.assertIn("good (", out)

    def test_mutations(self):
        generator = random.Random(20261)
        counts = {0: 0, 1: 0}
        for number in range(ROUNDS):
            data = change(self.good, generator)
            sealed = number % 4 != 0
            data = seal(data) if sealed else data
            status, out, err = self.check(data)
            self.assertIn(status, counts, (number, err))
            counts[status] += 1
            self.assertEqual(bool(out), status == 0, number)
            self.assertEqual(bool(err), status == 1, number)
            self.assertLess(max(len(line) for line in (out + err).splitlines()), 2000, number)
            self.assertTrue((out + err).replace("\n", "").isprintable(), number)
            if not sealed and data != self.good:
                self.assertEqual(status, 1, number)
        print(f"check-report: {ROUNDS} mutations, {counts[1]} refused, {counts[0]} good")
        self.assertGreater(counts[0], 20)

    def test_as_a_program(self):
        for data, wanted in ((self.good, 0), (self.good[:-3], 1), (b"\xff\xfe", 1), (b"", 1)):
            with open(self.path, "wb") as file:
                file.write(data)
            done = subprocess.run([sys.executable, PROGRAM, self.path], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, wanted, done.stderr)
            self.assertNotIn("Traceback", done.stderr)

    def with_item(self, **fields):
        report = json.loads(json.dumps(self.report))
        section = next(iter(report["devices"][0]["sections"].values()))
        section[0].update(fields)
        return report

    def test_checksum(self):
        compact = json.dumps(self.report, separators=(",", ":")).encode()
        self.refused(compact, "checksum is wrong")
        self.refused(self.good + b" ", "checksum is wrong")
        self.refused(self.good.replace(b'"pass"', b'"skip"', 1), "checksum is wrong")

    def test_numbers(self):
        for text, words in (("1e999", "no finite number"), ("NaN", "no finite number"),
                            ("-Infinity", "no finite number"), ("9223372036854775808", "64 bits"),
                            ("9" * 5000, "")):
            data = json.dumps(self.with_item(value=12345.5), indent=1).replace("12345.5", text).encode()
            self.refused(seal(data), words)
        self.refused(written(dict(self.report, format_version=True)), "is not 1")

    def test_texts(self):
        for text in ("\ud800", "\x1b[2J", "x" * 100000):
            report = json.loads(json.dumps(self.report))
            report["devices"][0]["device"] = text
            status, out, err = self.check(written(report))
            self.assertEqual((status, err), (0, ""))
            self.assertLess(len(out), 1000)
            self.assertTrue(out.rstrip("\n").isprintable())

    def test_depth(self):
        for depth in (500, 950, 5000, 200000):
            data = self.good.replace(b'"format_version": 1', b'"format_version": ' + b"[" * depth + b"]" * depth)
            self.refused(seal(data), "")

    def test_size(self):
        self.refused(b"[" + b" " * (16 << 20) + b"]", "larger than any report")
        self.refused(b"[" + b"0," * (1 << 20) + b"0]", "denser")

    def test_sense(self):
        item = {"status": "pass", "nmse": 2.0, "bound": 1.0}
        self.refused(written(self.with_item(**item)), "above its bound")
        self.refused(written(self.with_item(status="fail")), "the verdict is pass, yet")
        self.refused(written(dict(self.report, verdict="degraded")), "its devices make it pass")
        self.refused(written(dict(self.report, sufficient=not self.report["sufficient"])), "is marked sufficient")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:], verbosity=2)
