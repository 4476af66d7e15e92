"""`python -m coe`."""

from coe.cli import main

main()
