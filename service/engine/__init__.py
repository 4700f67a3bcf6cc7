"""What runs models: the Engine protocol and the implementations behind it."""
