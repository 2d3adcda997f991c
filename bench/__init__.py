"""How fast Paidan is on this machine, each figure beside its floor from the same run: `python -m bench`."""
