"""What a chemist knows of one molecule: elements, bonds, charges, valences, identity."""
