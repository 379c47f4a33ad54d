"""CIFAR-10 and CIFAR-100, with human labels."""
