"""Telling the properties of finished molecules, and whether they are those that were asked for."""
