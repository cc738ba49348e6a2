"""`python -m rtap_lab.cli`: the same as `rtap`."""

from rtap_lab.cli import main

main()
