#!/bin/sh
# Makes the secret files and a self-signed certificate to start with, wherever they
# do not exist yet. Never changes one that is there.
#
#   docker/make-secrets.sh [HOST-NAME]     (default: SERVER_NAME of docker/.env)
set -eu
cd -- "$(dirname -- "$0")"

name=${1:-}
if [ -z "$name" ] && [ -f .env ]; then
    name=$(sed -n 's/^SERVER_NAME=//p' .env | tail -n 1)
fi
if [ -z "$name" ]; then
    echo "make-secrets: which host name? Give it, or copy .env.example to .env first" >&2
    exit 2
fi

# The folders are closed; the files in them are not, because compose mounts a secret
# with the rights it has here and the services run under other ids.
umask 022
mkdir -p secrets tls
chmod 0700 secrets tls

put() { # NAME VALUE
    if [ -e "secrets/$1" ]; then return; fi
    printf '%s' "$2" >"secrets/$1"
    echo "make-secrets: wrote docker/secrets/$1"
}

for secret in postgres_password metabase_database_password metabase_encryption_key \
    storekeeper_database_password; do
    # Hexadecimal: also safe inside a URL.
    put "$secret" "$(openssl rand -hex 32)"
done
# Metabase wants a digit and a letter.
put metabase_admin_password "m1-$(openssl rand -hex 16)"
put storekeeper_database_url \
    "postgres://storekeeper:$(cat secrets/storekeeper_database_password)@postgres:5432/storekeeper"

# These two come from others.
for secret in microsoft_client_secret smtp_password; do
    if [ ! -e "secrets/$secret" ]; then
        : >"secrets/$secret"
        echo "make-secrets: docker/secrets/$secret is empty, put yours into it"
    fi
done

if [ ! -e tls/fullchain.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 90 \
        -subj "/CN=$name" -addext "subjectAltName=DNS:$name" \
        -keyout tls/privkey.pem -out tls/fullchain.pem 2>/dev/null
    chmod 0600 tls/privkey.pem
    echo "make-secrets: made a self-signed certificate for $name; browsers will warn until a real one replaces it"
fi
