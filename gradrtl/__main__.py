"""`python -m gradrtl`: the command line."""

from .cli import main

main(prog_name="gradrtl")
