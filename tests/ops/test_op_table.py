"""tools/op-table sees what went wrong in a log of test-backend-ops, and only that."""
import os
import subprocess
import sys
import tempfile

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "op-table")
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


def main():
    failed = 0
    for text, status, words in CASES:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as log:
            log.write(text)
            log.flush()
            done = subprocess.run([sys.executable, TOOL, "full", "--log", log.name], text=True,
                                  capture_output=True, check=False)
        if done.returncode != status or words not in done.stdout:
            failed += 1
            print(f"FAILED: status {done.returncode}, wanted {status} and \"{words}\": {done.stdout}")
    print(f"{len(CASES)} checks, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
