"""`python -m ead_core.cli`."""

from ead_core.cli.main import main

if __name__ == "__main__":
    main()
