"""tools/op-table sees what went wrong in a log of test-backend-ops, and only that; the list of supported
cases has lost none of those it ever had."""
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, "tools", "op-table")
LIST = "tests/ops/supported.txt"
GOOD = """Backend 1/2: OCLORA0
  ABS(type=f16,ne_a=[128,2,2,2],v=0): \x1b[1;32mOK\x1b[0m
  MUL_MAT(type_a=f32,type_b=f32,m=16): \x1b[1;32mOK\x1b[0m
  MUL_MAT(type_a=q1_0,type_b=f32,m=16): not supported [OCLORA0]
  MUL_MAT(type_a=f16,type_b=f16,m=16): not supported [CPU]
"""
FAILED = "[MUL_MAT] ERR = 0.500000000 > 0.000500000   MUL_MAT(type_a=f32,type_b=f32,m=17): \x1b[1;31mFAIL\x1b[0m\n"
CASES = [
    (GOOD, 0, "2 cases compared, 0 failed"),
    (GOOD + FAILED, 1, "failed: MUL_MAT(type_a=f32,type_b=f32,m=17)"),
    (GOOD + "test-backend-ops died of signal 11\n", 1, "died of signal 11"),
    ("  MUL_MAT(type_a=q1_0): not supported [OCLORA0]\n", 1, "0 cases compared"),
]


def git(*arguments):
    done = subprocess.run(["git", "-C", ROOT, *arguments], text=True, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def check_grows():
    """Every version of the list in the history is in the one that lies here. Number of lost cases."""
    commits = git("log", "--format=%H", "--", LIST).split()
    with open(os.path.join(ROOT, LIST), encoding="utf-8") as file:
        now = set(file.read().splitlines())
    lost = {case for commit in commits for case in git("show", f"{commit}:{LIST}").splitlines()} - now
    for case in sorted(lost):
        print(f"FAILED: {case} was supported once")
    print(f"{len(now)} supported cases, {len(lost)} lost in {len(commits)} earlier versions"
          if commits else "no git history here: the list is not compared with earlier ones")
    return len(lost)


def main():
    failed = 1 if check_grows() else 0
    for text, status, words in CASES:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as log:
            log.write(text)
            log.flush()
            done = subprocess.run([sys.executable, TOOL, "full", "--log", log.name], text=True,
                                  capture_output=True, check=False)
        if done.returncode != status or words not in done.stdout:
            failed += 1
            print(f"FAILED: status {done.returncode}, wanted {status} and \"{words}\": {done.stdout}")
    print(f"{len(CASES) + 1} checks, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
