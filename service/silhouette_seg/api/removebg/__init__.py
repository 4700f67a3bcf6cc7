"""The names, headers and errors of remove.bg's API, so that its clients work here as well."""
