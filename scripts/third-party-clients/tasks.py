"""What a client is asked to do, one line each, and what came of it."""

import json
import os
import sys
import traceback

WORLD = json.loads(os.environ["STAND_INS"])

_failed = []


def done(task, fact=""):
    print(f"  works      {task}" + (f": {fact}" if fact else ""), flush=True)


def failed(task, error):
    print(f"  FAILED     {task}: {error}", flush=True)
    _failed.append(task)


def cannot(task, why):
    """Neither a success nor a failure: what this client or this stand-in does not have."""
    print(f"  CANNOT     {task}: {why}", flush=True)


def expect(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, not {wanted!r}")


def attempt(task, action):
    """Carries a task out; its answer, if any, is said. Any error is the task's failure."""
    try:
        done(task, action() or "")
    except Exception as error:  # noqa: BLE001 - whatever the client raises is what we want to see
        failed(task, f"{type(error).__name__}: {error}")
        if os.environ.get("VERBOSE"):
            traceback.print_exc()


def end():
    sys.exit(1 if _failed else 0)
