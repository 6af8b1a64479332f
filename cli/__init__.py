"""The command line: one thin module per command. What a command does is done by the other packages."""
