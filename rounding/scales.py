"""The ways to find the scales of a weight: functions of (grid, values [N, K], scale of the whole weight or None, mean
squares [K] of the inputs or None) -> the scales as the grid has them."""


def absmax(grid, values, whole, importance):
    """The smallest scales that clip nothing."""
    return grid.absmax(values, whole)


def mse(grid, values, whole, importance):
    """The least squared error of the weights."""
    return grid.searched(values, whole)


def weighted(grid, values, whole, importance):
    """The least squared error of the outputs, for channels that do not depend on each other."""
    return grid.searched(values, whole, importance)


SCALES = {"absmax": absmax, "mse": mse, "weighted": weighted}
