"""Keep the state of the emulator: credentials, limits, usage, files, skills, the organization.

`world` holds all state that the routes share. Modules `stored_...` have the server's side of
objects of the API, and `shelves` the container in which they are kept.
"""
