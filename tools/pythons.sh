#!/bin/sh
# Find the CPython interpreters that can build gcmedia: new enough, with venv, pip and the C headers.
#
#   tools/pythons.sh             one line for each minor version found, oldest first: "3.12 /path/to/python"
#   tools/pythons.sh --default   the path of the one to use when nobody named one
#   tools/pythons.sh --check P   the path of P, or what it lacks and exit status 1
#
# Looks on PATH and among pyenv's versions, where the newest patch release of each minor version counts.
set -eu

VERSIONS="3.11 3.12 3.13 3.14"

probe='
import os, sys, sysconfig
lacks = []
if sys.version_info < (3, 11):
    lacks.append("it is Python %d.%d and 3.11 is the oldest that will do" % sys.version_info[:2])
else:
    try:
        import ensurepip, venv
    except ImportError as error:
        lacks.append("module %s is missing (Debian: apt-get install python3-venv)" % error.name)
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if not os.path.exists(header):
        lacks.append("%s is missing (Debian: apt-get install python3-dev)" % header)
if lacks:
    sys.exit("%s cannot be used: %s" % (sys.executable, "; ".join(lacks)))
print("%d.%d %s" % (sys.version_info[0], sys.version_info[1], sys.executable))
'

usable() { # usable PYTHON: "version path" when it fits, nothing otherwise
    "$1" -c "$probe" 2>/dev/null </dev/null || :
}

pyenv_versions() { # pyenv_versions MINOR: its interpreters of that minor version, newest patch first
    root=${PYENV_ROOT:-}
    if [ -z "$root" ] && command -v pyenv >/dev/null 2>&1; then root=$(pyenv root 2>/dev/null || :); fi
    for folder in "${root:-$HOME/.pyenv}"/versions/"$1".*; do
        case ${folder##*/} in *[!0-9.]*) continue ;; esac # no pre-releases, no free-threaded builds
        if [ -x "$folder/bin/python" ]; then printf '%s\n' "$folder/bin/python"; fi
    done | sort -V -r
}

find_version() { # find_version MINOR: "version path" of the first that fits and really is of that version
    for candidate in "python$1" python3 $(pyenv_versions "$1"); do
        found=$(usable "$candidate")
        if [ "${found%% *}" = "$1" ]; then
            printf '%s\n' "$found"
            return
        fi
    done
}

case ${1:-} in
"")
    for version in $VERSIONS; do find_version "$version"; done
    ;;
--check)
    if ! command -v "$2" >/dev/null 2>&1; then
        echo "no Python interpreter called '$2' was found; name one: make PYTHON=/path/to/python3.11" >&2
        exit 1
    fi
    found=$("$2" -c "$probe" </dev/null)
    printf '%s\n' "${found#* }"
    ;;
--default)
    for candidate in python3 python3.13 python3.12 python3.11 python3.14 \
        $(for version in $VERSIONS; do pyenv_versions "$version"; done | sort -V -r); do
        found=$(usable "$candidate")
        if [ -n "$found" ]; then
            printf '%s\n' "${found#* }"
            exit
        fi
    done
    echo "no Python that can build gcmedia was found on PATH or in pyenv." >&2
    echo "It takes CPython 3.11 or later with venv, pip and the C headers (Debian: python3-venv python3-dev)." >&2
    if command -v python3 >/dev/null 2>&1; then python3 -c "$probe" >/dev/null </dev/null || :; fi
    exit 1
    ;;
*)
    echo "usage: $0 [--default | --check PYTHON]" >&2
    exit 2
    ;;
esac
