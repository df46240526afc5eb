"""python -m omniform."""

from omniform.cli import main

if __name__ == "__main__":
    main()
