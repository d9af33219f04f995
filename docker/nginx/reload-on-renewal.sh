#!/bin/sh
# Run by the nginx image before nginx starts: leaves a watcher behind that reloads
# nginx when the certificate's file has changed. A reload keeps open connections.
set -eu

fingerprint() { cksum "$FRONT_CERTIFICATE" 2>/dev/null || true; }

watch() {
    known=$(fingerprint)
    while sleep 60; do
        now=$(fingerprint)
        if [ "$now" != "$known" ]; then
            # A certificate whose key is not there yet fails the check and is tried
            # again; the old one stays in use.
            if nginx -t -q -c /run/storekeeper.conf && nginx -s reload -c /run/storekeeper.conf; then
                known=$now
                echo "reload-on-renewal: nginx has the new certificate"
            fi
        fi
    done
}

watch &
