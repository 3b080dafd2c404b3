#!/usr/bin/env python3
"""Every kernel of cl/, in every variant the engine can launch, has a case in clinfo-bench's self-test, which
passes. Usage: test_selftest_coverage.py CLINFO_BENCH"""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(SOURCE, "tools", "lib"))
import isa  # noqa: E402  (found through the path above)

BENCH = None
DEVICE = "0"
TYPES = range(11)  # f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_K, q5_K, q6_K: OCLORA_TYPE_MAP
BLOCKS, PANELS, CACHES = range(3, 11), TYPES, range(8)
WRITTEN = range(3, 8)  # types that set_rows and copies make


# What host/core/tune_table.c asks for on CPUs with 32 registers of 16 floats, and on others: the engine
# launches other variants, and a machine has one of the two.
WIDE = ("matmul_rows_8=5,matmul_tile_from=16,matmul_tile_from_dense=17,matmul_panels_one=4,"
        "matmul_panels_four=4,matmul_panels_blocks=2,matmul_panels_dense=3,vector_sums=16")
NARROW = ("matmul_rows_8=65536,matmul_tile_from=5,matmul_tile_from_dense=65536,matmul_panels_one=1,"
          "matmul_panels_four=1,vector_sums=8")


def run_step(name, tune=""):
    """The items of one step, by name, from the program's own child."""
    with tempfile.TemporaryDirectory() as folder:
        env = dict(os.environ, OCLORA_CACHE_DIR=folder, OCLORA_TUNE=tune)
        command = f'exec "{BENCH}" --step {name} --step-device {DEVICE} --step-mode 1 3>&1 >/dev/null'
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=env,
                              timeout=800, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["item"]["name"]: line["item"] for line in lines if "item" in line}


def required_narrow():
    """As below, of CPUs with few or short registers, where others have other variants."""
    yield from ((f"matmul_panel: panel_rows -DTYPE={t} -DMR=1 -DNV=1 ",) for t in PANELS if t > 3)
    yield from ((f"matmul_panel: panel_rows -DTYPE={t} -DMR=4 -DNV=1 ",) for t in PANELS)
    yield from ((f"matmul_panel: panel_tile -DTYPE={t} -DMR=4 -DNV=1 ",) for t in PANELS if t > 2)
    yield ("matmul_panel_group: panel_tile_group ", "-DMR=4 -DNV=1")
    yield from ((f"{file}: {file} -DSUMS=8",) for file in ("lora_shrink", "lora_expand", "lora_fused"))


def required(cpu):
    """Pieces of text, all of which one launched kernel must hold: its file, entry and defines."""
    own, lanes = ("cpu", 16) if cpu else ("gpu", 1)
    attention = "attention_heads" if cpu else "attention_gpu"
    yield from ((f"attention: {attention} ", f"-DK_TYPE={t} -DV_TYPE={t} ") for t in CACHES)
    if cpu:
        yield ("lora_fused: lora_fused ", "-DPREFETCH")
        yield ("attention: attention_rows ", "-DROWS=8")
        yield ("attention: attention_heads ", "-DHEADS=1")
        yield ("attention: attention_heads ", "-DHEADS=2")
        yield from ((f"matmul_panel: panel_rows -DTYPE={t} ", "-DAHEAD=2048") for t in PANELS if t > 2)
    yield from ((f"elementwise: unary -DLANES={lanes} -DUNARY={u}",) for u in range(17))
    yield from ((f"elementwise: glu -DLANES={lanes} -DGLU={g}",) for g in range(6))
    yield from ((f"matmul_plain: matmul_{own} -DA_TYPE={t} -DNT={n}",) for t in TYPES for n in (1, 4))
    yield from ((f"matmul_panel: panel_rows -DTYPE={t} -DMR={r} ",) for t in PANELS for r in (1, 4, 8))
    yield from ((f"matmul_panel: panel_tile -DTYPE={t} ",) for t in PANELS)
    yield from ((f"rows: get_rows -DLANES={lanes} -DTYPE={t}",) for t in TYPES)
    yield from ((f"quantize: quantize_rows -DTYPE={t}",) for t in WRITTEN)
    yield from ((f"quantize: dequantize_rows -DTYPE={t}",) for t in BLOCKS)
    yield from ((f"probe: probe_{k} -DPROBE_WIDTH={w}",) for k in ("fill", "copy", "axpy")
                for w in (1, 4, 16))


def is_launched(pieces, launched):
    """A define ends at a blank or with the text: TYPE=1 is not TYPE=10."""
    return any(all(piece.rstrip() + " " in text + " " for piece in pieces) for text in launched)


class Coverage(unittest.TestCase):
    def check_class(self, name, pieces_of, tune=""):
        items = run_step(name, tune)
        self.assertIn("coverage", items, "the step did not reach its end")
        coverage = items.pop("coverage")
        self.assertEqual(coverage["not_launched"], [], "kernels without a case")
        for pieces in pieces_of:
            with self.subTest(" ".join(pieces)):
                self.assertTrue(is_launched(pieces, coverage["launched"]), "no case launches it")
        self.assertEqual([i["name"] for i in items.values() if i["status"] != "pass"], [])
        files = {text.split(":")[0] for text in coverage["launched"]}
        for item in items.values():  # what would be disabled is a file that there is
            self.assertIn(item["kernel"].split(":")[0], files, item["name"])
        return coverage["launched"]

    def test_every_file_is_timed(self):
        """At model sizes: every file of kernels, but the probes (the limits' own) and chains (they have none)."""
        items = run_step("kernels")
        self.assertEqual([i["name"] for i in items.values() if i["status"] != "info"], [])
        timed = {file for item in items.values() for file in item["kernel"].split(", ")}
        for item in items.values():
            self.assertGreater(item["value"], 0, item["name"])
            self.assertGreater(item["bytes"], 0, item["name"])
        for path in glob.glob(os.path.join(SOURCE, "cl", "*.cl")):
            with open(path, encoding="utf-8") as file:
                if re.search(r"^__kernel", file.read(), re.MULTILINE):
                    self.assertIn(os.path.basename(path)[:-3], timed | {"probe", "chain"})

    def test_cpu_class(self):
        self.check_class("selftest_cpu", required(True), WIDE)

    def test_cpu_class_of_few_registers(self):
        self.check_class("selftest_cpu", required_narrow(), NARROW)

    def test_gpu_class(self):
        launched = self.check_class("selftest_gpu", required(False))
        compiled = {}
        for file, defines in isa.VARIANTS + isa.CHECKED:
            compiled.setdefault(file, []).append(set(defines.split()))
        for text in launched:
            file, _, rest = text.partition(": ")
            self.assertTrue(any(set(rest.split()[1:]) <= defines for defines in compiled.get(file, [])),
                            f"{text} is compiled for no GPU by tools/isa-report")


if __name__ == "__main__":
    BENCH = os.path.abspath(sys.argv[1])
    listed = subprocess.run([BENCH, "--list"], capture_output=True, text=True, check=False)
    devices = listed.stdout.splitlines()
    if not devices:
        print("skipped: no OpenCL device is installed")
        sys.exit(77)
    # Intel's runtime compiles fastest; the others run the same cases in the matrix.
    DEVICE = str(next((i for i, d in enumerate(devices) if "Intel" in d), 0))
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:], verbosity=2)
