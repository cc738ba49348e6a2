"""`python -m rtap_lab.lab STATE`: be the supervisor of a lab; started by `rtap up`."""

from rtap_lab.lab.daemon import main

main()
