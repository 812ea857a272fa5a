"""`python -m py_service` is the command `nexkey`. Nothing else lives here."""

from py_service.cli import main

if __name__ == "__main__":
    main()
