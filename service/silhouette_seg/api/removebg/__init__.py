"""The API of remove.bg: its parameters, headers and error codes, so that its clients work here."""
