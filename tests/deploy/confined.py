"""Runs a program under the filters that a unit asks systemd for: of system calls, and of memory.

    python confined.py MDWE NAME,NAME,... PROGRAM ARGUMENT...

With MDWE of `yes`, memory is not both written to and run. systemd does the same with the same library, but
only where it is the first process of the machine.
"""

import ctypes
import mmap
import os
import sys

ALLOW, REFUSE = 0x7FFF_0000, 0x0005_0001  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM)
MASKED_EQ = 7
PR_SET_NO_NEW_PRIVS = 38
WRITE, EXECUTE = mmap.PROT_WRITE, mmap.PROT_EXEC


class Comparison(ctypes.Structure):
    """Of an argument of a system call: what is left of it under a mask is a value."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


# The protections, third argument of each, with which memory is still given.
PROTECTIONS = {
    "mmap": [(WRITE | EXECUTE, 0), (WRITE | EXECUTE, WRITE), (WRITE | EXECUTE, EXECUTE)],
    "mprotect": [(EXECUTE, 0)],
    "pkey_mprotect": [(EXECUTE, 0)],
}


def confine(allowed: list[str], deny_write_execute: bool) -> None:
    """For this process and those it becomes or starts."""
    if ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("prctl(PR_SET_NO_NEW_PRIVS)")
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(REFUSE))
    for name in allowed:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # of another architecture
            continue
        conditions = PROTECTIONS.get(name, []) if deny_write_execute else []
        for mask, value in conditions:
            comparison = ctypes.byref(Comparison(2, MASKED_EQ, mask, value))
            check(seccomp.seccomp_rule_add_array(rules, ALLOW, number, 1, comparison), name)
        if not conditions:
            check(seccomp.seccomp_rule_add_array(rules, ALLOW, number, 0, None), name)
    check(seccomp.seccomp_load(rules), "the filter")


def check(result: int, what: str) -> None:
    """Raises OSError where the library says that something failed."""
    if result:
        raise OSError(-result, what)


if __name__ == "__main__":
    confine(sys.argv[2].split(","), sys.argv[1] == "yes")
    os.execvp(sys.argv[3], sys.argv[3:])
