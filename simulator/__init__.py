"""The world outside the payload computer: orbit, weather, spacecraft, ground and the event log."""
