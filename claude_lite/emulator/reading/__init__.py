"""Read requests: find the route, read headers, bodies and forms, and check them as the API does.

Nothing here keeps state or answers. `routing` finds the handler, `problems` has the error that
refuses a request, `checks` and `validation` say what is refused.
"""
