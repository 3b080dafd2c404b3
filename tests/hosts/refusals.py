"""Every refusal of the plugin in a real llama.cpp, each in a process of its own (see refusals.c)."""
import os
import subprocess
import sys

from support import golden, start


def main():
    host, checks = start()
    program = host.program("test_refusals")
    file = os.path.join(host.temp.name, "pirate.gguf")
    subprocess.run([sys.executable, os.path.join(golden.ROOT, "tools", "peft-to-gguf"), host.model,
                    golden.adapter_path("pirate"), file], check=True)
    env = dict(os.environ, OCLORA_TEST_GGUF=file, **host.env)
    names = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        done = subprocess.run([program, host.model, name], capture_output=True, text=True, timeout=300,
                              env=env, check=False)
        ok = checks.check(done.returncode == 0, f"{name}: exit status {done.returncode}")
        if not ok:
            print(done.stdout, done.stderr, flush=True)
    checks.finish()


main()
