"""What the students are held against: a classic threshold, and two published detectors."""
