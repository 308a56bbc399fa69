"""Pictures, by matplotlib, which the extra ``plot`` brings.

`history` and `network` are also methods, ``history.plot()`` and ``net.plot()``. Each function draws into
`ax`, or into a new figure, and returns the Axes.
"""

from fusednet.plots._decision_regions import decision_regions
from fusednet.plots._history import history
from fusednet.plots._network import network

__all__ = ["decision_regions", "history", "network"]
