"""Handle the requests of the API: a module per group of operations.

A class `...Routes` lists the routes of its group and has a method per operation. A method takes
a `Call` and returns an `Answer`, or raises a `Problem`.
"""
