"""The part of docker's command line that the documentation uses."""

import argparse

from tests.docs.blocks import ROOT


def hetctl_arguments(arguments: list[str]) -> list[str] | None:
    """What the container's entry point is given; None where none is started.

    Ends the process, as docker does, at an option or a command that is not known.
    """
    parser = argparse.ArgumentParser("docker", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", allow_abbrev=False)
    build.add_argument("--build-arg", action="append")
    build.add_argument("--tag", required=True)
    build.add_argument("context", choices=["."])
    run = commands.add_parser("run", allow_abbrev=False)
    run.add_argument("--rm", action="store_true")
    run.add_argument("--gpus", choices=["all"])
    for option in ("cap-add", "shm-size", "ulimit", "publish", "volume", "env", "memory", "name"):
        run.add_argument(f"--{option}")
    for option in ("cpuset-cpus", "cpuset-mems", "ipc"):
        run.add_argument(f"--{option}")
    run.add_argument("image", choices=["hetctl"])
    run.add_argument("told", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments)
    if asked.command == "build":
        text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
        for name in (given.partition("=")[0] for given in asked.build_arg or ()):
            if f"ARG {name}=" not in text:
                parser.error(f"the Dockerfile has no ARG {name}")
        return None
    told: list[str] = asked.told
    return told
