"""A route with the parameters, headers and error codes of remove.bg, for clients of that API."""
