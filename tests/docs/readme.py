"""The README's host program is tests/plugin/client_v1.c, word for word; its links lead somewhere; it
names no path of the machine it was written on."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def main():
    problems = []
    readme = read("README.md")
    blocks = re.findall(r"```c\n(.*?)```", readme, re.DOTALL)
    if read("tests/plugin/client_v1.c") not in blocks:
        problems.append("README.md does not show tests/plugin/client_v1.c as it is")
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        text = read(name)
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            if not os.path.exists(os.path.join(ROOT, link)):
                problems.append(f"{name} links to {link}, which does not exist")
        for path in re.findall(r"(?<![\w.])/(?:work|home|root|tmp)/\S*", text):
            problems.append(f"{name} names the path {path}")
    print(*problems or ["README: program, links and paths are right"], sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
