"""The program `ead`, a module for each of its commands."""
