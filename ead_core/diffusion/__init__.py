"""The mathematics: noise schedules, gauges, corruption, moves, and policies that decide which atoms move."""
