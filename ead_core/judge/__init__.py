"""Whether molecules have the properties asked for, and which of several candidates comes closest."""
