"""`python -m flows.cli` is the command `beaconhunt`."""

from flows.cli import main

main()
