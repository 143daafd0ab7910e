"""Runs a program under the filters that a unit asks systemd for: of system calls, memory and sockets.

    python confined.py MDWE AF_INET,... NAME,NAME,... PROGRAM ARGUMENT...

With MDWE of `yes`, memory is not both written to and run. systemd does the same with the same library, but
only where it is the first process of the machine.
"""

import ctypes
import mmap
import os
import socket
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


# By system call the number of an argument, and with which of it, as mask and value, the call is still made.
Conditions = dict[str, tuple[int, list[tuple[int, int]]]]
PROTECTIONS: Conditions = {
    "mmap": (2, [(WRITE | EXECUTE, 0), (WRITE | EXECUTE, WRITE), (WRITE | EXECUTE, EXECUTE)]),
    "mprotect": (2, [(EXECUTE, 0)]),
    "pkey_mprotect": (2, [(EXECUTE, 0)]),
}


def families(names: list[str]) -> Conditions:
    """That sockets are of these families alone."""
    return {"socket": (0, [(0xFFFF_FFFF, getattr(socket, name)) for name in names])}


def confine(allowed: list[str], conditions: Conditions) -> None:
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
        argument, choices = conditions.get(name, (0, []))
        for mask, value in choices:
            comparison = ctypes.byref(Comparison(argument, MASKED_EQ, mask, value))
            check(seccomp.seccomp_rule_add_array(rules, ALLOW, number, 1, comparison), name)
        if not choices:
            check(seccomp.seccomp_rule_add_array(rules, ALLOW, number, 0, None), name)
    check(seccomp.seccomp_load(rules), "the filter")


def check(result: int, what: str) -> None:
    """Raises OSError where the library says that something failed."""
    if result:
        raise OSError(-result, what)


if __name__ == "__main__":
    deny, of_sockets, calls, *program = sys.argv[1:]
    memory = PROTECTIONS if deny == "yes" else {}
    confine(calls.split(","), memory | families(of_sockets.split(",")))
    os.execvp(program[0], program)
