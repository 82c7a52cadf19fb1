"""`python -m offcourse`."""

from offcourse.cli import main

main()
