"""Takes requests from portals, keeps them safe, and shows where they stand."""
