"""A job that prints a line and ends with the exit code it is given; `sleep` ends when it is told to."""

import signal
import sys
import time

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    print("this job says", sys.argv[1], flush=True)
    if sys.argv[1] == "sleep":
        time.sleep(600)
    sys.exit(int(sys.argv[1]))
