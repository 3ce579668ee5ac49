"""What users and servers write in forms that are not ours: addresses, error bodies, names.

Pure functions and tables, without any import from this library. They return plain values; what a
value means for a call, and which error to raise, is decided where they are called.
"""
