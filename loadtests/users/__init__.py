"""Locust users and the runs in which they send the requests. Other packages import no locust."""
