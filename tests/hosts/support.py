"""What the host tests share: where things are, one OpenCL runtime at a time, checks that count."""
import argparse
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))

import golden  # noqa: E402  (found through the path above)

SKIPPED = 77
LORA = ["pirate", "shout", "json", "brief"]  # what stock llama.cpp can serve too
ADAPTERS = LORA + ["robot", "prof", "herald"]  # DoRA, VeRA, FLoRA
NAMES = [golden.BASE] + ADAPTERS


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


class Host:
    """The built programs, the model, and the environment of one runtime."""

    def __init__(self, build, runtime):
        self.build = build
        self.model = os.environ.get("OCLORA_MODEL", "")
        if not os.path.exists(self.model):
            skip('no model; run: eval "$(tools/setup env)"')
        vendors = os.environ.get("OCL_ICD_VENDORS", "/etc/OpenCL/vendors")
        self.env = {"OCLORA_TUNE": "chain_wait_at=2"}  # chains from the third graph on, wherever they run
        if runtime != "default":
            icd = os.path.join(vendors, runtime + ".icd")
            if not os.path.exists(icd):
                skip(f"the OpenCL runtime {runtime} is not installed ({icd})")
            self.env["OCL_ICD_VENDORS"] = icd
        self.folders = {name: golden.adapter_path(name) for name in ADAPTERS}
        self.temp = tempfile.TemporaryDirectory(prefix="oclora-")

    def program(self, name):
        for folder in ("bin", "tests"):
            path = os.path.join(self.build, folder, name)
            if os.path.exists(path):
                return path
        return skip(f"{name} is not built")

    def folder(self, name):
        path = os.path.join(self.temp.name, name)
        os.makedirs(path, exist_ok=True)
        return path


class Checks:
    def __init__(self):
        self.done = self.failed = 0

    def check(self, ok, what):
        self.done += 1
        if not ok:
            self.failed += 1
            print(f"FAILED: {what}", flush=True)
        return ok

    def finish(self):
        print(f"{self.done} checks, {self.failed} failed")
        sys.exit(1 if self.failed or not self.done else 0)


def start():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--runtime", default="default")
    args = parser.parse_args()
    return Host(args.build, args.runtime), Checks()
