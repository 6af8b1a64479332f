"""Bars of American shares from Alpaca, by its own client library and with the keys of an account."""
