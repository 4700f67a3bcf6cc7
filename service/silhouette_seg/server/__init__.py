"""The uvicorn server and its protocol classes."""
