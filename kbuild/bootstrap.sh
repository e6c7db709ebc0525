#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Gets what builds the harness itself: a linker and a cargo that is new enough.
# Everything else is found and installed by `deferinit setup`, once it is built.

set -eu

# rust-version in Cargo.toml.
needed=1.95

cargo_version() {
    cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p'
}

is_new_enough() {
    [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$needed" "$1" | sort -V | head -n 1)" = "$needed" ]
}

if is_new_enough "$(cargo_version)" && command -v cc >/dev/null; then
    exit 0
fi

# The distribution's newest cargo, as kbuild/requirements.toml names it.
id=$(sed -n 's/^ID=//p' /etc/os-release | tr -d '"')
case $id in
debian) packages="gcc libc6-dev cargo-web rustc-web" ;;
*)
    echo "Building deferinit needs a C compiler and cargo $needed or newer (found: $(cargo_version))." >&2
    echo "Install them by your distribution's package manager or by rustup, then run make again." >&2
    exit 96
    ;;
esac

command="apt-get update && apt-get install --yes --no-install-recommends $packages"
if [ "$(id -u)" != 0 ]; then
    echo "Building deferinit needs a C compiler and cargo $needed or newer. As root, run:" >&2
    echo "  $command" >&2
    exit 96
fi
echo "installing $packages"
export DEBIAN_FRONTEND=noninteractive
sh -c "$command" >/dev/null
