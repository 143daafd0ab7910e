"""Runs a program under the filters that a unit asks systemd for: of system calls, and of memory.

Memory that can be written to cannot be run, and the other way round, where MDWE is `yes`.

    python confined.py MDWE NAME,NAME,... PROGRAM ARGUMENT...

systemd itself does the same with the same library, but only where it is the first process of the machine.
"""

import ctypes
import os
import sys

ERRNO_EPERM = 0x0005_0001  # SCMP_ACT_ERRNO(EPERM)
ALLOW = 0x7FFF_0000
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN = 38, 65, 1


def confine(allowed: list[str], deny_write_execute: bool) -> None:
    """For this process and those it becomes or starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if deny_write_execute and libc.prctl(PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_MDWE)")
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    filter_ = ctypes.c_void_p(seccomp.seccomp_init(ERRNO_EPERM))
    known = [seccomp.seccomp_syscall_resolve_name(name.encode()) for name in allowed]
    for number in known:
        if number >= 0:  # negative ones are of other architectures
            seccomp.seccomp_rule_add(filter_, ALLOW, number, 0)
    failed = seccomp.seccomp_load(filter_)
    if failed:
        raise OSError(-failed, "seccomp_load")


if __name__ == "__main__":
    confine(sys.argv[2].split(","), sys.argv[1] == "yes")
    os.execvp(sys.argv[3], sys.argv[3:])
