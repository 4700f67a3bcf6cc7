"""Compares the weights of every model with their spec. The image build runs it.

python check_models.py model_repository
"""

import json
import sys
from hashlib import sha256
from pathlib import Path


def check(repository: Path) -> list[str]:
    """Compares the weights of every model with the sha256 of its spec, and returns the names.

    Raises ValueError if the weights of a model differ, or if the repository has no model.
    """
    names = []
    for file in sorted(repository.glob("*/spec.json")):
        spec = json.loads(file.read_bytes())
        weights = file.parent / str(spec["version"]) / "model.onnx"
        found = sha256(weights.read_bytes()).hexdigest()
        if found != spec["sha256"]:
            raise ValueError(f"{weights} has sha256 {found}, its spec says {spec['sha256']}")
        names.append(spec["name"])
    if not names:
        raise ValueError(f"no model in {repository}")
    return names


if __name__ == "__main__":
    try:
        print("the weights match their specs:", ", ".join(check(Path(sys.argv[1]))))
    except (OSError, ValueError, KeyError) as error:
        sys.exit(str(error))
