"""Several devices, models and contexts in one process (see sessions.c): on this runtime alone, and on
both runtimes at once where both are installed."""
import os
import subprocess

from support import golden, start


def run(host, checks, devices, env):
    done = subprocess.run([host.program("test_sessions"), host.model, golden.ADAPTERS], text=True,
                          capture_output=True, timeout=600, env=dict(os.environ, **env), check=False)
    checks.check(done.returncode == 0 and f"{devices} devices" in done.stdout,
                 f"on {devices} devices: status {done.returncode}: {done.stdout}{done.stderr[-600:]}")


def main():
    host, checks = start()
    run(host, checks, 1, host.env)
    folder = os.environ.get("OCL_ICD_VENDORS", "/etc/OpenCL/vendors")
    if all(os.path.exists(os.path.join(folder, f"{name}.icd")) for name in ("pocl", "intel")):
        run(host, checks, 2, {"OCLORA_DEVICES": "Intel,Portable"})
    else:
        print("not run: two devices, because only one of the two runtimes is installed")
    checks.finish()


main()
