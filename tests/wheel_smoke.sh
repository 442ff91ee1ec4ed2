#!/bin/sh
# Builds the wheel, installs it into an empty environment, and runs the suite `smoke` there, outside of the checkout.
set -eu
checkout=$(pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$BUILDER" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$place/dist" "$checkout"
"$PYTHON" -m venv "$place/env"
"$place/env/bin/python" -m pip install --quiet -c "$checkout/constraints.txt" "$place"/dist/*.whl
cd "$place"
"$place/env/bin/wombet" run smoke --executor inline
test -f "$place/runs/reports/smoke/report.html"
echo "wheel: smoke ran in an empty environment"
