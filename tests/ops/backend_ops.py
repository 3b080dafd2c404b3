"""llama.cpp's own test-backend-ops against the plugin: every supported case must pass, and none that
supported.txt lists may get lost.

  backend_ops.py --build DIR --runtime NAME [--op OP]... [--table FILE] [--update] [--timeout S]

Without --op: every operator. --update adds newly supported cases to supported.txt. --table writes what
was measured as a Markdown table: passed, supported, all cases, per operator ("untested": llama.cpp's
CPU backend, which answers are compared with, cannot run the case)."""
import argparse
import collections
import csv
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = os.path.join(HERE, "supported.txt")
DEVICE = "OCLORA0"
LINE = re.compile(r"([A-Z0-9_]+)\((.*)\): (?:\x1b\[[0-9;]*m)?(OK|FAIL|not supported)")


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


class Program:
    def __init__(self, args):
        self.path = os.path.join(os.environ.get("OCLORA_LLAMA_DIR", ""), "lib", "test-backend-ops")
        if not os.path.exists(self.path):
            skip(f"no {self.path} (tools/setup llama-tools builds it)")
        self.env = dict(os.environ, GGML_BACKEND_PATH=os.path.join(args.build, "lib", "libggml-oclora.so"))
        if args.runtime != "default":
            vendors = os.environ.get("OCL_ICD_VENDORS", "/etc/OpenCL/vendors")
            icd = os.path.join(vendors, args.runtime + ".icd")
            if not os.path.exists(icd):
                skip(f"the OpenCL runtime {args.runtime} is not installed ({icd})")
            self.env["OCL_ICD_VENDORS"] = icd

    def run(self, *options, timeout):
        done = subprocess.run([self.path, *options, "-b", DEVICE], capture_output=True, text=True,
                              errors="replace", env=self.env, timeout=timeout, check=False)
        return done.returncode, done.stdout, done.stderr


def list_support(program):
    """Per operator: all cases and the supported ones, as OP(parameters). Cases listed twice count once."""
    status, out, log = program.run("support", "--output", "csv", timeout=300)
    every, supported = collections.OrderedDict(), collections.OrderedDict()
    for row in csv.DictReader(out.splitlines()):
        op, case = row["op_name"], f"{row['op_name']}({row['op_params']})"
        every.setdefault(op, set()).add(case)
        supported.setdefault(op, set())
        if row["supported"] == "1":
            supported[op].add(case)
    if status != 0 or not every:
        sys.exit(f"test-backend-ops support: exit status {status}: {log[-800:]}")
    return every, supported


def test(program, op, timeout):
    """(passed cases, failures) of one operator."""
    try:
        status, out, log = program.run("test", "-o", op, timeout=timeout)
    except subprocess.TimeoutExpired:
        return set(), [f"{op}: not done after {timeout} s"]
    passed, failed = set(), []
    for line in out.splitlines():
        for name, parameters, verdict in LINE.findall(line):
            if verdict == "OK":
                passed.add(f"{name}({parameters})")
            elif verdict == "FAIL":
                failed.append(f"{name}({parameters}): {line.strip()[:60]}")
    if status != 0 and not failed:
        failed.append(f"{op}: exit status {status}: {log[-400:]}")
    return passed, failed


def read_kept():
    if not os.path.exists(KEPT):
        return set()
    with open(KEPT, encoding="utf-8") as file:
        return {line.rstrip("\n") for line in file if line.strip()}


def write_table(path, rows, every, supported):
    passed, can, total = (sum(row[i] for row in rows) for i in (1, 2, 3))
    other = [op for op in every if not supported[op]]
    with open(path, "w", encoding="utf-8") as file:
        file.write("| operator | passed | untested | supported | all cases |\n|---|---:|---:|---:|---:|\n")
        for op, done, one, all_cases in rows:
            file.write(f"| {op} | {done} | {one - done} | {one} | {all_cases} |\n")
        file.write(f"| together | {passed} | {can - passed} | {can} | {total} |\n")
        file.write(f"| {len(other)} other operators | | | 0 | {sum(len(every[op]) for op in other)} |\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--runtime", default="default")
    parser.add_argument("--op", action="append")
    parser.add_argument("--not-op", action="append", default=[])
    parser.add_argument("--table")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--timeout", type=int, default=3000)
    args = parser.parse_args()
    program = Program(args)

    every, supported = list_support(program)
    cases = set().union(*supported.values())
    kept = read_kept()
    lost = sorted(kept - cases)
    for case in lost[:20]:
        print(f"LOST: {case}")
    new = cases - kept
    if new and args.update:
        with open(KEPT, "w", encoding="utf-8") as file:
            file.writelines(case + "\n" for case in sorted(kept | cases))
    elif new:
        print(f"{len(new)} more cases are supported than supported.txt lists (--update adds them)")

    bad, rows = len(lost), []
    for op in every:
        if not supported[op] or op in args.not_op or (args.op and op not in args.op):
            continue
        begin = time.monotonic()
        passed, failed = test(program, op, args.timeout)
        for case in failed[:20]:
            print(f"FAILED: {case}")
        bad += len(failed)
        rows.append((op, len(passed & supported[op]), len(supported[op]), len(every[op])))
        print(f"{op}: {rows[-1][1]} passed, {len(failed)} failed, {rows[-1][2]} supported of "
              f"{rows[-1][3]} ({time.monotonic() - begin:.0f} s)", flush=True)
    if args.table:
        write_table(args.table, rows, every, supported)
    print(f"{sum(row[1] for row in rows)} cases passed, {bad} failed or lost")
    sys.exit(1 if bad or not rows else 0)


main()
