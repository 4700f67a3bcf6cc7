"""HTTP routes: each turns a request into domain values and a domain value into a response."""
