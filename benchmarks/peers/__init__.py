"""The peers: small programs as their makers advise, each in an environment of its own, made on demand from pinned packages.

``*_bars.py`` are those programs; they run outside of the project's environment and import nothing of it. The others make
the environments, start the programs and see how far they are.
"""
