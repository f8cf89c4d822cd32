# The tasks of those who change this package: `just` lists them. They run in the environment that is active
# (`pip install -c binder/constraints.txt -e ".[dev]"`). The workflow of the repository and .ci/run call the same ones.

set shell := ["bash", "-euo", "pipefail", "-c"]
set windows-shell := ["pwsh", "-NoLogo", "-Command"]

# One thread for each process: several times faster for models of this size.
export OMP_NUM_THREADS := "1"

_list:
    @just --list --unsorted

# Tests that answer in two minutes
quick *arguments:
    pytest -n 2 -m "not slow and not faults and not gpu" {{ arguments }}

# Tests that take longer: slow cases, and failures of the machine that are provoked
slow *arguments:
    pytest -n 2 -m "slow or faults" {{ arguments }}

# The fault campaign of docs/faults.md: all scenarios, or those whose name has one of these words
campaign *words:
    python tests/faults/campaign.py {{ words }}

# Tests with a real browser (needs Chromium, and `just js` once for axe-core)
browser *arguments:
    pytest -n 2 --dist loadfile {{ arguments }} tests/browser

# Notebooks, run from top to bottom
notebooks:
    pytest -q -p nbval --nbval-lax --nbval-cell-timeout=120 notebooks

# Everything that is checked here
full: lint types js quick slow browser notebooks

# Style, format and the layers between rooms
lint:
    ruff check
    ruff format --check
    lint-imports

# Types of Python
types:
    mypy

# Types, format and tests of JavaScript
js:
    cd tests/js && npm ci && npm run check && npm run format:check && npm test

# Format Python and JavaScript
format:
    ruff check --fix
    ruff format
    cd tests/js && npm run format

# Compare the pinned versions with the published vulnerabilities (needs a network)
audit:
    python -m pip install -q pip-audit
    pip-audit --requirement binder/constraints.txt --no-deps --disable-pip

# Write sbom.cdx.json: what the package depends on, in the CycloneDX format
sbom:
    python binder/sbom.py sbom.cdx.json

# Try every option of an optimizer and write what was seen into the table of evidence
probe key:
    diffopt probe --write {{ key }}

# Count the state of optimizers for known models and write it into the table that the texts quote (no key: all of them)
sizes *keys:
    python -m diffopt_widgets.state_size.table {{ keys }}
