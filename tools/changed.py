"""changed: which files a run looks at: those that changed, and the whole in turns.

A file is looked at when a commit of the last day before HEAD changed it or it is not committed yet, and
once a week (a seventh of all each day of the calendar) whatever changed: for what else it depends on.
Without git's history every file is looked at.
"""

import subprocess
import time
import zlib

PARTS = 7
SECONDS_A_DAY = 86400


def changed_files(root):
    """Files that commits of the last day or the work tree changed; None where git cannot tell."""
    def git(*arguments):
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True,
                              check=True).stdout.split("\n")
    try:
        if git("rev-parse", "--is-shallow-repository")[0] != "false":
            return None
        head = int(git("log", "-1", "--format=%ct")[0])
        names = git("log", f"--since={head - SECONDS_A_DAY}", "--format=", "--name-only", "HEAD")
        names += git("diff", "--name-only", "HEAD")
        names += git("ls-files", "--others", "--exclude-standard")
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return {root / name for name in names if name}


def is_turn_of(name):
    """Whether today's seventh holds what is called `name`."""
    return zlib.crc32(name.encode()) % PARTS == int(time.time() // SECONDS_A_DAY) % PARTS
