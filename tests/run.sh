#!/usr/bin/env bash
# The one test command: environment, lint, types, unit tests, browser tests; with --slow, last, the slow proofs.
# Needs Python 3.11. Everything else it brings itself; later calls reuse the environment in build/test-venv.
# Other arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1 GRADIO_ANALYTICS_ENABLED=False TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1

slow=no
if [ "${1:-}" = --slow ]; then
  slow=yes
  shift
fi

step() { printf '\n== %s (%ds)\n' "$1" "$SECONDS"; }

step "environment"
venv=build/test-venv
stamp=$venv/requirements.stamp
wanted=$(cat requirements.txt requirements-dev.txt | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements-dev.txt
  printf '%s\n' "$wanted" > "$stamp"
fi
if ! command -v chromium >/dev/null; then
  step "browser"
  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
fi
PATH="$PWD/$venv/bin:$PATH"

step "lint and types"
ruff check
ruff format --check
mypy

# Two at a time, file by file: most of them wait for something, for a page or a process of their own.
step "unit tests"
python -m pytest --numprocesses 2 --dist loadfile -m "not browser and not slow and not benchmark" "$@"

step "browser tests"
python -m pytest --numprocesses 2 --dist loadfile -m "browser and not slow" "$@"

if [ "$slow" = yes ]; then
  if ! PATH="$PATH:/usr/sbin" command -v nginx >/dev/null; then
    step "proxy"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light >/dev/null \
      || echo "no nginx: the tests behind a proxy are skipped"
  fi
  # What mostly waits, for a page, an answer or a file, goes two at a time; what measures or trains has the cores alone.
  alone=(
    tests/pipelines/{experiments,finetune,models} tests/teaching
    tests/browser/test_{whole_lesson,crashes,prove}.py
  )
  step "slow proofs and attacks, two at a time"
  python -m pytest --numprocesses 2 --dist loadfile -m "slow and not benchmark" "$@" "${alone[@]/#/--ignore=}"
  step "slow proofs, one at a time"
  python -m pytest -m "slow and not benchmark" "$@" "${alone[@]}"
fi

step "done"
