"""Run a program that the kernel kills when the one who started it dies, however it dies.

    python with_parent.py PARENT_PID PROGRAM ARGUMENT...

No handler runs in a process that gets SIGKILL, so clean-up in Python is not enough. PR_SET_PDEATHSIG is, and it
survives exec. This is a program of its own because a ``preexec_fn`` runs Python between fork and exec, which is
unsafe (and warned about) in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() == parent:
        os.execv(program[0], program)
    sys.exit(f"process {parent}, which wanted {program[0]}, is gone")
