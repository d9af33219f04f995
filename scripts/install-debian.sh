#!/usr/bin/env bash
# Installs what a profile needs and this machine lacks. Says nothing when nothing
# is missing, so it can stand before every build.
#
#   scripts/install-debian.sh demo    compile, and run a private PostgreSQL
#   scripts/install-debian.sh test    the same, and the TLS front (nginx)
#   scripts/install-debian.sh bench   demo's, and GNU time
#
# It installs programs and starts none: PostgreSQL and nginx run as children of the
# demo and of the tests, on ports of their own, never as this machine's services.
set -euo pipefail

say() { printf 'install: %s\n' "$*" >&2; }

# The server's programs lie outside of PATH on Debian.
has_postgres() {
    command -v initdb >/dev/null 2>&1 || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

# /usr/sbin is not in everybody's PATH.
has_nginx() {
    command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ] || [ -x /usr/local/sbin/nginx ]
}

missing_packages() {
    command -v cc >/dev/null 2>&1 || printf '%s\n' gcc libc6-dev
    has_postgres || printf '%s\n' postgresql
    # `storekeeper backup` runs pg_dump and pg_restore.
    { command -v psql && command -v pg_dump && command -v pg_restore; } >/dev/null 2>&1 || printf '%s\n' postgresql-client
    case $1 in
    test) has_nginx || printf '%s\n' nginx ;;
    bench) [ -x /usr/bin/time ] || printf '%s\n' time ;;
    esac
}

# Without a terminal sudo may not ask for a password: it would wait for ever.
sudo_options=()
if [ ! -t 0 ]; then sudo_options=(--non-interactive); fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "${sudo_options[@]}" "$@"; fi
}

install_packages() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet=2 --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null >&2
}

# A package's maintainer scripts ask this file whether they may start a service.
# One that is there already belongs to the machine and is left as it is.
policy=/usr/sbin/policy-rc.d
policy_is_ours=no
forbid_starting_services() {
    if [ -e "$policy" ]; then return; fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    policy_is_ours=yes
    as_root chmod 0755 "$policy"
}
allow_starting_services() {
    if [ "$policy_is_ours" = yes ]; then as_root rm -f "$policy"; fi
}

# Debian makes a cluster `main` when a server is first installed. Its configuration
# package comes first, so that it can be told not to.
forbid_main_cluster() {
    install_packages postgresql-common
    local config=/etc/postgresql-common/createcluster.conf
    if grep -q '^create_main_cluster' "$config"; then
        return # Somebody has decided already.
    fi
    say "telling Debian to make no PostgreSQL cluster of its own ($config)"
    printf '%s\n' 'create_main_cluster = false' | as_root tee -a "$config" >/dev/null
}

# The policy above keeps nginx from starting now; this keeps it from starting at boot.
keep_nginx_off() {
    if command -v systemctl >/dev/null 2>&1; then
        as_root systemctl disable --quiet nginx.service >/dev/null 2>&1 || true
    elif command -v update-rc.d >/dev/null 2>&1; then
        as_root update-rc.d nginx disable >/dev/null 2>&1 || true
    fi
}

give_up() {
    say "$1"
    say "missing here: ${packages[*]}"
    say "install them (names as in Debian 12) and start again"
    exit 1
}

main() {
    local profile=${1:-}
    case $profile in
        demo | test | bench) ;;
        *)
            printf 'usage: %s demo|test|bench\n' "$0" >&2
            exit 2
            ;;
    esac

    if ! command -v cargo >/dev/null 2>&1; then
        say "cargo is missing: install Rust with rustup; rust-toolchain.toml names the version"
        exit 1
    fi

    mapfile -t packages < <(missing_packages "$profile")
    if [ "${#packages[@]}" -eq 0 ]; then return; fi

    command -v apt-get >/dev/null 2>&1 || give_up "this is not a Debian system (no apt-get)"
    if [ "$(id -u)" -ne 0 ] && ! as_root true; then
        give_up "neither root nor allowed to use sudo"
    fi

    say "installing ${packages[*]}"
    as_root apt-get update --quiet=2 -o DPkg::Lock::Timeout=300 </dev/null >&2 ||
        say "the package lists could not be renewed; trying with the old ones"
    trap allow_starting_services EXIT
    forbid_starting_services
    case " ${packages[*]} " in
        *" postgresql "*) forbid_main_cluster ;;
    esac
    install_packages "${packages[@]}" || give_up "apt-get could not install them; its reason is above"
    case " ${packages[*]} " in
        *" nginx "*) keep_nginx_off ;;
    esac
}

main "$@"
