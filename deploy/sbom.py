"""Adds models, libraries of Debian and licences to a bill of materials. The image build runs it.

    python sbom.py packages.cdx.json /models sbom.cdx.json

`cyclonedx-py` writes the first file, which lists the Python packages. The format is CycloneDX 1.6.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

DEBIAN_LIBRARIES = {"liblapack3": "BSD-3-Clause", "libblas3": "BSD-3-Clause"}
"""Debian package -> SPDX identifier of its licence, for the libraries of `slim_packages.py`."""

LICENCES = {"protobuf": "BSD-3-Clause", "python-rapidjson": "MIT"}
"""Python package -> SPDX identifier of its licence, which its metadata states in words alone."""

Component = dict[str, Any]
"""A component of CycloneDX, as JSON."""


def model_components(repository: Path) -> list[Component]:
    """Returns a component for each model of a repository, from its `spec.json`."""
    files = sorted(repository.glob("*/spec.json"))
    return [_model_component(json.loads(file.read_text())) for file in files]


def _model_component(spec: dict[str, Any]) -> Component:
    licence = {"name": "LicenseRef-Silhouette-Weights", "text": {"content": spec["licence"]}}
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model/{spec['name']}@{spec['version']}",
        "name": spec["name"],
        "version": str(spec["version"]),
        "hashes": [{"alg": "SHA-256", "content": spec["sha256"]}],
        "licenses": [{"license": licence}],
    }


def debian_component(package: str, version: str) -> Component:
    """Returns the component of one of `DEBIAN_LIBRARIES`."""
    purl = f"pkg:deb/debian/{package}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": package,
        "version": version,
        "purl": purl,
        "licenses": [{"license": {"id": DEBIAN_LIBRARIES[package]}}],
    }


def debian_version(package: str) -> str:
    """Returns the installed version of a Debian package."""
    command = ["dpkg-query", "--show", "--showformat", "${Version}", package]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def state_licence(component: Component) -> Component:
    """Returns a component with its licence.

    Raises ValueError if neither its metadata nor `LICENCES` has one.
    """
    if component.get("licenses"):
        return component
    if component["name"] not in LICENCES:
        raise ValueError(
            f"the metadata of {component['name']} states no licence; add it to LICENCES"
        )
    return {**component, "licenses": [{"license": {"id": LICENCES[component["name"]]}}]}


def main(packages: Path, repository: Path, output: Path) -> None:
    """Writes the bill of materials `packages` with the added components to `output`."""
    bill = json.loads(packages.read_text())
    bill["components"] = [state_licence(component) for component in bill["components"]]
    bill["components"] += model_components(repository)
    bill["components"] += [
        debian_component(package, debian_version(package)) for package in DEBIAN_LIBRARIES
    ]
    output.write_text(json.dumps(bill, indent=1))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
