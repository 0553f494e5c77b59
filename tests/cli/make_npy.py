#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Arrays as NumPy writes them, without NumPy: make_npy.py FOLDER. The layout is that of numpy.lib.format, version 1.0."""
import os
import struct
import sys
import zipfile


def npy(kind, shape, values, fortran=False):
    letters = {"<f4": "<f", "<f8": "<d", ">f4": ">f", "|u1": "B", "<i8": "<q", "<i4": "<i", "|b1": "B"}
    header = f"{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': ({', '.join(map(str, shape))},), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    body = b"".join(struct.pack(letters[kind][0] + letters[kind][1:], v) for v in values)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


def main(folder):
    os.makedirs(folder, exist_ok=True)

    def save(name, data):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)

    x = npy("<f4", (6, 2), [v / 4 for v in range(12)])
    y = npy("<i8", (6,), [0, 1, 2, 0, 1, 2])
    save("two.npy", npy("<f4", (2, 2), range(4)))
    save("x.npy", x)
    save("y.npy", y)
    save("values.npy", npy("<f8", (6, 2), [v * 1.5 for v in range(12)]))
    save("pictures.npy", npy("|u1", (6, 2, 3), range(36)))
    save("big_endian.npy", npy(">f4", (6, 2), [v / 4 for v in range(12)]))
    save("fortran.npy", npy("<f4", (6, 2), range(12), fortran=True))
    save("nan.npy", npy("<f4", (6, 2), [float("nan") if v == 7 else v for v in range(12)]))
    save("short.npy", x[:-3])
    save("object.npy", x.replace(b"<f4", b"|O8"))
    for name, method in (("stored.npz", zipfile.ZIP_STORED), ("packed.npz", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(os.path.join(folder, name), "w", method) as archive:
            archive.writestr("x_train.npy", x)
            archive.writestr("y_train.npy", y)
            archive.writestr("x_test.npy", npy("<f4", (2, 2), [9, 8, 7, 6]))
            archive.writestr("y_test.npy", npy("<i8", (2,), [1, 2]))


if __name__ == "__main__":
    main(sys.argv[1])
