"""`service/` is a source root. This file keeps it from being imported as a namespace package,
which would load a second copy of every module.
"""

raise ImportError("service/ is a source root, not a package: import silhouette_seg instead")
