#!/bin/sh
# Gets the certificate if there is none yet, then renews it when it is due.
set -eu
umask 077

if [ -n "${CERTBOT_EMAIL:-}" ]; then
    set -- --email "$CERTBOT_EMAIL"
else
    set -- --register-unsafely-without-email
fi

# certbot runs the hook only after a certificate was really issued.
get() {
    certbot certonly --non-interactive --agree-tos --keep-until-expiring \
        --webroot --webroot-path /acme --domain "$SERVER_NAME" --cert-name front \
        --deploy-hook "/bin/sh /certbot/deploy.sh" "$@"
}

trap 'exit 0' TERM INT
while :; do
    # A failure (name not yet pointing here, authority not reachable) is tried again;
    # twice a day is what the authority asks for.
    get "$@" || echo "renew: will try again" >&2
    sleep 43200 &
    wait $!
done
