#!/usr/bin/env bash
# Checks licences, duplicate bans and sources of the dependencies, if cargo-deny is
# installed. Without the network: advisories need a database from outside and are
# not checked here.
set -euo pipefail
if ! command -v cargo-deny >/dev/null 2>&1; then
    echo "deny: cargo-deny is not installed, licences were not checked (cargo install cargo-deny --locked)" >&2
    exit 0
fi
cargo deny --offline check --hide-inclusion-graph bans licenses sources
