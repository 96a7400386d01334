#!/usr/bin/env bash
# Debian splits venv from Python.  As root we add it; anybody else is told what to ask for.
set -eu
version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "python${version}-venv" >/dev/null
else
    echo "Python's venv module is missing. Install it first, for example: apt-get install python${version}-venv" >&2
    exit 1
fi
