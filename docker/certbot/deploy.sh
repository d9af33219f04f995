#!/bin/sh
# Puts the renewed certificate where nginx reads it; nginx's watcher sees the change.
# The key first: the watcher looks at the certificate.
set -eu
for name in privkey.pem fullchain.pem; do
    cp "$RENEWED_LINEAGE/$name" "/tls/.$name.new"
    mv "/tls/.$name.new" "/tls/$name"
done
