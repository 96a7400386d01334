"""`python -m journeyman`: which version this is, and where to read on.  The command line proper comes with `cli/`."""

from __future__ import annotations

from importlib.metadata import version


def main() -> None:
    print(f"journeyman {version('journeyman')}")
    print("An embedded, durable task engine.  Start with the README, then docs/ARCHITECTURE.md and the programs in examples/.")


if __name__ == "__main__":
    main()
