# `make help` lists the targets. Each environment is a folder beside this file.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
# The right build of torch depends on the machine; the range is in pyproject.toml.
TORCH ?= torch==2.13.0
# A whole Triton server, for the tests: linux on x86-64 alone.
TRITON ?= nvidia-pytriton==0.7.0
# The schema of KServe's API, for the tests. Its files are read, and its dependencies not needed.
KSERVE ?= kserve==0.21.0
# Two processes take two thirds of the time of one. The tests of a file share servers and models,
# so they stay in one process. PYTEST="" runs a single process.
PYTEST ?= --numprocesses 2 --dist loadfile

SERVE := .venv-serve
DEV := .venv
COMPARE := .venv-compare
LOWEST := .venv-lowest
SERVERS := loadtests/compare/servers
# Options of uv for the image's requirements: hashes of all files, and no addresses of an index.
PIN := --upgrade --generate-hashes --only-binary :all: --python-version 3.11 --python-platform linux \
	--no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make requirements"

.PHONY: help serve check test lint types browser lowest requirements compare audit clean

help: ## Lists the targets.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

serve: $(SERVE)/installed ## Serves on http://127.0.0.1:8000; HOST=... and PORT=... change that.
	$(SERVE)/bin/silhouette serve --host $(HOST) --port $(PORT)

# Exports of untrained networks would take a third of the time; make test has them.
check: lint types ## Runs the linters, mypy, and the unit and contract tests without exports.
	$(DEV)/bin/pytest $(PYTEST) -m "not export" tests/unit tests/contract tests/test_*.py

test: lint types browser ## Runs the linters, mypy and every test.
	$(DEV)/bin/pytest $(PYTEST)

lint: $(DEV)/installed ## Runs ruff.
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .

types: $(DEV)/installed ## Runs mypy in strict mode.
	$(DEV)/bin/mypy

# The lower bounds of pyproject.toml must be true: installs exactly them and uses the service.
lowest: $(DEV)/installed ## Installs the lowest allowed versions, and posts a photo and a frame.
	$(PYTHON) -m venv --clear $(LOWEST)
	$(DEV)/bin/uv pip compile --quiet --resolution lowest-direct --extra cpu --extra live \
		--extra video --extra triton --extra otel pyproject.toml --output-file $(LOWEST)/lowest.txt
	$(LOWEST)/bin/pip install --disable-pip-version-check --requirement $(LOWEST)/lowest.txt
	$(LOWEST)/bin/pip install --disable-pip-version-check --no-deps .
	$(LOWEST)/bin/python tests/support/smoke.py docs/pictures/portrait.jpg

# The extras are those of the image, as tests/test_deploy.py has them.
requirements: $(DEV)/installed ## Resolves the image's requirements again: the newest allowed versions.
	$(DEV)/bin/uv pip compile --quiet $(PIN) --extra cpu --extra live --extra video --extra triton \
		--extra otel pyproject.toml --output-file deploy/requirements.txt
	$(DEV)/bin/python -c "import tomllib; \
		print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], 'cyclonedx-bom', sep='\n')" \
		| $(DEV)/bin/uv pip compile --quiet $(PIN) - --output-file deploy/requirements-build.txt

# Asks a database on the network. A package that the database does not know fails the audit too.
audit: $(DEV)/installed ## Looks up known vulnerabilities of the image's packages.
	$(DEV)/bin/pip-audit --strict --no-deps --disable-pip --requirement deploy/requirements.txt

# The browser tests use Debian's Chromium. They are skipped, with a reason, if it is absent.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } \
		|| echo "no chromium here: the browser test will be skipped"

# Competing servers run in environments of their own, one after another. That takes ten minutes, in
# which nothing else should run. COMPARE_OPTIONS="--rounds 1" is shorter.
compare: $(DEV)/installed $(COMPARE)/installed $(COMPARE)-mediapipe/installed ## Measures Silhouette beside competing servers.
	$(DEV)/bin/python -m loadtests.compare $(COMPARE_OPTIONS)

# Creates the environment of a target, or says which package is missing.
define create_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is not Python 3.11 or newer. Name one: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot create environments. On Debian and Ubuntu: apt install python3-venv"; \
		exit 1; }
	@echo "creating $(@D); the first installation takes a few minutes"
	$(PYTHON) -m venv $(@D)
endef

$(COMPARE)/installed: $(SERVERS)/requirements.txt
	$(create_venv)
	$(@D)/bin/pip install --disable-pip-version-check --requirement $<
	touch $@

$(COMPARE)-mediapipe/installed: $(SERVERS)/requirements-mediapipe.txt
	$(create_venv)
	$(@D)/bin/pip install --disable-pip-version-check --requirement $< \
		|| echo "no mediapipe for this machine: it will not be measured"
	touch $@

$(SERVE)/installed: pyproject.toml
	$(create_venv)
	@$(@D)/bin/pip uninstall --quiet --yes silhouette 2>/dev/null # the distribution before 0.2.0
	$(@D)/bin/pip install --disable-pip-version-check --editable '.[cpu,live,video]'
	touch $@

# torch comes first, so that other packages find the chosen build. Only the server's files of
# pytriton are used, so its dependencies are left out.
$(DEV)/installed: pyproject.toml
	$(create_venv)
	@$(@D)/bin/pip uninstall --quiet --yes silhouette 2>/dev/null # the distribution before 0.2.0
	$(@D)/bin/pip install --disable-pip-version-check $(TORCH)
	$(@D)/bin/pip install --disable-pip-version-check \
		--editable '.[cpu,live,video,triton,otel,import,training,loadtests,dev]'
	$(@D)/bin/pip install --disable-pip-version-check --no-deps $(TRITON) \
		|| echo "no Triton server for this machine: its tests will be skipped"
	$(@D)/bin/pip install --disable-pip-version-check --no-deps $(KSERVE)
	touch $@

clean: ## Deletes the environments.
	rm -rf $(SERVE) $(DEV) $(LOWEST) $(COMPARE) $(COMPARE)-mediapipe
