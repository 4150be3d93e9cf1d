"""Where the tests marked `device` run Parapet and what they compare it with: PARAPET_TEST_DEVICE, set
by `make test DEVICE=cuda`; the CPU without it."""
import os

DEVICE = os.environ.get("PARAPET_TEST_DEVICE", "cpu")
ON_CPU = DEVICE == "cpu"
FLAGS = [] if ON_CPU else ["--device", DEVICE]


def same_weights(a, b):
    """To the bit on the CPU. Elsewhere attention's backward pass adds in any order, and Adam makes
    steps of a full learning rate of what is left: at most a few of them."""
    if a.keys() != b.keys():
        return False
    if ON_CPU:
        return all((a[name] == b[name]).all() for name in a)
    return max((a[name].float() - b[name].float()).abs().max().item() for name in a) <= 5e-3


def same_numbers(a, b):
    if len(a) != len(b):
        return False
    return a == b if ON_CPU else all(abs(x - y) <= 2e-2 * max(1.0, abs(y)) for x, y in zip(a, b))


def limit(on_cpu, elsewhere):
    """How far apart two results may be. Elsewhere sums are taken in an order of the library's own,
    which may change from call to call."""
    return on_cpu if ON_CPU else elsewhere
