"""`paidan demo`: a day of a city in two minutes, on real parts."""
