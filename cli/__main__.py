"""``python -m cli``: what ``./run`` hands over to."""

from cli.main import main

if __name__ == "__main__":
    main()
