"""What every network call did to a molecule: recorded, stored, shown."""
