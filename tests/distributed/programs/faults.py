"""Ranks that do not do as the others do. usage: faults.py CASE"""

import os
import signal
import sys
import time

import cupola
from cupola import mpi

case = sys.argv[1]
rank = mpi.rank()
for step in range(1000):
    if step == 2 and rank == 1:
        print(f"at {time.time()}", flush=True)
        if case == "raises":
            raise RuntimeError("this rank was told to fail")
        if case == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if case == "sleeps":
            time.sleep(1000)
        if case == "loops":
            while True:
                pass
        if case == "ends":
            break
        if case == "order":
            mpi.mpi_broadcast(cupola.ones(3))
        if case == "shape":
            cupola.ones(4).mpi_all_reduce()
    cupola.ones(3).mpi_all_reduce()
    time.sleep(0.05)
