#!/usr/bin/env python3
"""Every text with which a loader refuses a file has a case in the tests: the tests are run with
OCLORA_TEST_REFUSALS, and each format of oclora_fail in the sources must match a refusal that a test asked
for, with its status. Usage: named_errors.py SOURCE_DIR TEST_PROGRAM..."""
import os
import re
import subprocess
import sys
import tempfile

SOURCES = ["host/file", "host/adapter", "plugin/ggml/config.c"]
OTHERS = re.compile(r"/pool[a-z_]*\.c$")  # the pool reads no files
CALL = re.compile(r'\b(oclora_fail\(\s*\w+,\s*(OCLORA_\w+),|BAD\(\s*\w+,)\s*((?:"(?:[^"\\]|\\.)*"\s*|PRI\w+\s*)+)[,)]')
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
PLACE = re.compile(r"%[-0-9.*]*(?:ll|z|l)?([a-z])")
# What no file can bring about: tests/fault makes the system call or the allocation behind it fail.
BY_FAULTS = ["%s: %s|FILE_READ", "%s: cannot be mapped: %s|FILE_READ", "%s: too large to map|FILE_READ"]


def formats(source):
    """(file, line, status, format) of every refusal."""
    paths = []
    for name in SOURCES:
        path = os.path.join(source, name)
        paths += [path] if path.endswith(".c") else [os.path.join(path, f) for f in sorted(os.listdir(path))
                                                     if f.endswith(".c")]
    for path in paths:
        if OTHERS.search(path):
            continue
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for call in CALL.finditer(text):
            words = "".join(TEXT.findall(call[3])).replace('\\"', '"')
            if call[2] is None:
                words = "OCLORA_CONFIG: " + words
            line = text.count("\n", 0, call.start()) + 1
            yield os.path.relpath(path, source), line, call[2] or "OCLORA_INVALID_ARGUMENT", words


def pattern(words):
    """A format as a regular expression of what it prints."""
    out, at = "", 0
    for place in PLACE.finditer(words):
        out += re.escape(words[at:place.start()])
        out += {"s": ".*", "g": "[-+0-9.einfa]+", "c": "."}.get(place[1], "[-+0-9a-fx]+")
        at = place.end()
    return out + re.escape(words[at:])


def refusals(programs):
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as file:
        for program in programs:
            done = subprocess.run([program], env=dict(os.environ, OCLORA_TEST_REFUSALS=file.name),
                                  stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, check=False)
            if done.returncode:
                sys.exit(f"{program} failed")
        return file.read()


def main(source, programs):
    said = refusals(programs)
    known = list(formats(source))
    missing = []
    for path, line, status, words in known:
        if words + "|" + status.removeprefix("OCLORA_") in BY_FAULTS:
            continue
        # A text may be cut by its room, and stand behind what it is about.
        found = re.search(f"^{status} .*{pattern(words)}", said, re.M)
        if not found:
            missing.append(f"{path}:{line}: no case of {status} \"{words}\"")
    print("\n".join(missing))
    print(f"{len(known)} refusals in the sources, {len(missing)} without a case")
    return 1 if missing or len(known) < 150 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
