"""How the model is made and judged: needs scikit-learn and SciPy, which serving does not."""
