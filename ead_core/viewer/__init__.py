"""What a person can look at of a trace: a heat map of its levels, and a page that plays it in 3D."""
