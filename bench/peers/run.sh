#!/usr/bin/env bash
# Builds Sordino, installs the peers' wheels into an environment of their own and runs all of them in one go: run.sh --mnist DIR [...]
# PYTHON names a Python 3.10, the only one that the pinned wheel of OpenFHE fits.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
target="${CARGO_TARGET_DIR:-$root/target}"
environment="$target/peers"
cargo build --release --locked --manifest-path "$root/Cargo.toml" -p sordino-cli
if [ ! -x "$environment/bin/python" ]; then
    "${PYTHON:-python3.10}" -m venv "$environment"
fi
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
exec "$environment/bin/python" "$here/run.py" --sordino "$target/release/sordino" "$@"
