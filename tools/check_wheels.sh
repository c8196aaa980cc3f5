#!/bin/bash
# Install each wheel of dist/ into a fresh environment outside the source tree, and run the tests against it there.
set -euo pipefail
cd "$(dirname "$0")/.."

export PIP_DISABLE_PIP_VERSION_CHECK=1
shopt -s nullglob
wheels=("$PWD"/dist/gcmedia-*.whl)
[ ${#wheels[@]} -gt 0 ] || { echo "dist/ holds no wheel; run: make wheel" >&2; exit 1; }

away=$(mktemp -d "${TMPDIR:-/tmp}/gcmedia-wheels.XXXXXX")
trap 'rm -rf "$away"' EXIT
cp -R tests tools pyproject.toml "$away" # what the tests need; no source of the package
find "$away" -name __pycache__ -type d -prune -exec rm -rf {} +

install() { # install PYTHON ENV WHEEL
    "$1" -m venv "$2"
    "$2/bin/pip" install -qq "$3[test]"
}

pids=()
envs=()
while read -r version python; do
    for wheel in "${wheels[@]}"; do
        case $wheel in *-cp"${version/./}"-cp"${version/./}"-*) ;; *) continue ;; esac
        install "$python" "$away/env-$version" "$wheel" &
        pids+=($!)
        envs+=("$away/env-$version")
    done
done < <(tools/pythons.sh)
[ ${#envs[@]} -eq ${#wheels[@]} ] || { echo "there is no interpreter for some wheel of dist/" >&2; exit 1; }
for i in "${!pids[@]}"; do
    wait "${pids[$i]}" || { echo "a wheel could not be installed into ${envs[$i]}" >&2; exit 1; }
done

for env in "${envs[@]}"; do
    echo "--- installed wheel, $("$env/bin/python" -V)"
    (
        cd "$away"
        unset PYTHONPATH
        # The conftest refuses to test a gcmedia that lies elsewhere.
        export GCMEDIA_EXPECT=$env
        "$env/bin/python" -m pytest -q -p no:cacheprovider -m "not slow" "$@"
    )
done
