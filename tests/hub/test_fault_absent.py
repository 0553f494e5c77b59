#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fault points cost nothing where they are not compiled in: each file that has some is compiled without TL_HUB_FAULTS,
once as it is and once with its fault lines struck out, and the machine code must be the same, byte for byte. No name
of a point, of a variable or of a function of hub/fault.c may be in it, and a release build may not ask for them.

usage: test_fault_absent.py BUILD_FOLDER
"""
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
WHOLE_LINE = re.compile(r"^\s*TL_(FAULT|FAULT_STEP|HISTORY|TRY|DID)\((?:[^;]|\n)*?\);\n", re.M)
REPLACED = [(re.compile(r"TL_FAULT_(REFUSED|LOST)\(error\)"), "false"), (re.compile(r"TL_FAULT_APART\(\)"), "false")]
NAME = re.compile(r'TL_FAULT\("([a-z_]+\.[a-z_]+)"')


def compiled(command, folder, text, name):
    """The machine code with its relocations, and the object file."""
    source = folder / f"{name}.c"
    source.write_text(text)
    target = folder / f"{name}.o"
    subprocess.run([*command, "-g0", "-c", str(source), "-o", str(target)], check=True)
    listing = subprocess.run(["objdump", "-d", "-r", "--no-show-raw-insn", str(target)], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
    return listing.split("\n", 3)[3], target


def main(build):
    commands = json.loads((build / "compile_commands.json").read_text())
    files = sorted(p for room in ("hub", "runner") for p in (SOURCE / room).glob("*.c")
                   if re.search(r"\bTL_(FAULT|HISTORY|TRY|DID)", p.read_text()))
    assert len(files) >= 10, "hardly any file has a fault point: is the pattern still right?"
    names = set()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for path in [*files, SOURCE / "hub/fault.c"]:
            entry = next(c for c in commands if pathlib.Path(c["file"]) == path)
            words = [w for w in shlex.split(entry["command"]) if w != "-DTL_HUB_FAULTS" and not w.startswith("-fsanitize")]
            for option in ("-o", "-c"):
                if option in words:
                    at = words.index(option)
                    del words[at:at + 2]
            words = [w for w in words if not w.endswith(".c") and w != "-g"]
            text = path.read_text()
            names |= set(NAME.findall(text))
            plain, target = compiled(words, folder, text, "plain")
            symbols = subprocess.run(["nm", str(target)], check=True, stdout=subprocess.PIPE, text=True).stdout
            strings = subprocess.run(["strings", "-a", str(target)], check=True, stdout=subprocess.PIPE, text=True).stdout
            found = [w for w in (symbols + strings).split() if w.startswith("fault_") and w != "fault_points_are_not_compiled_in"
                     or "TL_HUB_FAULT" in w or "TL_HUB_HISTORY" in w or w in names]
            assert not found, f"{path.name}: compiled without TL_HUB_FAULTS it still holds {found[:5]}"
            if path.name == "fault.c":
                assert not symbols.strip(), f"fault.c defines {symbols}"
                continue
            struck = WHOLE_LINE.sub(lambda found: "\n" * found.group(0).count("\n"), text)  # assert has line numbers
            for pattern, value in REPLACED:
                struck = pattern.sub(value, struck)
            assert struck != text
            bare, _ = compiled(words, folder, struck, "bare")
            assert plain == bare, f"{path.name}: its fault points change the machine code"
    assert len(names) >= 20, f"only {len(names)} names"
    print(f"{len(files)} files with {len(names)} names: the same machine code without them")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
