"""`python -m fanout`, the same as the command `fanout`."""

from fanout.cli import main

main()
