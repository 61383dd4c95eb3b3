"""`python -m sparsity_lab` is the same as `sparsity-lab`."""

from sparsity_lab.cli.main import program

if __name__ == "__main__":
    program()
