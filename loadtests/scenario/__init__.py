"""Due times of the requests, their content, and the checks of their responses."""
